"""`joulebook import --watch`: a drop folder whose files are imported as they come."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from joulebook.cli.django_setup import accounts_database
from joulebook.cli.imports.order import (
    EXIT_REFUSED,
    EXIT_STOPPED,
    EXIT_UNREADABLE,
    ImportOrder,
    UnableToBegin,
)
from joulebook.cli.imports.run import find_device, import_one, interruptible
from joulebook.cli.output import fail, say
from joulebook.cli.user import find_user
from joulebook.telemetry.errors import DatabaseUnavailable, TelemetryError

if TYPE_CHECKING:
    from joulebook.cli.imports.order import Imported


IMPORTED = "imported"
REFUSED = "refused"

_UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".filepart", ".download")
_OF_AN_OFFICE = "~$"
_REPORT = ".report.json"


@dataclass(frozen=True)
class _Seen:
    """How a file looked, and since when it looks like that."""

    size: int
    changed_at: int
    since: float


class DropFolder:
    """Tells files that are whole: those whose size and time of change have stayed for `settle` seconds.

    Only what one can see from afar counts, so that it works on folders of other machines, too. Names that
    begin with a dot or end like those of unfinished downloads are passed over, and so is all that is no
    regular file.
    """

    def __init__(self, path: Path, *, settle: float) -> None:
        self.path = path
        self._settle = settle
        self._seen: dict[str, _Seen] = {}

    def whole_files(self, now: float) -> list[Path]:
        """Look into the folder and return the files that are whole, the oldest first.

        `now` is in seconds of a clock that only runs forwards. Raises OSError where one cannot look.
        """
        self._seen = {name: self._look(name, found, now) for name, found in self._candidates().items()}
        whole = [name for name, seen in self._seen.items() if now - seen.since >= self._settle]
        return [
            self.path / name for name in sorted(whole, key=lambda name: (self._seen[name].changed_at, name))
        ]

    @property
    def names(self) -> set[str]:
        """The names that the last look has found, of files that are whole or will be."""
        return set(self._seen)

    def put_away(self, file: Path, report: str, *, is_imported: bool) -> Path:
        """Move a file where it belongs, its report beside it, over nothing that is there.

        Returns where it is now. Raises OSError.
        """
        there = self.path / (IMPORTED if is_imported else REFUSED)
        there.mkdir(exist_ok=True)
        for number in count(1):
            place = there / _numbered(file.name, number)
            report_place = place.with_name(place.name + _REPORT)
            if report_place.exists() or not _reserve(place):
                continue
            try:
                report_place.write_text(report + "\n", encoding="utf-8")
                # It goes onto the empty file of our own: to move it where nothing is, no system promises.
                file.replace(place)
            except OSError:
                report_place.unlink(missing_ok=True)
                place.unlink(missing_ok=True)
                raise
            self._seen.pop(file.name, None)
            return place
        raise AssertionError("there is always a further number")

    def _candidates(self) -> dict[str, os.stat_result]:
        found = {}
        with os.scandir(self.path) as entries:
            for entry in entries:
                if _is_meant(entry.name):
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if stat.S_ISREG(status.st_mode):
                        found[entry.name] = status
        return found

    def _look(self, name: str, found: os.stat_result, now: float) -> _Seen:
        before = self._seen.get(name)
        if before and (before.size, before.changed_at) == (found.st_size, found.st_mtime_ns):
            return before
        return _Seen(found.st_size, found.st_mtime_ns, now)


def _is_meant(name: str) -> bool:
    return not name.startswith((".", _OF_AN_OFFICE)) and not name.lower().endswith(_UNFINISHED)


def _numbered(name: str, number: int) -> str:
    path = Path(name)
    return name if number == 1 else f"{path.stem}-{number}{path.suffix}"


def _reserve(place: Path) -> bool:
    """Make an empty file; say whether there was none."""
    try:
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


LONGEST_WAIT = 30.0
"""Seconds between two tries while a database or the folder is unavailable."""

_OF_ONE_FILE = {"--dry-run": "is_dry_run", "--save-profile": "save_profile", "--rejected": "rejected"}

log = logging.getLogger(__name__)


class _Away(Exception):
    """A database does not answer: whatever is in the folder waits."""


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """What came of one file: whether it is imported, and its report as JSON."""

    is_imported: bool
    is_whole: bool
    report: str
    said: str


def watch(order: ImportOrder, *, settle: float, is_once: bool) -> None:
    """Import what is in the folder `order.path` and what comes, until told to stop; then end the command.

    Each file goes to the folder `imported` or `refused` there, with its report. With `is_once` the command
    ends when the folder is empty: with 3 where a file, or a part of one, was refused.
    """
    with accounts_database():
        try:
            find_device(order.device_id)
        except UnableToBegin as exc:
            fail(str(exc))
        for option, value in _OF_ONE_FILE.items():
            if getattr(order, value):
                fail(f"{option} is for one file, and cannot be combined with --watch")
        if order.user_name:
            find_user(order.user_name)
        if not order.path.is_dir():
            fail(f"{order.path} is no folder; make it, or name another one")
        watching = _Watching(order, settle=settle, is_once=is_once)
        with _stopped_by_signals(watching.stopping):
            watching.run()
        raise typer.Exit(watching.exit_code if is_once else 0)


@contextmanager
def _stopped_by_signals(stopping: threading.Event) -> Iterator[None]:
    """Take requests to end as such between files; an import that runs takes them itself."""

    def stop(_signal: int, _frame: object) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Take requests to end as Ctrl-C, while a file is imported."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with interruptible():
            yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Watching:
    """One run over a drop folder."""

    def __init__(self, order: ImportOrder, *, settle: float, is_once: bool) -> None:
        self.stopping = threading.Event()
        self.exit_code = 0
        self._order = order
        self._folder = DropFolder(order.path, settle=settle)
        self._poll = min(max(settle / 2, 0.05), 2.0)
        self._is_once = is_once
        self._waits = 0.0
        self._stays: set[Path] = set()

    def run(self) -> None:
        """Import until told to stop, or with `is_once` until nothing is left."""
        say(f"watching {self._order.path} for files of device {self._order.device_id}")
        while not self.stopping.is_set():
            try:
                worked = self._round()
            except (_Away, OSError) as exc:
                self._wait_longer(exc)
                continue
            self._waits = 0.0
            if worked:
                continue
            if self._is_once and self._is_done():
                return
            self.stopping.wait(self._poll)

    def _is_done(self) -> bool:
        return self._folder.names <= {file.name for file in self._stays}

    def _round(self) -> bool:
        """Import the files that are whole now; say whether there were any."""
        from django.db import close_old_connections

        close_old_connections()
        whole = self._folder.whole_files(time.monotonic())
        files = [file for file in whole if file not in self._stays]
        for file in files:
            if self.stopping.is_set():
                break
            before = _state(file)
            if before is None:
                continue  # somebody has taken it away again
            outcome = self._import(file)
            if outcome is None:
                break
            if _state(file) == before:
                self._put_away(file, outcome)
            else:
                say(
                    f"{file.name} has changed meanwhile; it is imported again when it is whole, or left alone"
                )
        return bool(files)

    def _import(self, file: Path) -> _Outcome | None:
        """Import a file; None where it was told to stop meanwhile. Raises `_Away`."""
        from django.db import InterfaceError, OperationalError

        order = dataclasses.replace(self._order, path=file)
        try:
            with _interruptible():
                imported = import_one(order)
        except KeyboardInterrupt:
            self.stopping.set()
            return None
        except (DatabaseUnavailable, OperationalError, InterfaceError) as exc:
            raise _Away(str(exc)) from exc
        except (UnableToBegin, TelemetryError, OSError) as exc:
            return _refused(order, str(exc))
        except Exception:
            log.exception("%s: an error in Joulebook itself", file.name)
            return _refused(order, "an error in Joulebook itself, which the log tells")
        if imported.exit_code == EXIT_STOPPED:
            self.stopping.set()
            return None
        if imported.is_unavailable:
            raise _Away(imported.problem)
        return _outcome(imported)

    def _put_away(self, file: Path, outcome: _Outcome) -> None:
        if not outcome.is_imported or not outcome.is_whole:
            self.exit_code = EXIT_REFUSED
        try:
            place = self._folder.put_away(file, outcome.report, is_imported=outcome.is_imported)
        except OSError as exc:
            # To import it again and again would not help.
            self._stays.add(file)
            self.exit_code = EXIT_UNREADABLE
            say(f"{file.name}: {outcome.said}, but it cannot be moved: {exc.strerror}; it stays where it is")
            return
        say(f"{place.relative_to(self._order.path)}: {outcome.said}")

    def _wait_longer(self, exc: Exception) -> None:
        if not self._waits:
            say(f"waiting, and trying again: {exc}")
        self._waits = min(max(2 * self._waits, 1.0), LONGEST_WAIT)
        self.stopping.wait(self._waits)


def _outcome(imported: Imported) -> _Outcome:
    is_imported = imported.exit_code != EXIT_UNREADABLE and not imported.file.is_refused
    if imported.earlier is not None:
        said = f"import {imported.earlier} already"
    elif imported.problem:
        said = imported.problem
    else:
        report = imported.report
        new = report.stored + report.replaced
        said = f"import {imported.file.import_id}, {new:,} readings stored"
        if report.problem_count:
            said += f", {report.problem_count:,} rows or cells were not"
    return _Outcome(is_imported, imported.exit_code == 0, imported.as_json(), said)


def _state(file: Path) -> tuple[int, int] | None:
    """Return size and time of change of a file; None where it is gone."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def _refused(order: ImportOrder, problem: str) -> _Outcome:
    described = {
        "device": order.device_id,
        "import_id": None,
        "file": {"name": order.path.name},
        "problem": problem,
    }
    return _Outcome(False, False, json.dumps(described, indent=2), problem)
