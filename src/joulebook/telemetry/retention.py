"""Retention: drops chunks too old to retain, and shows beforehand what goes and what a year will need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString, cast

import psycopg

from joulebook.telemetry.connection import Connection, one_snapshot, retried, translated_errors
from joulebook.telemetry.corrections.originals import forget_old_originals
from joulebook.telemetry.readings import DAY, HOUR, from_microseconds, to_microseconds
from joulebook.telemetry.replaced import forget_replaced
from joulebook.telemetry.rollups.state import (
    READINGS_TABLE,
    ROLLERS_LOCK,
    TABLES,
    WRITERS_LOCK,
    limit_lock_waits,
    read_state,
    take_lock,
)
from joulebook.telemetry.timescale import Chunk, Range, read_chunk_sizes, read_chunks, typical_bytes

RetentionTimes = Mapping[str, timedelta | None]
"""By table of `TABLES` the time to retain rows; None is for ever. Coarser tables have at least as long."""

QUERIES_END = timedelta(minutes=15)
"""The longest query: one begun before the instants moved ends within this time, or may miss dropped rows."""


_EARLIEST_MARK = "SELECT min(begins_at) FROM rollup_dirty"
_REFUSE = "UPDATE rollup_state SET writable_from = %(writable_from)s"
_MOVE = """
UPDATE rollup_state SET readings_kept_from = %(readings)s, readings_1m_kept_from = %(readings_1m)s,
    readings_5m_kept_from = %(readings_5m)s, readings_1h_kept_from = %(readings_1h)s,
    kept_from_moved_at = clock_timestamp()
"""
_IS_TIME_TO_DROP = "SELECT clock_timestamp() - kept_from_moved_at >= %(patience)s FROM rollup_state"
_DROP = "SELECT drop_chunks_not_kept(%(table)s, %(before)s)"


@dataclass(frozen=True)
class Dropped:
    """The dropped chunks of a table: those before `before`, in microseconds since 1970 UTC."""

    table: str
    chunks: int
    before: int


@dataclass
class Retention:
    """Applies retention times on one connection of the writer's, in autocommit.

    `pause` is called with the name of each point between two statements: tests stop there.
    """

    conn: Connection
    times: RetentionTimes
    pause: Callable[[str], None] = lambda _point: None

    def move(self, now: datetime) -> dict[str, int]:
        """Move the beginning of each table's retained time at the instant `now`; return the moved ones.

        No beginning moves past a mark or past closed time. Nothing moves while a writer or a roller holds its
        lock for longer than a moment. Raises `DatabaseUnavailable`.
        """

        def attempt() -> dict[str, int]:
            try:
                self._refuse(now)
                return self._move(now)
            except psycopg.errors.LockNotAvailable:
                return {}

        return retried(self.conn, attempt)

    def drop(self, *, patience: timedelta = QUERIES_END) -> list[Dropped]:
        """Drop the chunks before the retained time, unless it moved within `patience`; return those dropped.

        A chunk in use by a query or writer is left for the next time. Raises `DatabaseUnavailable`.
        """
        dropped = []
        with translated_errors():
            ((is_time,),) = self.conn.execute(_IS_TIME_TO_DROP, {"patience": patience}).fetchall()
            if not is_time:
                return []
            retained_from = read_state(self.conn).retained_from
            for table, chunks in read_chunks(self.conn, TABLES).items():
                gone = [end for _, end in chunks if end <= retained_from[table]]
                try:
                    for end in gone:
                        dropped.append(Dropped(table, self._drop_before(table, end), end))
                        self.pause(f"{table} dropped")
                except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                    continue
            if any(each.table == READINGS_TABLE for each in dropped):
                # No import and no correction is undone there any more.
                before = from_microseconds(retained_from[READINGS_TABLE])
                forget_replaced(self.conn, before)
                forget_old_originals(self.conn, before)
        return dropped

    def _refuse(self, now: datetime) -> None:
        """Make writers refuse readings too old to retain."""
        if self._refused(now) is None:
            return
        with self.conn.transaction():
            take_lock(self.conn, WRITERS_LOCK, patience="1s")
            refused = self._refused(now)
            if refused is not None:
                self.conn.execute(_REFUSE, {"writable_from": from_microseconds(refused)})
                self.pause("refused")

    def _refused(self, now: datetime) -> int | None:
        """Return the new instant before which writers refuse readings, or None if it stays."""
        state = read_state(self.conn)
        chunks = read_chunks(self.conn, (READINGS_TABLE,))[READINGS_TABLE]
        new = retained_from(chunks, limit_of(self.times, READINGS_TABLE, now), bound=state.closed_until)
        return new if new is not None and new > state.writable_from else None

    def _move(self, now: datetime) -> dict[str, int]:
        if not self._moved(now):
            return {}
        with self.conn.transaction():
            take_lock(self.conn, ROLLERS_LOCK, patience="5s")
            self.pause("rollers locked out")
            take_lock(self.conn, WRITERS_LOCK, patience="1s")
            self.pause("writers locked out")
            moved = self._moved(now)
            instants = read_state(self.conn).retained_from | moved
            self.conn.execute(_MOVE, {table: from_microseconds(instants[table]) for table in TABLES})
            self.pause("moved")
        return moved

    def _moved(self, now: datetime) -> dict[str, int]:
        """Return the new beginnings of retained time, by table; each is the end of a chunk."""
        state = read_state(self.conn)
        ((mark,),) = self.conn.execute(_EARLIEST_MARK).fetchall()
        bound = state.writable_from
        if mark is not None:
            bound = min(bound, to_microseconds(cast("datetime", mark)))
        moved = {}
        for table, chunks in read_chunks(self.conn, TABLES).items():
            new = retained_from(chunks, limit_of(self.times, table, now), bound=bound)
            if new is not None and new > state.retained_from[table]:
                moved[table] = new
            # Sums must outlive the summed rows: a coarser table is retained for at least as long.
            bound = moved.get(table, state.retained_from[table])
        return moved

    def _drop_before(self, table: str, before: int) -> int:
        """Drop chunks in a transaction of their own. It waits for locks briefly: queries queue behind it.

        A query and this transaction can wait for each other's locks. This gives up before the server looks
        for deadlocks (after a second), or the server might end the query.
        """
        with self.conn.transaction():
            limit_lock_waits(self.conn, "200ms")
            ((count,),) = self.conn.execute(
                _DROP, {"table": table, "before": from_microseconds(before)}
            ).fetchall()
        return cast("int", count)


def limit_of(times: RetentionTimes, table: str, now: datetime) -> int | None:
    """Return the instant of a table's oldest rows to retain, or None if they are retained for ever."""
    age = times[table]
    return None if age is None else to_microseconds(now - age)


def retained_from(chunks: list[Range], limit: int | None, *, bound: int) -> int | None:
    """Return the whole hour at the beginning of a table's retained time, or None if all of it is retained.

    It is the end of the last chunk ending by both `limit` and `bound`.
    """
    if limit is None:
        return None
    ends = [end for _, end in chunks if end <= min(limit, bound)]
    return max(ends) // HOUR * HOUR if ends else None


YEAR = 365 * DAY

_ENOUGH_ROWS = 10_000

# The last 24 rolled-up whole hours, or fewer if there are fewer. The zone is named, since a server of the
# user's own may have another one, with other hours and days.
_RATE_WINDOW = """
SELECT GREATEST(min(bucket), date_trunc('hour', max(closed_until), 'UTC') - INTERVAL '24 hours'),
       date_trunc('hour', max(closed_until), 'UTC')
FROM readings_1h CROSS JOIN rollup_state
WHERE bucket >= date_trunc('hour', closed_until, 'UTC') - INTERVAL '24 hours'
  AND bucket < date_trunc('hour', closed_until, 'UTC')
"""
_READINGS_IN = "SELECT sum(count)::int8 FROM readings_1h WHERE bucket >= %(begin)s AND bucket < %(end)s"
_ROWS_IN: dict[str, LiteralString] = {
    "readings_1m": "SELECT count(*) FROM readings_1m WHERE bucket >= %(begin)s AND bucket < %(end)s",
    "readings_5m": "SELECT count(*) FROM readings_5m WHERE bucket >= %(begin)s AND bucket < %(end)s",
    "readings_1h": "SELECT count(*) FROM readings_1h WHERE bucket >= %(begin)s AND bucket < %(end)s",
}


@dataclass(frozen=True)
class TablePlan:
    """Retention of one table: `goes` are dropped now, `waits` after being rolled up; sizes in bytes."""

    table: str
    retained_for: timedelta | None
    goes: list[Chunk]
    waits: list[Chunk]
    size: int
    rows_per_day: float
    bytes_per_row: float
    size_in_a_year: int


def plan_retention(conn: Connection, times: RetentionTimes, now: datetime) -> list[TablePlan]:
    """Return the effect of retention at `now`, from the finest table to the coarsest. Changes nothing.

    `conn` is in autocommit and may read. Raises `DatabaseUnavailable`.
    """
    with translated_errors(), one_snapshot(conn):
        state = read_state(conn)
        ((mark,),) = conn.execute(_EARLIEST_MARK).fetchall()
        bound = state.closed_until
        if mark is not None:
            bound = min(bound, to_microseconds(cast("datetime", mark)))
        rates = _rates(conn)
        plans = []
        for table in TABLES:
            chunks = read_chunk_sizes(conn, table)
            limit = max(limit_of(times, table, now) or 0, state.retained_from[table])
            old = [chunk for chunk in chunks if chunk.end <= limit]
            goes = [chunk for chunk in old if chunk.end <= max(bound, state.retained_from[table])]
            bound = max([state.retained_from[table], *(chunk.end for chunk in goes)])
            plans.append(
                _plan(table, times[table], chunks, goes, old[len(goes) :], rate=rates[table], now=now)
            )
    return plans


def _plan(
    table: str,
    retained_for: timedelta | None,
    chunks: list[Chunk],
    goes: list[Chunk],
    waits: list[Chunk],
    *,
    rate: float,
    now: datetime,
) -> TablePlan:
    size, rows = sum(chunk.size for chunk in chunks), sum(chunk.rows for chunk in chunks)
    bytes_per_row = size / rows if rows >= _ENOUGH_ROWS else typical_bytes(table)
    age = YEAR if retained_for is None else min(YEAR, retained_for // timedelta(microseconds=1))
    next_year = to_microseconds(now) + YEAR
    still_there = [
        chunk
        for chunk in chunks
        if retained_for is None or chunk.end > next_year - retained_for // timedelta(microseconds=1)
    ]
    return TablePlan(
        table=table,
        retained_for=retained_for,
        goes=goes,
        waits=waits,
        size=size,
        rows_per_day=rate,
        bytes_per_row=bytes_per_row,
        size_in_a_year=sum(chunk.size for chunk in still_there) + round(rate * bytes_per_row * age / DAY),
    )


def _rates(conn: Connection) -> dict[str, float]:
    """Return by table the new rows of a day, measured over the last day."""
    ((begin, end),) = conn.execute(_RATE_WINDOW).fetchall()
    if begin is None:
        return dict.fromkeys(TABLES, 0.0)
    window = {"begin": begin, "end": end}
    days = (cast("datetime", end) - cast("datetime", begin)) / timedelta(days=1)
    rates = {}
    for table, statement in {READINGS_TABLE: _READINGS_IN, **_ROWS_IN}.items():
        ((rows,),) = conn.execute(statement, window).fetchall()
        rates[table] = cast("int", rows or 0) / days
    return rates
