"""Updates the rollups after the readings: closes windows of time, and rolls marked time up.

There are two kinds of transactions. Closing takes the writers' lock exclusively, after the writers in flight,
moves `closed_until` forward and marks the window between; it is over in a moment. Rolling removes some marks
and recomputes the marked time, in this order: lock, marks, readings. Each statement has a snapshot of its own
(READ COMMITTED): readings committed with a mark are seen after the mark, and later ones have a mark of their
own. If a process dies anywhere, its transaction is rolled back together with the marks, and the next pass
repeats it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import LiteralString, cast

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from joulebook.telemetry.connection import Connection, retried
from joulebook.telemetry.readings import DAY, HOUR, MINUTE, from_microseconds, to_microseconds
from joulebook.telemetry.rollups.state import (
    READINGS_TABLE,
    ROLLERS_LOCK,
    WRITERS_LOCK,
    read_state,
    take_lock,
)
from joulebook.telemetry.rollups.summaries import edges_of, merge, summarise
from joulebook.telemetry.rollups.tables import (
    WIDTHS,
    Spans,
    delete_summaries,
    insert_summaries,
    read_readings,
    read_summaries_and_edges,
)

# Writers queue behind a waiting closer: a stuck transaction must not block them for longer.
_PATIENCE = "1s"
_PRESENT_MINUTE = "SELECT date_trunc('minute', clock_timestamp())"
_CLOSE = """
WITH mark AS (
    INSERT INTO rollup_dirty (begins_at, ends_at) VALUES (%(begin)s, %(end)s)
)
UPDATE rollup_state SET closed_until = %(end)s
"""
_NEWEST = "SELECT series_id IS NULL, ends_at FROM rollup_dirty ORDER BY ends_at DESC LIMIT 1"
_TAKE = """
DELETE FROM rollup_dirty WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM rollup_dirty WHERE (series_id IS NULL) = %(of_all)s AND ends_at > %(begin)s
    ORDER BY ends_at DESC LIMIT %(limit)s
))
RETURNING series_id, begins_at, ends_at
"""
_PUT_BACK = "INSERT INTO rollup_dirty (series_id, begins_at, ends_at) VALUES (%s, %s, %s)"
# Most series of a large database may be idle: they cost a look into two indexes here, instead of a span in
# each of the statements to come.
_SERIES_WITH_DATA: LiteralString = """
SELECT series.id FROM series CROSS JOIN LATERAL ({looks} LIMIT 1) AS data ORDER BY series.id
"""
_LOOK: LiteralString = """
(SELECT FROM {table} WHERE series_id = series.id AND {time} >= %(begin)s AND {time} < %(end)s LIMIT 1)
"""

_MARKS_AT_ONCE = 1000
# The intended least and most readings of one transaction, and the number at which it is given up. The stretch
# of time of a transaction is adapted to them.
_FEW, _MANY, _TOO_MANY = 1_000_000, 4_000_000, 16_000_000
_SHORTEST, _LONGEST = MINUTE, 28 * DAY


@dataclass(frozen=True)
class Rolled:
    """The work of one pass: the numbers of its marks and readings, and the recomputed time."""

    marks: int
    readings: int
    begins_at: datetime
    ends_at: datetime


class _TooManyReadings(Exception):
    """A pass has met more readings than one transaction should roll up."""


@dataclass
class Roller:
    """Closes and rolls up on one connection, in autocommit.

    `pause` is called with the name of each point between two statements: tests stop there.
    """

    conn: Connection
    pause: Callable[[str], None] = lambda _point: None
    _reach: dict[bool, int] = field(default_factory=lambda: {True: HOUR, False: DAY})

    def close(self, until: datetime) -> bool:
        """Close the time before the minute of `until`; return whether any was closed.

        It is not if a writer's transaction holds its lock for longer than a moment. Raises
        `DatabaseUnavailable`.
        """
        end = to_microseconds(until) // MINUTE * MINUTE
        return retried(self.conn, lambda: self._close(end))

    def roll(self) -> Rolled | None:
        """Roll up some of the marked time, the newest first; return None if nothing is marked.

        A pass stays in one stretch of time, so its statements touch few chunks: each of its spans is looked
        up in all of them. Raises `DatabaseUnavailable`.
        """
        while True:
            try:
                return retried(self.conn, self._roll)
            except _TooManyReadings:
                self._reach = {kind: max(_SHORTEST, reach // 8) for kind, reach in self._reach.items()}

    def _roll(self) -> Rolled | None:
        with self.conn.transaction():
            take_lock(self.conn, ROLLERS_LOCK)
            self.pause("locked")
            newest = self.conn.execute(_NEWEST).fetchone()
            if newest is None:
                return None
            of_all = bool(newest[0])
            taken = self._take(to_microseconds(cast("datetime", newest[1])), of_all=of_all)
            self.pause("marks taken")
            # Retention may have dropped earlier readings: their marks are removed without recomputing.
            state = read_state(self.conn)
            retained = taken.cut(state.retained_from[READINGS_TABLE])
            if of_all and len(retained):
                begin, end = int(retained.begin[0]), int(retained.end[0])
                retained = Spans.same_for(self._series_with_data(begin, end), begin, end)
            most = _TOO_MANY if self._reach[of_all] > _SHORTEST else None
            readings = self._recompute(retained, until=state.closed_until, most=most)
            if readings > _MANY:
                self._reach[of_all] = max(_SHORTEST, self._reach[of_all] // 2)
            elif readings < _FEW:
                self._reach[of_all] = min(_LONGEST, self._reach[of_all] * 2)
            self.pause("put right")
            return Rolled(
                marks=len(taken),
                readings=readings,
                begins_at=from_microseconds(int(taken.begin.min())),
                ends_at=from_microseconds(int(taken.end.max())),
            )

    def _series_with_data(self, begin: int, end: int) -> NDArray[np.int32]:
        """Return the series with readings or summaries in the hours touched by [begin, end).

        A longer summary has shorter ones beside it, unless the tables were damaged: only for an hour or more,
        as when it is rebuilt, it is looked for itself.
        """
        tables = [(READINGS_TABLE, "time"), *((table, "bucket") for table in WIDTHS.values())]
        looks = [
            sql.SQL(_LOOK).format(table=sql.Identifier(table), time=sql.Identifier(time))
            for table, time in (tables if end - begin >= HOUR else tables[:2])
        ]
        statement = sql.SQL(_SERIES_WITH_DATA).format(looks=sql.SQL(" UNION ALL ").join(looks))
        hours = {
            "begin": from_microseconds(begin // HOUR * HOUR),
            "end": from_microseconds(-(-end // HOUR) * HOUR),
        }
        rows = self.conn.execute(statement, hours, prepare=False).fetchall()
        return np.array([row[0] for row in rows], np.int32)

    def _close(self, end: int) -> bool:
        try:
            with self.conn.transaction():
                take_lock(self.conn, WRITERS_LOCK, patience=_PATIENCE)
                self.pause("writers locked out")
                begin = read_state(self.conn).closed_until
                # A worker's fast clock must not close time in which devices still write.
                ((minute,),) = self.conn.execute(_PRESENT_MINUTE).fetchall()
                end = min(end, to_microseconds(cast("datetime", minute)))
                if end <= begin:
                    return False
                self.conn.execute(_CLOSE, {"begin": from_microseconds(begin), "end": from_microseconds(end)})
                self.pause("closed")
                return True
        except psycopg.errors.LockNotAvailable:
            return False

    def _take(self, newest: int, *, of_all: bool) -> Spans:
        """Remove marks in the stretch of time ending with `newest`; marks from before it are shortened.

        Series is -1 for a mark of all series.
        """
        reach = self._reach[of_all]
        stretch = (newest - 1) // reach * reach
        parameters = {
            "of_all": of_all,
            "begin": from_microseconds(stretch),
            "limit": 1 if of_all else _MARKS_AT_ONCE,
        }
        found = self.conn.execute(_TAKE, parameters).fetchall()
        marks = [
            (
                cast("int | None", row[0]),
                to_microseconds(cast("datetime", row[1])),
                to_microseconds(cast("datetime", row[2])),
            )
            for row in found
        ]
        taken, left = [], []
        for series_id, begin, end in marks:
            cut = max(begin, stretch)
            taken.append((-1 if series_id is None else series_id, cut, end))
            if begin < cut:
                left.append((series_id, from_microseconds(begin), from_microseconds(cut)))
        if left:
            with self.conn.cursor() as cursor:
                cursor.executemany(_PUT_BACK, left)
        return Spans.of(taken)

    def _recompute(self, spans: Spans, *, until: int, most: int | None) -> int:
        """Recompute the rollups of these spans, from fine to coarse; return the number of readings.

        Raises `_TooManyReadings` if there are more than `most`.
        """
        readings = 0
        finer = 0
        for width in WIDTHS:
            whole = spans.widened(width, until=until)
            delete_summaries(self.conn, width, whole)
            if not finer:
                for found in read_readings(self.conn, whole):
                    readings += len(found.time)
                    if most is not None and readings > most:
                        raise _TooManyReadings
                    bucket = found.time // width * width
                    rows = summarise(found.series_id, found.time, found.value, bucket)
                    insert_summaries(self.conn, width, rows, edges_of(rows, found.time, found.value))
            else:
                for rows, edges in read_summaries_and_edges(self.conn, finer, whole):
                    insert_summaries(self.conn, width, *merge(rows, edges, rows["bucket"] // width * width))
            self.pause(f"{WIDTHS[width]} written")
            finer = width
        return readings
