"""`joulebook import --watch`: a drop folder whose files are imported as they come."""

from __future__ import annotations

import dataclasses
import json
import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from joulebook.cli.accounts_database import accounts_database
from joulebook.cli.import_order import (
    EXIT_REFUSED,
    EXIT_STOPPED,
    EXIT_UNREADABLE,
    ImportOrder,
    UnableToBegin,
)
from joulebook.cli.import_run import find_device, import_one, interruptible
from joulebook.cli.output import fail, say
from joulebook.cli.user import find_user
from joulebook.cli.watch_folder import DropFolder
from joulebook.telemetry.errors import DatabaseAway, TelemetryError

if TYPE_CHECKING:
    from joulebook.cli.import_order import Imported

LONGEST_WAIT = 30.0
"""Seconds between two tries while a database or the folder is away."""

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
        except (DatabaseAway, OperationalError, InterfaceError) as exc:
            raise _Away(str(exc)) from exc
        except (UnableToBegin, TelemetryError, OSError) as exc:
            return _refused(order, str(exc))
        except Exception:
            log.exception("%s: an error in Joulebook itself", file.name)
            return _refused(order, "an error in Joulebook itself, which the log tells")
        if imported.exit_code == EXIT_STOPPED:
            self.stopping.set()
            return None
        if imported.is_away:
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
