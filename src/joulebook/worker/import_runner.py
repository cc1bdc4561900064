"""Runs one import for a worker or a command: checks and stores its file, or undoes it; records the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import cast

from django.db import DatabaseError

from joulebook.telemetry.connection import Connection
from joulebook.telemetry.files.errors import FileError, UnreadableFile
from joulebook.telemetry.files.members import Member
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import MOST_PROBLEMS
from joulebook.telemetry.imports.problems import read_problems
from joulebook.telemetry.imports.progress import LeaseLost, NumberTaken, read_progress
from joulebook.telemetry.imports.run import ImportRun
from joulebook.telemetry.imports.undo import UndoRun
from joulebook.telemetry.readings import MICROSECONDS
from joulebook.web.imports import leases
from joulebook.web.imports.leases import LeaseState
from joulebook.web.imports.models import Import
from joulebook.web.imports.uploads.files import upload_path

log = logging.getLogger(__name__)

State = Import.State

STAYS = "what was stored until then stays, and can be undone; importing the file again is harmless"
INTERNAL_ERROR = f"ended by an error in Joulebook itself, see the worker's log; {STAYS}"
UNDO_INTERNAL_ERROR = "undoing ended by an error in Joulebook itself, see the worker's log; undo it again"
_COMMAND_ENDED = f"the command importing it ended before the end of the file; {STAYS}"
_FORBIDDEN = (
    "the user of the upload no longer owns all of its devices, or was disabled; "
    "what was stored until then stays"
)


@dataclass(frozen=True)
class Ending:
    """The final state of an import or undo, with its problem, if any."""

    state: Import.State
    problem: str = ""


class ImportRunner:
    """Runs one claimed import over a connection with the writer's rights.

    `report` is the report so far: None before the first step, and for an undo. `ending` is the ending, once
    it is known; it may still have to be recorded.
    """

    def __init__(
        self, conn: Connection, import_: Import, *, most_metrics: int, source: FileSource | None = None
    ) -> None:
        """Prepare to run; without a `source` the file is the import's upload."""
        self._conn = conn
        self._import = import_
        self._most_metrics = most_metrics
        self._source = source
        # Read here: later steps then wait only for the database of the readings.
        self._device_id = import_.device.device_id if import_.device is not None else ""
        self.report: ImportReport | None = None
        self.ending: Ending | None = None

    def run(self) -> Generator[bool, None, Ending]:
        """Run step by step and return the ending; `end` records it.

        Yields after each step whether the import has progressed: an interruption would not repeat its work,
        unless the database crashes at that moment. Raises `LeaseLost` and `DatabaseUnavailable`.
        """
        with closing(self._steps()) as steps:
            while (stopped := self._find_stop()) is None:
                try:
                    has_progressed = next(steps)
                except StopIteration as exc:
                    return cast("Ending", exc.value)
                if has_progressed:
                    with suppress(DatabaseError):  # As in `_find_stop`.
                        leases.reset_attempts(self._import)
                yield has_progressed
        self.reload_report()
        return stopped

    def end(self, ending: Ending) -> bool:
        """Record an ending; return whether the import was still ours.

        If this process dies first, the next worker only has to record it.
        """
        self.ending = ending
        return leases.finish(self._import, ending.state, report=self.report, problem=ending.problem)

    def reload_report(self, conn: Connection | None = None) -> None:
        """Read the report from the database, because a crash there may have lost the last blocks."""
        found = read_stored_report(conn or self._conn, self._import)
        if found is None and self.report is not None and not self.report.is_dry_run:
            found = ImportReport(ImportProfile.from_json(self._import.profile).values, is_dry_run=False)
        self.report = found or self.report

    def _find_stop(self) -> Ending | None:
        """Return the ending of an import stopped from outside, else None. Raises `LeaseLost`."""
        try:
            found = leases.lease_state(self._import)
        except DatabaseError:
            return None  # The accounts are busy or unavailable. The next step looks again.
        if found is LeaseState.LOST:
            raise LeaseLost(self._import.pk, self._import.lease)
        if found is LeaseState.CANCELLING:
            return Ending(State.CANCELLED)
        return Ending(State.FAILED, _FORBIDDEN) if found is LeaseState.FORBIDDEN else None

    def _steps(self) -> Generator[bool, None, Ending]:
        if self._import.state == State.UNDOING:
            return (yield from self._undo())
        if not self._import.upload and self._source is None:
            self.reload_report()
            return Ending(State.FAILED, _COMMAND_ENDED)
        try:
            return (yield from self._check_and_store())
        except NumberTaken as exc:
            return Ending(State.FAILED, str(exc))
        except FileError as exc:
            if self.report is not None and self.report.is_dry_run:
                return Ending(State.REFUSED, f"{exc}; nothing was stored")
            if self.report is None:
                self.reload_report()
            has_stored = self.report is not None and self.report.stored + self.report.replaced > 0
            return Ending(State.FAILED, f"{exc}; {STAYS if has_stored else 'nothing was stored'}")

    def _check_and_store(self) -> Generator[bool, None, Ending]:
        profile = ImportProfile.from_json(self._import.profile)
        source = self._source or self._open_upload(profile)
        if self._import.is_strict:
            progress = read_progress(self._conn, self._import.pk)
            if progress is None or progress.checkpoint is None:
                report = yield from self._read(source, profile, is_check=True)
                if count := report.problem_count:
                    return Ending(State.REFUSED, f"{count:,} problem(s) were found, so nothing was stored")
        yield from self._read(source, profile)
        if not self._import.file_sha256:
            self._import.file_sha256 = source.sha256
            Import.objects.filter(pk=self._import.pk).update(file_sha256=source.sha256)
        # The file can be replaced or truncated only on this machine.
        if source.sha256 not in {"", self._import.file_sha256}:
            raise UnreadableFile("the uploaded file was changed on the disk while it waited or was read")
        return Ending(State.DONE)

    def _open_upload(self, profile: ImportProfile) -> FileSource:
        path = upload_path(self._import.upload)
        if not path.is_file():
            raise UnreadableFile("the uploaded file is missing on the server; upload it again")
        return FileSource(path, sheet=profile.sheet, name=self._import.file_name)

    def _read(
        self, source: FileSource, profile: ImportProfile, *, is_check: bool = False
    ) -> Generator[bool, None, ImportReport]:
        run = ImportRun(
            self._conn, source, profile, self._import.columns,
            [Member.from_json(each) for each in self._import.files], import_id=self._import.pk,
            lease=self._import.lease, device_id=self._device_id, most_metrics=self._most_metrics,
            on_conflict="replace" if self._import.on_conflict == Import.OnConflict.REPLACE else "keep",
            is_check=is_check, now=int(time.time() * MICROSECONDS),
        )  # fmt: skip
        with closing(run):
            self.report = run.report
            lines = _count_lines(run.report)
            while run.step():
                # After a completely stored file, each attempt still has one empty block: no progress.
                before, lines = lines, _count_lines(run.report)
                yield lines > before and not is_check
        return run.report

    def _undo(self) -> Generator[bool, None, Ending]:
        if self._import.queued_at is not None and self._import.lease == 1:
            return Ending(State.UNDONE)  # It was cancelled before a worker began it.
        run = UndoRun(self._conn, import_id=self._import.pk, lease=self._import.lease)
        while run.step():
            yield True
        kept = f"{run.kept:,} reading(s) stay: they are past retention and cannot be changed"
        return Ending(State.UNDONE, kept if run.kept else "")


def read_stored_report(conn: Connection, import_: Import) -> ImportReport | None:
    """Return the report of the readings stored so far; None before the first block."""
    progress = read_progress(conn, import_.pk)
    if progress is None or progress.report is None:
        return None
    problems = read_problems(conn, import_.pk, limit=MOST_PROBLEMS)
    return ImportReport.from_state(progress.report, problems=problems)


def _count_lines(report: ImportReport) -> int:
    return report.rows_read + report.blank_lines + report.skipped_lines
