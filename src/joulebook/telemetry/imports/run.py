"""Stores a file block by block; a process that dies leaves an import that another goes on with.

Each block is one transaction: its readings, what they have overwritten, the block's problems, and how far
the import is. So whatever happens, the account that is kept is that of what is stored, to the last cell.
No block waits for the disk: a database that loses its last blocks in a crash loses the account of them as
well, and they are stored again. Only the end is told after everything before it is on the disk.
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
from joulebook.telemetry.files.parsed import ParsedBlock
from joulebook.telemetry.files.parser import BLOCK_READINGS, parse_file
from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
from joulebook.telemetry.files.read_ahead import read_ahead
from joulebook.telemetry.files.report import MOST_PROBLEMS, ImportReport
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import Problem
from joulebook.telemetry.imports.problems import drop_problems, read_problems, store_problems
from joulebook.telemetry.imports.progress import end_where_idle, identity_of, keep, take_lease, touch
from joulebook.telemetry.rollups.state import UNDO_LOCK, take_lock
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import Outcome, find_stored, write_batch

OVER_CAP = -1
"""In place of a series: the device has as many metrics as it may."""

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
        self._most_metrics = most_metrics
        self._ids = np.full(len(values), _UNKNOWN, np.int32)

    def add(self, added: Sequence[ValueColumn]) -> None:
        """Take in the values that the file's keys have added so far."""
        new = added[len(self._keys) - self._given :]
        if new:
            self._keys += [(value.device or self._device_id, value.metric) for value in new]
            self._ids = np.append(self._ids, np.full(len(new), _UNKNOWN, np.int32))

    def ids(self, columns: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the series ids by column; those of `columns` are known, or `OVER_CAP`.

        Creating one commits on its own, so not inside a transaction. Raises `DatabaseUnavailable`.
        """
        new = [column for column in np.unique(columns).tolist() if self._ids[column] == _UNKNOWN]
        if new:
            found = ensure_series(
                self._conn, [self._keys[column] for column in new], most_per_device=self._most_metrics
            )
            for column in new:
                self._ids[column] = found.get(self._keys[column], OVER_CAP)
        return self._ids


_NO_OUTCOME = -1
_WITHOUT_WAITING = "SET LOCAL synchronous_commit = off"


class ImportRun:
    """One import being stored, or gone on with where whoever ran it before has left off.

    `report` is the account of all that is stored, also by those before. After an exception it still is,
    but the run is of no more use: begin another one with the same lease, or a later one.
    """

    def __init__(
        self,
        conn: Connection,
        source: FileSource,
        profile: ImportProfile,
        columns: Sequence[str],
        *,
        import_id: int,
        lease: int,
        device_id: str,
        most_metrics: int,
        on_conflict: Literal["keep", "replace"] = "keep",
        now: int,
        block_readings: int = BLOCK_READINGS,
        pause: Callable[[str], None] = lambda _point: None,
    ) -> None:
        """Take the import over; everything that has an earlier `lease` can store nothing from here on.

        `conn` is the writer's, in autocommit. A series is created when its column has its first value;
        beyond `most_metrics` of the device its cells are malformed with the code `metric_limit`. Where
        another value is stored, it is kept, or with `on_conflict` "replace" overwritten, and recorded.
        `now` is in microseconds since 1970 UTC. `pause` is called with the name of each point between two
        statements: tests stop there. Raises `LeaseLost`, `NumberTaken`
        and `DatabaseUnavailable`.
        """
        self._conn = conn
        self._source = source
        self._import_id, self._lease = import_id, lease
        self._device_id = device_id
        self._replace = on_conflict == "replace"
        self._looks_first = False
        self._pause = pause
        self._problems: list[Problem] = []
        self._identity = identity_of(source, columns, device_id=device_id)
        before = take_lease(conn, import_id=import_id, lease=lease, identity=self._identity)
        self.report = ImportReport(profile.values, is_dry_run=False, on_problems=self._problems.extend)
        if before.checkpoint is not None and before.report is not None:
            self.report.list_again(read_problems(conn, import_id, limit=MOST_PROBLEMS))
            self.report.restore(before.report)
        self._is_first = before.checkpoint is None
        self._committed = self.report.state()
        self._is_counted = False
        self._is_on_disk = True
        self._series = SeriesOfColumns(conn, device_id, profile.values, most_metrics=most_metrics)
        self._blocks = read_ahead(
            parse_file(
                source, profile, columns, now=now, block_readings=block_readings,
                most_problems=sys.maxsize, checkpoint=before.checkpoint,
            )
        )  # fmt: skip

    def step(self) -> bool:
        """Store the next block in one transaction; False when the file has ended, and all of it is stored.

        Until then, or `close`, the last blocks may be lost in a crash of the database, with the account of
        them. Raises `LeaseLost`, what reading the file raises (`FileError`), and `DatabaseUnavailable`.
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
        """End the thread that reads the file; put what was stored on the disk, where that is possible."""
        self._blocks.close()
        with suppress(TelemetryError):
            self._put_on_disk()

    def _put_on_disk(self) -> None:
        """Return when all blocks are on the disk: a commit that waits takes those before it along."""
        if not self._is_on_disk:
            touch(self._conn, import_id=self._import_id, lease=self._lease)
            self._is_on_disk = True

    def _store(self, block: ParsedBlock, batch: Batch) -> dict[str, Any]:
        """Store a block, its problems and the account of it, all or nothing; return the account's state."""
        outcome = np.full(len(batch), _NO_OUTCOME, np.int8)
        left = np.flatnonzero(batch.series_id != OVER_CAP)
        if self._looks_first:
            left = self._settle(batch, left, outcome)
        self._is_on_disk = False
        with self._conn.transaction():
            self._conn.execute(_WITHOUT_WAITING)
            end_where_idle(self._conn)
            if len(left):
                if self._replace:
                    take_lock(self._conn, UNDO_LOCK)
                rest = batch if len(left) == len(batch) else batch.take(left)
                outcome[left] = write_batch(
                    self._conn, rest, import_id=self._import_id, replace=self._replace
                )
            self._pause("readings written")
            account = self._account(block, outcome)
            if self._is_first:
                drop_problems(self._conn, self._import_id)
            store_problems(self._conn, self._import_id, self._problems)
            keep(
                self._conn,
                import_id=self._import_id,
                lease=self._lease,
                device_id=self._device_id,
                identity=self._identity,
                checkpoint=block.checkpoint,
                report=account,
                bytes_read=self._source.bytes_read,
            )
            self._pause("account kept")
        # Where most was there, so it is in the next block: looking first is faster by far.
        self._looks_first = int(np.count_nonzero(outcome)) * 2 > len(batch)
        return account

    def _settle(self, batch: Batch, rows: NDArray[np.intp], outcome: NDArray[np.int8]) -> NDArray[np.intp]:
        """Fill in the outcome of rows that are found stored; return those that have to be written."""
        asked = batch.take(rows)
        found = find_stored(self._conn, asked, most_rows=4 * len(asked) + 1000)
        if found is None:
            return rows
        differs = found.is_present & (asked.value != found.value)
        if self._replace and differs.any():
            # The last of rows with the same key counts, and only the writer sorts those out.
            return rows
        outcome[rows[found.is_present]] = Outcome.DUPLICATE
        outcome[rows[differs]] = Outcome.CONFLICT
        return rows[~found.is_present]

    def _account(self, block: ParsedBlock, outcome: NDArray[np.int8]) -> dict[str, Any]:
        """Count a block, once, and return the account's state with it."""
        if self._is_counted:
            self.report.restore(self._committed)
        self._is_counted = True
        self._problems.clear()
        self.report.add_block(block)
        self.report.add_outcomes(
            block,
            stored=outcome == Outcome.STORED,
            replaced=outcome == Outcome.REPLACED,
            duplicate=outcome == Outcome.DUPLICATE,
            conflict=outcome == Outcome.CONFLICT,
            not_kept=outcome == Outcome.TOO_OLD,
        )
        return self.report.state()
