"""Runs of an import: store a file block by block, or check it without storing a reading.

Each block is one transaction: its readings, the values overwritten by them, the block's problems, the
report and the progress. So the recorded report always agrees with the stored readings, to the last cell,
and another process can continue the import after a crash. No block waits for the disk: a database that
loses its last blocks in a crash loses their report and progress as well, and they are stored again. The
end of an import is reported only when everything before it is on the disk.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import Connection, retried
from joulebook.telemetry.errors import TelemetryError
from joulebook.telemetry.files.errors import FileError
from joulebook.telemetry.files.members import Member, parse_files
from joulebook.telemetry.files.parser import BLOCK_READINGS
from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
from joulebook.telemetry.files.read_ahead import read_ahead
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import MOST_PROBLEMS, ParsedBlock, Problem
from joulebook.telemetry.imports.problems import drop_problems, read_problems, store_problems
from joulebook.telemetry.imports.progress import (
    end_where_idle,
    identity_of,
    record_progress,
    renew_lease,
    take_lease,
)
from joulebook.telemetry.kinds.settings import NUMBERS, TEXTS
from joulebook.telemetry.rollups.state import UNDO_LOCK, take_lock
from joulebook.telemetry.series import ensure_series, forms_of_series, note_units
from joulebook.telemetry.writer import Outcome, find_stored, write_batch

OVER_CAP = -1
"""In place of a series id: the device has reached its number of metrics."""

OF_TEXT = -2
"""In place of a series id: the series holds text, and a file has numbers."""

_UNKNOWN = 0


class SeriesOfColumns:
    """Series ids by the index of value columns, for one device unless a column names another."""

    def __init__(
        self, conn: Connection, device_id: str, values: Sequence[ValueColumn], *, most_metrics: int
    ) -> None:
        self._conn = conn
        self._device_id = device_id
        self._given = len(values)
        self._keys = [(value.device or device_id, value.metric) for value in values]
        self._units = [value.unit for value in values]
        self._most_metrics = most_metrics
        self._ids = np.full(len(values), _UNKNOWN, np.int32)

    def add(self, added: Sequence[ValueColumn]) -> None:
        """Add the values added by the file's keys so far."""
        new = added[len(self._keys) - self._given :]
        if new:
            self._keys += [(value.device or self._device_id, value.metric) for value in new]
            self._units += [value.unit for value in new]
            self._ids = np.append(self._ids, np.full(len(new), _UNKNOWN, np.int32))

    def ids(self, columns: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the series ids by column; those of `columns` are known, or `OVER_CAP` or `OF_TEXT`.

        The unit in the file is noted with the series, as one that a sender names. Creating a series and
        noting its unit commit on their own, so not inside a transaction. Raises `DatabaseUnavailable`.
        """
        new = [column for column in np.unique(columns).tolist() if self._ids[column] == _UNKNOWN]
        if new:
            found = ensure_series(
                self._conn, [self._keys[column] for column in new], most_per_device=self._most_metrics
            )
            units = {self._keys[column]: self._units[column] for column in new if self._units[column]}
            if said := {key: unit for key, unit in units.items() if key in found}:
                note_units(self._conn, said)
            forms = forms_of_series(self._conn, found.values())
            for column in new:
                series_id = found.get(self._keys[column], OVER_CAP)
                self._ids[column] = OF_TEXT if forms.get(series_id, NUMBERS) >= TEXTS else series_id
        return self._ids


_NO_OUTCOME = -1
_WITHOUT_WAITING = "SET LOCAL synchronous_commit = off"


class ImportRun:
    """One import being stored, from its beginning or from where an earlier run ended.

    `report` covers everything stored so far, also by earlier runs, and stays correct after an exception.
    The run cannot be used after one: begin another with the same lease, or a later one.
    """

    def __init__(
        self,
        conn: Connection,
        source: FileSource,
        profile: ImportProfile,
        columns: Sequence[str],
        members: Sequence[Member] = (),
        *,
        import_id: int,
        lease: int,
        device_id: str,
        most_metrics: int,
        on_conflict: Literal["keep", "replace"] = "keep",
        is_check: bool = False,
        now: int,
        block_readings: int = BLOCK_READINGS,
        pause: Callable[[str], None] = lambda _point: None,
    ) -> None:
        """Take the import over; a run with an earlier `lease` can store nothing from here on.

        `conn` is the writer's, in autocommit. A series is created when its column has its first value;
        beyond `most_metrics` of the device its cells are malformed with the code `metric_limit`. A stored
        value that differs stays, or with `on_conflict` "replace" is overwritten, and recorded for an undo.
        With `is_check` only report and problems are recorded: it begins with the first line again after an
        interruption, and a later run that stores begins with an empty report. `now` is in microseconds since
        1970 UTC. `pause` is called with the name of each point between two statements: tests stop there.
        Raises `LeaseLost`, `NumberTaken` and `DatabaseUnavailable`.
        """
        self._conn = conn
        self._source = source
        self._import_id, self._lease = import_id, lease
        self._device_id = device_id
        self._replace = on_conflict == "replace"
        self._is_check = is_check
        self._looks_first = False
        self._pause = pause
        self._problems: list[Problem] = []
        self._identity = identity_of(source, columns, device_id=device_id)
        before = take_lease(conn, import_id=import_id, lease=lease, identity=self._identity)
        checkpoint = None if is_check else before.checkpoint
        self.report = ImportReport(profile.values, is_dry_run=is_check, on_problems=self._problems.extend)
        if checkpoint is not None and before.report is not None:
            self.report.list_again(read_problems(conn, import_id, limit=MOST_PROBLEMS))
            self.report.restore(before.report)
        self._is_first = checkpoint is None
        self._committed = self.report.state()
        self._is_counted = False
        self._is_on_disk = True
        self._series = SeriesOfColumns(conn, device_id, profile.values, most_metrics=most_metrics)
        self._blocks = read_ahead(
            parse_files(
                source, profile, columns, members, now=now, block_readings=block_readings,
                most_problems=sys.maxsize, checkpoint=checkpoint,
            )
        )  # fmt: skip

    def step(self) -> bool:
        """Store the next block in one transaction; return False when all of the file is stored.

        Until then, or `close`, the last blocks may be lost in a crash of the database, together with their
        report. Raises `LeaseLost`, `FileError` for the file, and `DatabaseUnavailable`.
        """
        try:
            block = next(self._blocks, None)
        except FileError:
            self._put_on_disk()
            raise
        if block is None:
            self._put_on_disk()
            return False
        self._is_counted = False
        batch = None
        if not self._is_check:
            self._series.add(block.added)
            ids = self._series.ids(block.column)[block.column]
            batch = Batch(series_id=ids, time=block.time, value=block.value)
        counted = None
        try:
            counted = retried(self._conn, lambda: self._store(block, batch))
        finally:
            if counted is None:
                self.report.restore(self._committed)
        self._committed = counted
        self._is_first = False
        return True

    def close(self) -> None:
        """End the thread reading the file; wait for the disk, where the database is available."""
        self._blocks.close()
        with suppress(TelemetryError):
            self._put_on_disk()

    def _put_on_disk(self) -> None:
        """Wait until all blocks are on the disk: one waiting commit includes all commits before it."""
        if not self._is_on_disk:
            renew_lease(self._conn, import_id=self._import_id, lease=self._lease)
            self._is_on_disk = True

    def _store(self, block: ParsedBlock, batch: Batch | None) -> dict[str, Any]:
        """Store a block, its problems and the report, all or nothing; return the report's state."""
        outcome = np.full(len(block.time), _NO_OUTCOME, np.int8)
        left = np.empty(0, np.intp) if batch is None else np.flatnonzero(batch.series_id > _UNKNOWN)
        if batch is not None and self._looks_first:
            left = self._settle(batch, left, outcome)
        self._is_on_disk = False
        with self._conn.transaction():
            self._conn.execute(_WITHOUT_WAITING)
            end_where_idle(self._conn)
            if batch is not None and len(left):
                if self._replace:
                    take_lock(self._conn, UNDO_LOCK)
                rest = batch if len(left) == len(batch) else batch.take(left)
                outcome[left] = write_batch(
                    self._conn, rest, import_id=self._import_id, replace=self._replace
                )
            self._pause("readings written")
            report = self._count(block, outcome, batch)
            if self._is_first:
                drop_problems(self._conn, self._import_id)
            store_problems(self._conn, self._import_id, self._problems)
            record_progress(
                self._conn,
                import_id=self._import_id,
                lease=self._lease,
                device_id=self._device_id,
                identity=self._identity,
                checkpoint=None if self._is_check else block.checkpoint,
                report=report,
                bytes_read=self._source.bytes_read,
            )
            self._pause("progress recorded")
        # If most readings were stored before, those of the next block are too: looking first is much faster.
        self._looks_first = int(np.count_nonzero(outcome)) * 2 > len(outcome)
        return report

    def _settle(self, batch: Batch, rows: NDArray[np.intp], outcome: NDArray[np.int8]) -> NDArray[np.intp]:
        """Set the outcome of rows already stored; return the rows to be written."""
        asked = batch.take(rows)
        found = find_stored(self._conn, asked, most_rows=4 * len(asked) + 1000)
        if found is None:
            return rows
        differs = found.is_present & (asked.value != found.value)
        if self._replace and differs.any():
            # Of rows with the same key the last counts, and only the writer sorts them out.
            return rows
        outcome[rows[found.is_present]] = Outcome.DUPLICATE
        outcome[rows[differs]] = Outcome.CONFLICT
        return rows[~found.is_present]

    def _count(self, block: ParsedBlock, outcome: NDArray[np.int8], batch: Batch | None) -> dict[str, Any]:
        """Count a block, once, and return the report's state with it."""
        if self._is_counted:
            self.report.restore(self._committed)
        self._is_counted = True
        self._problems.clear()
        self.report.add_block(block)
        if batch is not None:
            self.report.add_outcomes(
                block,
                stored=outcome == Outcome.STORED,
                replaced=outcome == Outcome.REPLACED,
                duplicate=outcome == Outcome.DUPLICATE,
                conflict=outcome == Outcome.CONFLICT,
                not_kept=outcome == Outcome.TOO_OLD,
                holds_text=batch.series_id == OF_TEXT,
            )
        return self.report.state()
