"""Undo of an import: its readings are removed, the values overwritten by it return, and rollups follow.

It goes from the newest reading to the oldest, in slices small enough that other writers do not wait long.
Each slice is one transaction and records the progress of the undo: another process can continue after a
crash. `joulebook.telemetry.replaced` defines the restored value where several imports overlap, and
`joulebook.telemetry.corrections.originals` what is left of corrected readings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from joulebook.telemetry.binary import PACKED_TIMES, times_from
from joulebook.telemetry.connection import Connection, retried, translated_errors
from joulebook.telemetry.corrections.originals import undo_import_of_originals
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.imports.progress import Progress, end_where_idle, record_undo, take_lease
from joulebook.telemetry.readings import MICROSECONDS, OLDEST, from_microseconds
from joulebook.telemetry.replaced import remove_from_piles
from joulebook.telemetry.rollups.marks import begin_writing, mark_changed
from joulebook.telemetry.rollups.state import READINGS_TABLE, UNDO_LOCK, read_state, take_lock
from joulebook.telemetry.series import find_series
from joulebook.telemetry.timescale import read_chunks

SLICE_READINGS = 20_000
"""Most readings of the import's series in one slice, of any import; many series may need a few more."""

_DAY = 24 * 3600 * MICROSECONDS
_LONGEST = 364 * _DAY

_COUNT = """
SELECT count(*) FROM (
    SELECT FROM readings
    WHERE series_id = ANY(%(series)s) AND time >= %(begin)s AND time < %(end)s LIMIT %(limit)s
) AS found
"""
# Changes to compressed readings unpack them; the server's limit on unpacking would only stop the undo.
_UNPACK = """
SELECT set_config(name, '0', true) FROM pg_settings
WHERE name = 'timescaledb.max_tuples_decompressed_per_dml_transaction'
"""
_RESTORE = f"""
WITH restored AS (
    UPDATE readings AS stored SET value = own.value, import_id = own.replaced_import_id
    FROM import_replaced AS own
    WHERE own.import_id = %(import_id)s AND own.series_id = ANY(%(series)s)
      AND own.time >= %(begin)s AND own.time < %(end)s
      AND stored.series_id = own.series_id AND stored.time = own.time AND stored.import_id = %(import_id)s
      AND stored.time >= %(begin)s AND stored.time < %(end)s
    RETURNING stored.series_id, stored.time
)
SELECT series_id, {PACKED_TIMES} FROM restored GROUP BY series_id
"""  # noqa: S608 - our own text
_DROP_RECORDS = """
DELETE FROM import_replaced
WHERE import_id = %(import_id)s AND series_id = ANY(%(series)s) AND time >= %(begin)s AND time < %(end)s
"""
_REMOVE = f"""
WITH removed AS (
    DELETE FROM readings
    WHERE import_id = %(import_id)s AND series_id = ANY(%(series)s) AND time >= %(begin)s AND time < %(end)s
    RETURNING series_id, time
)
SELECT series_id, {PACKED_TIMES} FROM removed GROUP BY series_id
"""  # noqa: S608 - our own text
_LEFT = """
SELECT count(*) FROM (
    SELECT import_id, series_id, time FROM readings
    WHERE import_id = %(import_id)s AND series_id = ANY(%(series)s) AND time >= %(begin)s AND time < %(end)s
    UNION ALL
    SELECT import_id, series_id, time FROM corrected_readings
    WHERE import_id = %(import_id)s AND series_id = ANY(%(series)s) AND time >= %(begin)s AND time < %(end)s
) AS own
"""
_ALL_SERIES = "SELECT id FROM series ORDER BY id"


@dataclass(frozen=True)
class _Reach:
    """The series touched by an import, and the half-open range of time."""

    series: list[int]
    begin: int
    end: int


class UndoRun:
    """The undo of one import, from its beginning or from where an earlier run ended.

    `removed` counts removed readings, `restored` readings with their earlier value again, and `kept` (known
    at the end) readings too old to be changed: they stay until retention drops them. All three count from
    the beginning of the undo.
    """

    def __init__(
        self,
        conn: Connection,
        *,
        import_id: int,
        lease: int,
        slice_readings: int = SLICE_READINGS,
        pause: Callable[[str], None] = lambda _point: None,
    ) -> None:
        """Take the import over; a run with an earlier `lease` can store nothing from here on.

        `conn` is the writer's, in autocommit. `pause` is called with the name of each point between two
        statements: tests stop there. Raises `LeaseLost` and `DatabaseUnavailable`.
        """
        self._conn = conn
        self._pause = pause
        self._import_id, self._lease = import_id, lease
        self._most = slice_readings
        progress = take_lease(conn, import_id=import_id, lease=lease, is_undo=True)
        with translated_errors():
            self._reach = _reach_of(conn, progress)
        done = progress.undo or {}
        self.removed: int = done.get("removed", 0)
        self.restored: int = done.get("restored", 0)
        self.kept: int = done.get("kept", 0)
        self._end: int = done.get("end", self._reach.end)
        self._is_over: bool = done.get("is_over", False)
        self._width = _DAY

    def step(self) -> bool:
        """Undo the next slice in one transaction; return False when there is none left.

        Raises `LeaseLost` and `DatabaseUnavailable`.
        """
        if self._is_over:
            return False
        if self._end > self._reach.begin and self._reach.series:
            with translated_errors():
                begin = self._next_begin()
            self.removed, self.restored, self._end = retried(self._conn, lambda: self._slice(begin))
            return True
        retried(self._conn, self._finish)
        return False

    def _next_begin(self) -> int:
        """Return the beginning of the slice before `_end`, with neither too many nor too few readings."""
        while True:
            begin = max(self._end - self._width, self._reach.begin)
            where = {**self._where(begin, self._end), "limit": self._most + 1}
            ((count,),) = self._conn.execute(_COUNT, where, prepare=False).fetchall()
            found = cast("int", count)
            if found > self._most and self._width > 1:
                self._width = min(self._end - begin, self._width) // 2 or 1
                continue
            if found * 2 <= self._most:
                self._width = min(self._width * 2, _LONGEST)
            return begin

    def _slice(self, begin: int) -> tuple[int, int, int]:
        """Undo the readings in [begin, end); return removed and restored readings so far, and the new end."""
        removed, restored, end = self.removed, self.restored, begin
        with self._conn.transaction():
            end_where_idle(self._conn)
            take_lock(self._conn, UNDO_LOCK)
            closed_until = begin_writing(self._conn)
            writable_from = read_state(self._conn).writable_from
            begin = max(begin, writable_from)
            if begin < self._end:
                where = self._where(begin, self._end)
                self._conn.execute(_UNPACK)
                remove_from_piles(
                    self._conn, import_id=self._import_id, series=self._reach.series,
                    begin=where["begin"], end=where["end"],
                )  # fmt: skip
                self._pause("uncovered")
                gone, returned = undo_import_of_originals(
                    self._conn, import_id=self._import_id, series=self._reach.series, begin=where["begin"],
                    end=where["end"], closed_until=closed_until, writable_from=writable_from,
                )  # fmt: skip
                removed += gone
                restored += returned
                restored += self._change(_RESTORE, where, closed_until=closed_until)
                self._pause("restored")
                self._conn.execute(_DROP_RECORDS, where, prepare=False)
                removed += self._change(_REMOVE, where, closed_until=closed_until)
                self._pause("removed")
            if begin <= writable_from:
                end = self._reach.begin
            self._record(removed=removed, restored=restored, end=end)
            self._pause("progress recorded")
        return removed, restored, end

    def _change(self, statement: str, where: dict[str, Any], *, closed_until: int) -> int:
        """Run a statement, mark the changed readings for the rollups, and return their number."""
        with self._conn.cursor(binary=True) as cursor:
            # Never a generic plan: only constants of the range exclude chunks.
            found = cursor.execute(statement, where, prepare=False).fetchall()
        changed = 0
        for series_id, packed in found:
            time = times_from(cast("bytes", packed))
            series = np.full(len(time), cast("int", series_id), np.int32)
            mark_changed(self._conn, series, time, closed_until=closed_until)
            changed += len(time)
        return changed

    def _finish(self) -> None:
        """Count the readings too old to be changed, and record the end of the undo."""
        writable_from = read_state(self._conn).writable_from
        kept = 0
        if self._reach.series and writable_from > self._reach.begin:
            where = self._where(self._reach.begin, min(writable_from, self._reach.end))
            ((count,),) = self._conn.execute(_LEFT, where, prepare=False).fetchall()
            kept = cast("int", count)
        self._record(
            removed=self.removed, restored=self.restored, end=self._reach.begin, kept=kept, is_over=True
        )
        self.kept, self._is_over = kept, True

    def _record(self, **undo: int) -> None:
        record_undo(self._conn, import_id=self._import_id, lease=self._lease, undo=undo)

    def _where(self, begin: int, end: int) -> dict[str, Any]:
        return {
            "import_id": self._import_id,
            "series": self._reach.series,
            "begin": from_microseconds(begin),
            "end": from_microseconds(end),
        }


def _reach_of(conn: Connection, progress: Progress) -> _Reach:
    """Return the readings possibly changed by an import, by its report."""
    if progress.report is None:
        # All readings, for imports from before reports were recorded in this database.
        chunks = read_chunks(conn, (READINGS_TABLE,))[READINGS_TABLE]
        if not chunks:
            return _Reach([], OLDEST, OLDEST)
        series = [cast("int", row[0]) for row in conn.execute(_ALL_SERIES).fetchall()]
        return _Reach(series, chunks[0][0], max(end for _, end in chunks))
    report = ImportReport.from_state(progress.report)
    if report.first_time is None or report.last_time is None:
        return _Reach([], OLDEST, OLDEST)
    keys = [
        (column.device or progress.device_id, column.metric)
        for column in report.columns
        if column.stored or column.replaced
    ]
    return _Reach(sorted(set(find_series(conn, keys).values())), report.first_time, report.last_time + 1)
