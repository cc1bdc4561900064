"""The progress of the rollups, and marks to rebuild some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from joulebook.telemetry.connection import Connection, one_snapshot, translated_errors
from joulebook.telemetry.readings import HOUR, MICROSECONDS, from_microseconds, to_microseconds
from joulebook.telemetry.rollups.marks import begin_writing
from joulebook.telemetry.rollups.state import READINGS_TABLE, TABLES, read_state
from joulebook.telemetry.timescale import Range, read_chunk_sizes, read_chunks

_MARKS = """
SELECT count(*), count(DISTINCT series_id), min(begins_at), max(ends_at),
       coalesce(sum(extract(epoch FROM ends_at - begins_at)), 0)::float8
FROM rollup_dirty WHERE series_id IS NOT NULL
"""
_MARK_COUNT = "SELECT count(*) FROM rollup_dirty WHERE series_id IS NOT NULL"
_MARKS_OF_ALL = "SELECT begins_at, ends_at FROM rollup_dirty WHERE series_id IS NULL ORDER BY begins_at"
_MARK_ALL = "INSERT INTO rollup_dirty (begins_at, ends_at) VALUES (%(begin)s, %(end)s)"


@dataclass(frozen=True)
class TableStatus:
    """A table: about its number of rows, its bytes with indexes, and the beginning of its retained time."""

    table: str
    rows: int
    size: int
    retained_from: int


@dataclass(frozen=True)
class RollupsStatus:
    """The progress of the rollups, in microseconds since 1970 UTC.

    `marks` counts those of single series, `marked_series` their series, and `marked` is their range.
    `to_roll` are the ranges of `rolled_from` to `closed_until` waiting to be rolled up for all series.
    """

    closed_until: int
    rolled_from: int
    marks: int
    marked_series: int
    marked: Range | None
    marked_seconds: float
    to_roll: list[Range]
    tables: list[TableStatus]

    @property
    def rolled_share(self) -> float:
        """The share of closed time, 0 to 1, already rolled up for all series."""
        whole = self.closed_until - self.rolled_from
        return 1.0 if whole <= 0 else max(0.0, 1 - union_length(self.to_roll) / whole)


@dataclass(frozen=True)
class RollupProgress:
    """The distance of the rollups from the present.

    `rolled_until` is in microseconds since 1970 UTC: time before it is closed and rolled up, except for older
    stretches waiting to be rolled up again. `waiting` is the length of these stretches and of the closed time
    after `rolled_until`, in microseconds. `marks` counts the marks of single series, made for late or changed
    readings.
    """

    rolled_until: int
    waiting: int
    marks: int

    def lag(self, width: int, *, now: int) -> int:
        """Return the microseconds since the end of the first missing bucket of `width` seconds."""
        width *= MICROSECONDS
        return max(0, now - (self.rolled_until // width + 1) * width)


def read_rollup_progress(conn: Connection) -> RollupProgress:
    """Return the distance of the rollups from the present; cheap. Raises `DatabaseUnavailable`."""
    with translated_errors(), one_snapshot(conn):
        closed_until = rolled_until = read_state(conn).closed_until
        ((marks,),) = conn.execute(_MARK_COUNT).fetchall()
        to_roll = _marked_for_all(conn)
    # The newest time is rolled up first: only ranges reaching the present delay `rolled_until`.
    for begin, end in sorted(to_roll, key=lambda each: each[1], reverse=True):
        if end < rolled_until:
            break
        rolled_until = min(rolled_until, begin)
    waiting = union_length([(begin, min(end, closed_until)) for begin, end in to_roll])
    return RollupProgress(rolled_until, waiting, cast("int", marks))


def read_rollups_status(conn: Connection) -> RollupsStatus:
    """Return the progress of the rollups. `conn` is in autocommit. Raises `DatabaseUnavailable`."""
    with translated_errors(), one_snapshot(conn):
        state = read_state(conn)
        ((marks, series, begins_at, ends_at, seconds),) = conn.execute(_MARKS).fetchall()
        to_roll = _marked_for_all(conn)
        chunks = read_chunks(conn, (READINGS_TABLE,))[READINGS_TABLE]
        tables = []
        for table in TABLES:
            sizes = read_chunk_sizes(conn, table)
            rows, size = sum(chunk.rows for chunk in sizes), sum(chunk.size for chunk in sizes)
            tables.append(TableStatus(table, rows, size, state.retained_from[table]))
    starts = [chunks[0][0]] if chunks else []
    starts += [to_roll[0][0]] if to_roll else []
    return RollupsStatus(
        closed_until=state.closed_until,
        rolled_from=max(min(starts, default=state.closed_until), state.retained_from[READINGS_TABLE]),
        marks=cast("int", marks),
        marked_series=cast("int", series),
        marked=None
        if begins_at is None
        else (to_microseconds(cast("datetime", begins_at)), to_microseconds(cast("datetime", ends_at))),
        marked_seconds=cast("float", seconds),
        to_roll=to_roll,
        tables=tables,
    )


def mark_for_rebuild(conn: Connection, start: int, end: int) -> Range | None:
    """Mark the hours of [start, end) for all series; return their range, or None if there are none.

    Only closed time with retained readings is marked; the worker rolls it up. Until then answers are made
    from the readings themselves. `conn` is the writer's, in autocommit. Raises `DatabaseUnavailable`.
    """
    with translated_errors(), conn.transaction():
        closed_until = begin_writing(conn)
        retained_from = read_state(conn).retained_from[READINGS_TABLE]
        chunks = read_chunks(conn, TABLES)
        starts = [ranges[0][0] for ranges in chunks.values() if ranges]
        begin = max(start, retained_from, min(starts, default=closed_until)) // HOUR * HOUR
        until = min(-(-end // HOUR) * HOUR, closed_until)
        if begin >= until:
            return None
        conn.execute(_MARK_ALL, {"begin": from_microseconds(begin), "end": from_microseconds(until)})
        return begin, until


def time_to_roll(conn: Connection, start: int, end: int) -> int:
    """Return the microseconds of [start, end) waiting to be rolled up for all series."""
    with translated_errors():
        waiting = _marked_for_all(conn)
    return union_length([(max(start, begin), min(end, until)) for begin, until in waiting])


def union_length(ranges: Sequence[Range]) -> int:
    """Return the length of the union of ranges; ranges ending before their begin count nothing."""
    total = 0
    reached = None
    for begin, end in sorted(ranges):
        begin = begin if reached is None else max(begin, reached)
        if begin < end:
            total += end - begin
            reached = end
    return total


def _marked_for_all(conn: Connection) -> list[Range]:
    rows = cast("list[tuple[datetime, datetime]]", conn.execute(_MARKS_OF_ALL).fetchall())
    return [(to_microseconds(begin), to_microseconds(end)) for begin, end in rows]
