"""Shows what retention would drop, and what disk space today's rate will need in a year."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString, cast

import psycopg

from joulebook.telemetry.connection import Connection, one_snapshot, retried, translated_errors
from joulebook.telemetry.readings import DAY, HOUR, from_microseconds, to_microseconds
from joulebook.telemetry.replaced import forget_replaced
from joulebook.telemetry.rollups.state import (
    READINGS_TABLE,
    ROLLERS_LOCK,
    TABLES,
    WRITERS_LOCK,
    be_patient,
    read_state,
    take_lock,
)
from joulebook.telemetry.timescale import Chunk, Range, read_chunk_sizes, read_chunks, typical_bytes

Keep = Mapping[str, timedelta | None]
"""By table of `TABLES` for how long it is kept; None stands for ever. Coarser ones at least as long."""

QUERIES_END = timedelta(minutes=15)
"""What began to read before the instants moved has ended after this time, or sees less than there was."""


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
    """Chunks of a table that are gone: what lay before `before`, in microseconds since 1970 UTC."""

    table: str
    chunks: int
    before: int


@dataclass
class Retention:
    """Applies `keep` on one connection of the writer's, which is in autocommit.

    `pause` is called with the name of each point between two statements: tests stop there.
    """

    conn: Connection
    keep: Keep
    pause: Callable[[str], None] = lambda _point: None

    def move(self, now: datetime) -> dict[str, int]:
        """Note from when on each table is kept at the instant `now`; return those that have moved.

        Nothing moves past a mark or past closed time. Nothing at all while a writer or a roller keeps
        its lock for longer than a moment. Raises `DatabaseUnavailable`.
        """
        return retried(self.conn, lambda: self._refuse_and_move(now))

    def drop(self, *, patience: timedelta = QUERIES_END) -> list[Dropped]:
        """Drop the chunks before what is kept, if that has not moved for `patience`; return what is gone.

        A chunk that a query or writer holds on to is left for the next time. Raises `DatabaseUnavailable`.
        """
        dropped = []
        with translated_errors():
            ((is_time,),) = self.conn.execute(_IS_TIME_TO_DROP, {"patience": patience}).fetchall()
            if not is_time:
                return []
            kept_from = read_state(self.conn).kept_from
            for table, chunks in read_chunks(self.conn, TABLES).items():
                gone = [end for _, end in chunks if end <= kept_from[table]]
                try:
                    for end in gone:
                        dropped.append(Dropped(table, self._drop_before(table, end), end))
                        self.pause(f"{table} dropped")
                except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                    continue
            if any(each.table == READINGS_TABLE for each in dropped):
                # No import is undone there any more.
                forget_replaced(self.conn, from_microseconds(kept_from[READINGS_TABLE]))
        return dropped

    def _refuse_and_move(self, now: datetime) -> dict[str, int]:
        try:
            self._refuse(now)
            return self._move(now)
        except psycopg.errors.LockNotAvailable:
            return {}

    def _refuse(self, now: datetime) -> None:
        """Have writers refuse what is too old."""
        if self._refused(now) is None:
            return
        with self.conn.transaction():
            take_lock(self.conn, WRITERS_LOCK, patience="1s")
            refused = self._refused(now)
            if refused is not None:
                self.conn.execute(_REFUSE, {"writable_from": from_microseconds(refused)})
                self.pause("refused")

    def _refused(self, now: datetime) -> int | None:
        """Return the new instant before which writers refuse readings, or None where it stays."""
        state = read_state(self.conn)
        chunks = read_chunks(self.conn, (READINGS_TABLE,))[READINGS_TABLE]
        new = kept_from(chunks, limit_of(self.keep, READINGS_TABLE, now), bound=state.closed_until)
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
            instants = read_state(self.conn).kept_from | moved
            self.conn.execute(_MOVE, {table: from_microseconds(instants[table]) for table in TABLES})
            self.pause("moved")
        return moved

    def _moved(self, now: datetime) -> dict[str, int]:
        """Return by table the new instants of those that may move; they are ends of chunks."""
        state = read_state(self.conn)
        ((mark,),) = self.conn.execute(_EARLIEST_MARK).fetchall()
        bound = state.writable_from
        if mark is not None:
            bound = min(bound, to_microseconds(cast("datetime", mark)))
        moved = {}
        for table, chunks in read_chunks(self.conn, TABLES).items():
            new = kept_from(chunks, limit_of(self.keep, table, now), bound=bound)
            if new is not None and new > state.kept_from[table]:
                moved[table] = new
            # What is summed up must not outlive the sums: a coarser table is whole for at least as long.
            bound = moved.get(table, state.kept_from[table])
        return moved

    def _drop_before(self, table: str, before: int) -> int:
        """Drop chunks in a transaction of their own; readers queue behind one that waits, so not for long.

        A query may hold what this waits for and wait for what this holds: this gives up before the server
        looks for such deadlocks (after a second), or it might be the query that is ended.
        """
        with self.conn.transaction():
            be_patient(self.conn, "200ms")
            ((count,),) = self.conn.execute(
                _DROP, {"table": table, "before": from_microseconds(before)}
            ).fetchall()
        return cast("int", count)


def limit_of(keep: Keep, table: str, now: datetime) -> int | None:
    """Return the instant before which a table's rows are to go, or None where they are kept for ever."""
    age = keep[table]
    return None if age is None else to_microseconds(now - age)


def kept_from(chunks: list[Range], limit: int | None, *, bound: int) -> int | None:
    """Return the whole hour from which on a table is kept, or None where all of it is.

    It is the end of the last chunk that is older than `limit` and ends by `bound` as a whole.
    """
    if limit is None:
        return None
    ends = [end for _, end in chunks if end <= min(limit, bound)]
    return max(ends) // HOUR * HOUR if ends else None


YEAR = 365 * DAY

_ENOUGH_ROWS = 10_000

# The last 24 whole hours that are rolled up; where there are fewer, those. The zone is named, since a server
# of the user's own may have another, with hours and days of its own.
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
    """What becomes of a table: `goes` now, `waits` until it is rolled up; sizes in bytes, rows about."""

    table: str
    keep: timedelta | None
    goes: list[Chunk]
    waits: list[Chunk]
    size: int
    rows_per_day: float
    bytes_per_row: float
    size_in_a_year: int


def plan_retention(conn: Connection, keep: Keep, now: datetime) -> list[TablePlan]:
    """Return what retention would do at `now`, from fine to coarse. Changes nothing.

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
            limit = max(limit_of(keep, table, now) or 0, state.kept_from[table])
            old = [chunk for chunk in chunks if chunk.end <= limit]
            goes = [chunk for chunk in old if chunk.end <= max(bound, state.kept_from[table])]
            bound = max([state.kept_from[table], *(chunk.end for chunk in goes)])
            plans.append(
                _plan(table, keep[table], chunks, goes, old[len(goes) :], rate=rates[table], now=now)
            )
    return plans


def _plan(
    table: str,
    keep: timedelta | None,
    chunks: list[Chunk],
    goes: list[Chunk],
    waits: list[Chunk],
    *,
    rate: float,
    now: datetime,
) -> TablePlan:
    size, rows = sum(chunk.size for chunk in chunks), sum(chunk.rows for chunk in chunks)
    bytes_per_row = size / rows if rows >= _ENOUGH_ROWS else typical_bytes(table)
    age = YEAR if keep is None else min(YEAR, keep // timedelta(microseconds=1))
    next_year = to_microseconds(now) + YEAR
    still_there = [
        chunk for chunk in chunks if keep is None or chunk.end > next_year - keep // timedelta(microseconds=1)
    ]
    return TablePlan(
        table=table,
        keep=keep,
        goes=goes,
        waits=waits,
        size=size,
        rows_per_day=rate,
        bytes_per_row=bytes_per_row,
        size_in_a_year=sum(chunk.size for chunk in still_there) + round(rate * bytes_per_row * age / DAY),
    )


def _rates(conn: Connection) -> dict[str, float]:
    """Return by table how many rows a day come in, by what the last day brought."""
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
