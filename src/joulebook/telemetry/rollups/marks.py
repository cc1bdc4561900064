"""Marks: changes of readings in already rolled-up time.

A writer first reads the end of rolled-up time (`begin_writing`); this also makes the closing of the next
window wait for the writer's transaction. Readings stored at or after that instant need no mark; earlier ones
are marked in the same transaction. So every reader sees a reading and its mark together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import cast

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.connection import Connection
from joulebook.telemetry.readings import HOUR, MINUTE, from_microseconds, to_microseconds
from joulebook.telemetry.timescale import Range

LATE = "JB001"
"""SQLSTATE of `begin_writing_from` if readings at or after its instant are rolled up already."""

# Marks of one series closer than this become one: rolling up a little more of a series costs less than a
# mark for each reading of a file with four an hour.
_NEAR = HOUR

_BEGIN = "SELECT begin_writing()"
_MARK = """
INSERT INTO rollup_dirty (series_id, begins_at, ends_at)
SELECT * FROM unnest(%(series_id)s::int[], %(begins_at)s::timestamptz[], %(ends_at)s::timestamptz[])
"""
_MARKED = """
SELECT series_id, begins_at, ends_at FROM rollup_dirty
WHERE (series_id = ANY(%(series)s) OR series_id IS NULL) AND ends_at > %(start)s AND begins_at < %(end)s
"""


def begin_writing(conn: Connection) -> int:
    """Return the end of rolled-up time; it stays until the transaction ends.

    The transaction must not have read or written anything else before.
    """
    ((closed_until,),) = conn.execute(_BEGIN).fetchall()
    return to_microseconds(cast("datetime", closed_until))


def mark_changed(
    conn: Connection, series_id: NDArray[np.int32], time: NDArray[np.int64], *, closed_until: int
) -> None:
    """Mark the minutes of those of the readings before `closed_until`.

    `series_id` and `time` (microseconds since 1970 UTC) are of equal length, in any order. Belongs in
    the transaction with the change of the readings.
    """
    late = time < closed_until
    if not late.any():
        return
    series_id, minute = series_id[late], time[late] // MINUTE * MINUTE
    order = np.lexsort((minute, series_id))
    series_id, minute = series_id[order], minute[order]
    leads = np.ones(len(minute), np.bool_)
    leads[1:] = (series_id[1:] != series_id[:-1]) | (minute[1:] - minute[:-1] > _NEAR)
    trails = np.append(leads[1:], True)
    begin, end = minute[leads], minute[trails] + MINUTE
    conn.execute(
        _MARK,
        {
            "series_id": series_id[leads].tolist(),
            "begins_at": [from_microseconds(each) for each in begin.tolist()],
            "ends_at": [from_microseconds(each) for each in end.tolist()],
        },
    )


def read_marks(
    conn: Connection, series: Sequence[int], start: int, end: int
) -> defaultdict[int | None, list[Range]]:
    """Return the marked ranges of these series touching [start, end), by series; None is all series."""
    limits = {"series": list(series), "start": from_microseconds(start), "end": from_microseconds(end)}
    marked: defaultdict[int | None, list[Range]] = defaultdict(list)
    for series_id, begins_at, ends_at in cast(
        "list[tuple[int | None, datetime, datetime]]", conn.execute(_MARKED, limits).fetchall()
    ):
        marked[series_id].append((to_microseconds(begins_at), to_microseconds(ends_at)))
    return marked
