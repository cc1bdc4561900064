"""Shows what retention would drop, and what disk space today's rate will need in a year."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString, cast

from joulebook.telemetry.chunks import Chunk, read_chunk_sizes, typical_bytes
from joulebook.telemetry.connection import Connection, one_snapshot, translated_errors
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.retention import HOUR, Keep, limit_of
from joulebook.telemetry.rollups.state import READINGS_TABLE, TABLES, read_state

DAY = 24 * HOUR
YEAR = 365 * DAY

_ENOUGH_ROWS = 10_000

_EARLIEST_MARK = "SELECT min(begins_at) FROM rollup_dirty"
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
    """Return what retention would do at `now`, from fine to coarse. Changes nothing. Raises `DatabaseAway`.

    `conn` is in autocommit and may read.
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
