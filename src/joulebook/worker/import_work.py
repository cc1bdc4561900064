"""What there is to do for one import, in steps: check it, store it, or take it back."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

from joulebook.telemetry.connection import Connection
from joulebook.telemetry.files.errors import FileError, UnreadableFile
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.imports.problems import read_problems
from joulebook.telemetry.imports.progress import NumberTaken, read_progress
from joulebook.telemetry.imports.run import CheckRun, ImportRun
from joulebook.telemetry.imports.undo import UndoRun
from joulebook.telemetry.readings import MICROSECONDS
from joulebook.web.imports.models import Import
from joulebook.web.imports.uploads.files import upload_path

State = Import.State

STAYS = "what was stored until then stays, and can be undone"
ENDED_BY_AN_ERROR = f"ended by an error in Joulebook itself, which the worker's log tells; {STAYS}"
UNDOING_ENDED_BY_AN_ERROR = (
    "undoing it was ended by an error in Joulebook itself, which the worker's log tells; undo it again"
)
COMMAND_ENDED = f"the command that imported it ended before the file did; {STAYS}"
NOT_THEIRS = (
    "who brought the file owns not all of its devices any more, or was disabled; "
    "what was stored until then stays"
)
_MOST_LISTED = 1000


@dataclass(frozen=True)
class Ending:
    """How an import, or its undoing, ended."""

    state: Import.State
    problem: str = ""


class Work:
    """The steps of one claimed import over a connection with the writer's rights.

    `steps` yields after each step, with whether it has got on: what it has done would not be done again if
    it were interrupted, unless the database crashes at that moment. It returns how it ended. `report` is
    the account so far; None before the first step, and of an undoing.
    """

    def __init__(self, conn: Connection, import_: Import, *, most_metrics: int) -> None:
        self._conn = conn
        self._import = import_
        self._most_metrics = most_metrics
        # Asked for here: later steps have only the database of the readings to wait for.
        self._device_id = import_.device.device_id if import_.device is not None else ""
        self.report: ImportReport | None = None

    def count_again(self) -> None:
        """Take the account from the database, which may have lost the last blocks in a crash."""
        found = stored_report(self._conn, self._import)
        if found is None and self.report is not None and not self.report.is_dry_run:
            found = ImportReport(ImportProfile.from_json(self._import.profile).values, is_dry_run=False)
        self.report = found or self.report

    def steps(self) -> Generator[bool, None, Ending]:
        """Do everything, step by step. Raises `LeaseLost` and `DatabaseUnavailable`."""
        if self._import.state == State.UNDOING:
            return (yield from self._undo())
        if not self._import.upload:
            self.count_again()
            return Ending(State.FAILED, COMMAND_ENDED)
        try:
            return (yield from self._read())
        except NumberTaken as exc:
            return Ending(State.FAILED, str(exc))
        except FileError as exc:
            return self._unreadable(str(exc))

    def _read(self) -> Generator[bool, None, Ending]:
        path = upload_path(self._import.upload)
        if not path.is_file():
            raise UnreadableFile("the uploaded file is not there any more, so upload it again")
        profile = ImportProfile.from_json(self._import.profile)
        source = FileSource(path, sheet=profile.sheet, name=self._import.file_name)
        if self._import.is_strict and not self._has_begun():
            yield from self._check(source, profile)
            if self.report is not None and self.report.problem_count:
                count = self.report.problem_count
                return Ending(State.REFUSED, f"{count:,} problem(s) were found, so nothing was stored")
        yield from self._store(source, profile)
        return Ending(State.DONE)

    def _check(self, source: FileSource, profile: ImportProfile) -> Generator[bool, None, None]:
        run = CheckRun(
            self._conn, source, profile, self._import.columns, import_id=self._import.pk,
            lease=self._import.lease, device_id=self._device_id, now=_now(),
        )  # fmt: skip
        with closing(run):
            self.report = run.report
            while run.step():
                yield False

    def _store(self, source: FileSource, profile: ImportProfile) -> Generator[bool, None, None]:
        run = ImportRun(
            self._conn, source, profile, self._import.columns, import_id=self._import.pk,
            lease=self._import.lease, device_id=self._device_id, most_metrics=self._most_metrics,
            on_conflict="replace" if self._import.on_conflict == Import.OnConflict.REPLACE else "keep",
            now=_now(),
        )  # fmt: skip
        with closing(run):
            self.report = run.report
            lines = _lines(run.report)
            while run.step():
                # One that was stored whole, but not ended, has an empty block left each time.
                before, lines = lines, _lines(run.report)
                yield lines > before
        # Whoever put another file in its place, or cut it short, did that on this machine.
        if source.sha256 not in {"", self._import.file_sha256}:
            raise UnreadableFile("the uploaded file was changed on the disk while it waited or was read")

    def _undo(self) -> Generator[bool, None, Ending]:
        if self._import.queued_at is not None and self._import.lease == 1:
            return Ending(State.UNDONE)  # It was cancelled before anybody had begun with it.
        run = UndoRun(self._conn, import_id=self._import.pk, lease=self._import.lease)
        while run.step():
            yield True
        kept = f"{run.kept:,} reading(s) stay: readings of their time are not kept, nor changed, any more"
        return Ending(State.UNDONE, kept if run.kept else "")

    def _unreadable(self, problem: str) -> Ending:
        if self.report is not None and self.report.is_dry_run:
            return Ending(State.REFUSED, f"{problem}; nothing was stored")
        if self.report is None:
            self.count_again()
        has_stored = self.report is not None and self.report.stored + self.report.replaced > 0
        return Ending(State.FAILED, f"{problem}; {STAYS}" if has_stored else f"{problem}; nothing was stored")

    def _has_begun(self) -> bool:
        progress = read_progress(self._conn, self._import.pk)
        return progress is not None and progress.checkpoint is not None


def stored_report(conn: Connection, import_: Import) -> ImportReport | None:
    """Return the account of what an import has stored so far; None where it has not begun."""
    progress = read_progress(conn, import_.pk)
    if progress is None or progress.report is None:
        return None
    problems = read_problems(conn, import_.pk, limit=_MOST_LISTED)
    return ImportReport.from_state(progress.report, problems=problems)


def _lines(report: ImportReport) -> int:
    return report.rows_read + report.blank_lines + report.skipped_lines


def _now() -> int:
    return int(time.time() * MICROSECONDS)
