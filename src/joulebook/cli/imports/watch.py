"""`joulebook import --watch`: a drop folder; each new file is imported once it is complete."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import stat
import threading
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import typer
from django.db import InterfaceError, OperationalError, close_old_connections

from joulebook.cli.imports.options import (
    EXIT_REFUSED,
    EXIT_STOPPED,
    EXIT_UNREADABLE,
    ImportOptions,
    ImportResult,
    UnableToBegin,
)
from joulebook.cli.imports.run import find_device, import_one
from joulebook.cli.output import fail, say
from joulebook.cli.signals import interruptible, set_on_signals
from joulebook.cli.user import find_user
from joulebook.telemetry.errors import DatabaseUnavailable, TelemetryError

IMPORTED = "imported"
REFUSED = "refused"

_UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".filepart", ".download")
_OFFICE_LOCK = "~$"
_REPORT = ".report.json"

LONGEST_WAIT = 30.0
"""Seconds between two attempts while a database or the folder is unavailable."""

_SINGLE_FILE_OPTIONS = {
    "--dry-run": "is_dry_run",
    "--save-profile": "save_profile",
    "--rejected": "rejected",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Seen:
    """Size and modification time of a file, and the instant when it was first seen with them.

    `changed_at` is in nanoseconds since 1970 UTC, `since` in seconds of a monotonic clock.
    """

    size: int
    changed_at: int
    since: float


class DropFolder:
    """Finds complete files: those with size and modification time unchanged for `settle` seconds.

    Only these two are compared, because they are known for folders mounted from other machines, too. Names
    beginning with a dot or ending like unfinished downloads are skipped, and so is everything but regular
    files.
    """

    def __init__(self, path: Path, *, settle: float) -> None:
        self.path = path
        self._settle = settle
        self._seen: dict[str, _Seen] = {}

    def complete_files(self, now: float) -> list[Path]:
        """Look into the folder and return the complete files, the oldest first.

        `now` is in seconds of a monotonic clock. Raises OSError if the folder cannot be read.
        """
        looked: dict[str, _Seen] = {}
        for name, found in self._candidates().items():
            seen = self._seen.get(name)
            if seen is None or (seen.size, seen.changed_at) != (found.st_size, found.st_mtime_ns):
                seen = _Seen(found.st_size, found.st_mtime_ns, now)
            looked[name] = seen
        self._seen = looked
        complete = [name for name, seen in self._seen.items() if now - seen.since >= self._settle]
        return [
            self.path / name
            for name in sorted(complete, key=lambda name: (self._seen[name].changed_at, name))
        ]

    @property
    def names(self) -> set[str]:
        """The names found by the last look, of complete and incomplete files."""
        return set(self._seen)

    def move_away(self, file: Path, report: str, *, is_imported: bool) -> Path:
        """Move a file to the folder for its outcome, with its report, never over another file.

        Returns its new path. Raises OSError.
        """
        folder = self.path / (IMPORTED if is_imported else REFUSED)
        folder.mkdir(exist_ok=True)
        for number in count(1):
            target = folder / (file.name if number == 1 else f"{file.stem}-{number}{file.suffix}")
            report_target = target.with_name(target.name + _REPORT)
            if report_target.exists() or not _reserve(target):
                continue
            try:
                report_target.write_text(report + "\n", encoding="utf-8")
                # This replaces the empty file made by `_reserve`: a move cannot require that its target is
                # free.
                file.replace(target)
            except OSError:
                report_target.unlink(missing_ok=True)
                target.unlink(missing_ok=True)
                raise
            self._seen.pop(file.name, None)
            return target
        raise AssertionError("there is always a further number")

    def _candidates(self) -> dict[str, os.stat_result]:
        found = {}
        with os.scandir(self.path) as entries:
            for entry in entries:
                if entry.name.startswith((".", _OFFICE_LOCK)) or entry.name.lower().endswith(_UNFINISHED):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    found[entry.name] = status
        return found


def _reserve(path: Path) -> bool:
    """Create an empty file; return whether the name was free."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


class _Unavailable(Exception):
    """A database does not answer: the files in the folder wait."""


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """The outcome for one file: its report as JSON, and a summary in one line.

    `is_complete` is set if every row and cell was stored.
    """

    is_imported: bool
    is_complete: bool
    report: str
    summary: str


def watch_folder(options: ImportOptions, *, settle: float, is_once: bool) -> None:
    """Import the files of the folder `options.path`, and new ones, until stopped; then end the command.

    Each file moves to the subfolder `imported` or `refused`, with its report. With `is_once` the command
    ends when the folder is empty: with exit code 3 if a file, or a part of one, was refused.
    """
    try:
        find_device(options.device_id)
    except UnableToBegin as exc:
        fail(str(exc))
    for option, value in _SINGLE_FILE_OPTIONS.items():
        if getattr(options, value):
            fail(f"{option} is for one file, and cannot be combined with --watch")
    if options.user_name:
        find_user(options.user_name)
    if not options.path.is_dir():
        fail(f"{options.path} is no folder; make it, or name another one")
    watching = _Watching(options, settle=settle, is_once=is_once)
    with set_on_signals(watching.stopping):
        watching.run()
    raise typer.Exit(watching.exit_code if is_once else 0)


class _Watching:
    """One run of the command over a drop folder."""

    def __init__(self, options: ImportOptions, *, settle: float, is_once: bool) -> None:
        self.stopping = threading.Event()
        self.exit_code = 0
        self._options = options
        self._folder = DropFolder(options.path, settle=settle)
        self._poll = min(max(settle / 2, 0.05), 2.0)
        self._is_once = is_once
        self._immovable: set[Path] = set()

    def run(self) -> None:
        """Import until stopped, or with `is_once` until the folder is empty."""
        wait_seconds = 0.0
        say(f"watching {self._options.path} for files of device {self._options.device_id}")
        while not self.stopping.is_set():
            try:
                worked = self._import_complete_files()
            except (_Unavailable, OSError) as exc:
                if not wait_seconds:
                    say(f"waiting, and trying again: {exc}")
                wait_seconds = min(max(2 * wait_seconds, 1.0), LONGEST_WAIT)
                self.stopping.wait(wait_seconds)
                continue
            wait_seconds = 0.0
            if worked:
                continue
            if self._is_once and self._folder.names <= {file.name for file in self._immovable}:
                return
            self.stopping.wait(self._poll)

    def _import_complete_files(self) -> bool:
        """Import the files that are complete now; return whether there were any."""
        close_old_connections()
        complete = self._folder.complete_files(time.monotonic())
        files = [file for file in complete if file not in self._immovable]
        for file in files:
            if self.stopping.is_set():
                break
            before = _file_state(file)
            if before is None:
                continue  # It was removed since the folder was read.
            outcome = self._import(file)
            if outcome is None:
                break
            if _file_state(file) == before:
                self._move_away(file, outcome)
            else:
                say(f"{file.name} changed during its import; it is imported again once it is complete")
        return bool(files)

    def _import(self, file: Path) -> _Outcome | None:
        """Import a file; None if stopped during it. Raises `_Unavailable`."""
        options = dataclasses.replace(self._options, path=file)
        try:
            with interruptible():
                imported = import_one(options)
        except KeyboardInterrupt:
            self.stopping.set()
            return None
        except (DatabaseUnavailable, OperationalError, InterfaceError) as exc:
            raise _Unavailable(str(exc)) from exc
        except (UnableToBegin, TelemetryError, OSError) as exc:
            return _refused(options, str(exc))
        except Exception:
            log.exception("%s: an error in Joulebook itself", file.name)
            return _refused(options, "an error in Joulebook itself; the log has its details")
        if imported.exit_code == EXIT_STOPPED:
            self.stopping.set()
            return None
        if imported.is_unavailable:
            raise _Unavailable(imported.problem)
        return _outcome(imported)

    def _move_away(self, file: Path, outcome: _Outcome) -> None:
        if not outcome.is_imported or not outcome.is_complete:
            self.exit_code = EXIT_REFUSED
        try:
            target = self._folder.move_away(file, outcome.report, is_imported=outcome.is_imported)
        except OSError as exc:
            # Importing it again and again would not help.
            self._immovable.add(file)
            self.exit_code = EXIT_UNREADABLE
            say(f"{file.name}: {outcome.summary}, but it cannot be moved and stays: {exc.strerror}")
            return
        say(f"{target.relative_to(self._options.path)}: {outcome.summary}")


def _outcome(imported: ImportResult) -> _Outcome:
    is_imported = imported.exit_code != EXIT_UNREADABLE and not imported.file.is_refused
    if imported.earlier is not None:
        summary = f"import {imported.earlier} already"
    elif imported.problem:
        summary = imported.problem
    else:
        report = imported.report
        new = report.stored + report.replaced
        summary = f"import {imported.file.import_id}, {new:,} readings stored"
        if report.problem_count:
            summary += f", {report.problem_count:,} rows or cells rejected"
    return _Outcome(is_imported, imported.exit_code == 0, imported.as_json(), summary)


def _refused(options: ImportOptions, problem: str) -> _Outcome:
    report = {
        "device": options.device_id,
        "import_id": None,
        "file": {"name": options.path.name},
        "problem": problem,
    }
    return _Outcome(False, False, json.dumps(report, indent=2), problem)


def _file_state(file: Path) -> tuple[int, int] | None:
    """Return size and modification time of a file; None after its removal."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns
