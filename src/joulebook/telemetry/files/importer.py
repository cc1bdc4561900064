"""Stores the readings of a file for a device, block by block, and keeps the account of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import Connection
from joulebook.telemetry.files.parsed import ParsedBlock
from joulebook.telemetry.files.profile import ValueColumn
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.stored import find_stored
from joulebook.telemetry.writer import Outcome, write_batch

_UNKNOWN, _OVER_CAP = 0, -1
_NO_OUTCOME = -1


def store_blocks(
    conn: Connection,
    blocks: Iterable[ParsedBlock],
    report: ImportReport,
    *,
    device_id: str,
    values: Sequence[ValueColumn],
    import_id: int,
    most_metrics: int,
    after_block: Callable[[], None] = lambda: None,
) -> None:
    """Store the readings of `blocks`, one transaction a block, and fill `report` as they are committed.

    A series is created when its column has its first value; beyond `most_metrics` of the device its
    cells are malformed with the code `metric_limit`. `after_block` is called after each commit. Raises
    what reading the blocks raises, and `DatabaseAway`; what was committed until then stays, and storing
    the same file again is harmless.
    """
    series = _SeriesOfColumns(conn, device_id, values, most_metrics=most_metrics)
    store = _Store(conn, import_id=import_id)
    for block in blocks:
        series.add(block.added)
        ids = series.ids(block.column)[block.column]
        batch = Batch(series_id=ids, time=block.time, value=block.value)
        has_series = np.flatnonzero(ids != _OVER_CAP)
        if len(has_series) == len(ids):
            outcome = store.store(batch)
        else:
            outcome = np.full(len(ids), _NO_OUTCOME, np.int8)
            outcome[has_series] = store.store(batch.take(has_series))
        report.add_block(block)
        report.add_outcomes(
            block,
            stored=outcome == Outcome.STORED,
            duplicate=outcome == Outcome.DUPLICATE,
            conflict=outcome == Outcome.CONFLICT,
            not_kept=outcome == Outcome.TOO_OLD,
        )
        after_block()


class _Store:
    """Writes batches; looks first where the one before was there already, which is faster by far."""

    def __init__(self, conn: Connection, *, import_id: int) -> None:
        self._conn = conn
        self._import_id = import_id
        self._looks_first = False

    def store(self, batch: Batch) -> NDArray[np.int8]:
        """Store a batch and return an `Outcome` for each of its rows."""
        outcome = self._look_and_store(batch) if self._looks_first else None
        if outcome is None:
            outcome = write_batch(self._conn, batch, import_id=self._import_id)
        self._looks_first = int(np.count_nonzero(outcome)) * 2 > len(batch)
        return outcome

    def _look_and_store(self, batch: Batch) -> NDArray[np.int8] | None:
        stored = find_stored(self._conn, batch, most_rows=4 * len(batch) + 1000)
        if stored is None:
            return None
        same = batch.value == stored.value
        outcome = np.where(same, np.int8(Outcome.DUPLICATE), np.int8(Outcome.CONFLICT)).astype(np.int8)
        fresh = np.flatnonzero(~stored.is_present)
        if len(fresh):
            outcome[fresh] = write_batch(self._conn, batch.take(fresh), import_id=self._import_id)
        return outcome


class _SeriesOfColumns:
    """The series of each value column, found or created when the column first has a value."""

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
        """Return the series ids by column; those of `columns` are known, or `_OVER_CAP`."""
        new = [column for column in np.unique(columns).tolist() if self._ids[column] == _UNKNOWN]
        if new:
            found = ensure_series(
                self._conn, [self._keys[column] for column in new], most_per_device=self._most_metrics
            )
            for column in new:
                self._ids[column] = found.get(self._keys[column], _OVER_CAP)
        return self._ids
