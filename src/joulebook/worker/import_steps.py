"""The steps of one import: check its file, store it, or undo what was stored."""

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
INTERNAL_ERROR = f"ended by an error in Joulebook itself, see the worker's log; {STAYS}"
UNDO_INTERNAL_ERROR = "undoing ended by an error in Joulebook itself, see the worker's log; undo it again"
COMMAND_ENDED = f"the command importing it ended before the end of the file; {STAYS}"
NO_LONGER_ALLOWED = (
    "the user of the upload no longer owns all of its devices, or was disabled; "
    "what was stored until then stays"
)
_MOST_PROBLEMS = 1000


@dataclass(frozen=True)
class Ending:
    """The final state of an import or undo, with its problem, if any."""

    state: Import.State
    problem: str = ""


class ImportSteps:
    """The steps of one claimed import, over a connection with the writer's rights.

    `report` is the report so far: None before the first step, and for an undo.
    """

    def __init__(self, conn: Connection, import_: Import, *, most_metrics: int) -> None:
        self._conn = conn
        self._import = import_
        self._most_metrics = most_metrics
        # Read here: later steps then wait only for the database of the readings.
        self._device_id = import_.device.device_id if import_.device is not None else ""
        self.report: ImportReport | None = None

    def run(self) -> Generator[bool, None, Ending]:
        """Run step by step and return the ending.

        Yields after each step whether the import has progressed: an interruption would not repeat its work,
        unless the database crashes at that moment. Raises `LeaseLost` and `DatabaseUnavailable`.
        """
        if self._import.state == State.UNDOING:
            return (yield from self._undo())
        if not self._import.upload:
            self.reload_report()
            return Ending(State.FAILED, COMMAND_ENDED)
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

    def reload_report(self) -> None:
        """Read the report from the database, because a crash there may have lost the last blocks."""
        found = read_stored_report(self._conn, self._import)
        if found is None and self.report is not None and not self.report.is_dry_run:
            found = ImportReport(ImportProfile.from_json(self._import.profile).values, is_dry_run=False)
        self.report = found or self.report

    def _check_and_store(self) -> Generator[bool, None, Ending]:
        path = upload_path(self._import.upload)
        if not path.is_file():
            raise UnreadableFile("the uploaded file is missing on the server; upload it again")
        profile = ImportProfile.from_json(self._import.profile)
        source = FileSource(path, sheet=profile.sheet, name=self._import.file_name)
        if self._import.is_strict:
            progress = read_progress(self._conn, self._import.pk)
            if progress is None or progress.checkpoint is None:
                run = CheckRun(
                    self._conn, source, profile, self._import.columns, import_id=self._import.pk,
                    lease=self._import.lease, device_id=self._device_id, now=_now(),
                )  # fmt: skip
                with closing(run):
                    self.report = run.report
                    while run.step():
                        yield False
                if count := run.report.problem_count:
                    return Ending(State.REFUSED, f"{count:,} problem(s) were found, so nothing was stored")
        yield from self._store(source, profile)
        return Ending(State.DONE)

    def _store(self, source: FileSource, profile: ImportProfile) -> Generator[bool, None, None]:
        run = ImportRun(
            self._conn, source, profile, self._import.columns, import_id=self._import.pk,
            lease=self._import.lease, device_id=self._device_id, most_metrics=self._most_metrics,
            on_conflict="replace" if self._import.on_conflict == Import.OnConflict.REPLACE else "keep",
            now=_now(),
        )  # fmt: skip
        with closing(run):
            self.report = run.report
            lines = _count_lines(run.report)
            while run.step():
                # After a completely stored file, each attempt still has one empty block: no progress.
                before, lines = lines, _count_lines(run.report)
                yield lines > before
        # The file can be replaced or truncated only on this machine.
        if source.sha256 not in {"", self._import.file_sha256}:
            raise UnreadableFile("the uploaded file was changed on the disk while it waited or was read")

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
    problems = read_problems(conn, import_.pk, limit=_MOST_PROBLEMS)
    return ImportReport.from_state(progress.report, problems=problems)


def _count_lines(report: ImportReport) -> int:
    return report.rows_read + report.blank_lines + report.skipped_lines


def _now() -> int:
    return int(time.time() * MICROSECONDS)
