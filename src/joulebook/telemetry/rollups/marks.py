"""Marks: which readings have changed in time that was rolled up already.

A writer asks first until when readings are rolled up (`begin_writing`), which also makes whoever
closes a window wait for the writer's transaction. What it stores at or after that instant needs no
mark; of what it stores before, it leaves marks in the same transaction. So every reader sees a reading
and its mark together.
"""

from __future__ import annotations

from datetime import datetime
from typing import cast

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.connection import Connection
from joulebook.telemetry.readings import HOUR, MINUTE, from_microseconds, to_microseconds

LATE = "JB001"
"""SQLSTATE of `begin_writing_from` where readings at or after its instant are rolled up already."""

# Marks of one series that lie closer than this become one: rolling up a little more of a series costs
# less than a mark for each reading of a file with four an hour.
_NEAR = HOUR

_BEGIN = "SELECT begin_writing()"
_MARK = """
INSERT INTO rollup_dirty (series_id, begins_at, ends_at)
SELECT * FROM unnest(%(series_id)s::int[], %(begins_at)s::timestamptz[], %(ends_at)s::timestamptz[])
"""


def begin_writing(conn: Connection) -> int:
    """Return the instant before which readings are rolled up; it holds until the transaction ends.

    The transaction must not have read or written anything else before.
    """
    ((closed_until,),) = conn.execute(_BEGIN).fetchall()
    return to_microseconds(cast("datetime", closed_until))


def mark_changed(
    conn: Connection, series_id: NDArray[np.int32], time: NDArray[np.int64], *, closed_until: int
) -> None:
    """Mark the minutes of these readings as far as they lie before `closed_until`.

    `series_id` and `time` (microseconds since 1970 UTC) are of equal length, in any order. Belongs in
    the transaction that changes the readings.
    """
    late = time < closed_until
    if not late.any():
        return
    series, begin, end = _ranges(series_id[late], time[late] // MINUTE * MINUTE)
    conn.execute(
        _MARK,
        {
            "series_id": series.tolist(),
            "begins_at": [from_microseconds(each) for each in begin.tolist()],
            "ends_at": [from_microseconds(each) for each in end.tolist()],
        },
    )


def _ranges(
    series_id: NDArray[np.int32], minute: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Return series, begin and end of the ranges that cover these minutes, near ones joined."""
    order = np.lexsort((minute, series_id))
    series_id, minute = series_id[order], minute[order]
    leads = np.ones(len(minute), np.bool_)
    leads[1:] = (series_id[1:] != series_id[:-1]) | (minute[1:] - minute[:-1] > _NEAR)
    trails = np.append(leads[1:], True)
    return series_id[leads], minute[leads], minute[trails] + MINUTE
