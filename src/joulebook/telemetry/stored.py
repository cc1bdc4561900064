"""Finds which readings of a batch are stored already, without trying to write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import Connection, translated_errors
from joulebook.telemetry.copy_format import times_from
from joulebook.telemetry.readings import from_microseconds

# One row a series with its times and values as packed big-endian numbers: no object is made per reading.
_FIND = """
SELECT series_id,
       string_agg(timestamptz_send(time), ''::bytea),
       string_agg(float8send(value), ''::bytea)
FROM (
    SELECT series_id, time, value FROM readings
    WHERE series_id = ANY(%(series)s) AND time >= %(oldest)s AND time <= %(newest)s
    LIMIT %(limit)s
) AS stored
GROUP BY series_id
"""


@dataclass(frozen=True)
class Stored:
    """For each row of a batch whether its key is stored, and the value stored there (NaN where not)."""

    is_present: NDArray[np.bool_]
    value: NDArray[np.float64]


def find_stored(conn: Connection, batch: Batch, *, most_rows: int) -> Stored | None:
    """Return what is stored under the keys of a batch, or None where looking is not worth it.

    Reads what the batch's series hold between its first and its last time; if that is `most_rows` or
    more, it gives up. Suits a batch that covers its range, such as a file that was imported before.
    Raises `DatabaseAway`.
    """
    present = np.zeros(len(batch), np.bool_)
    value = np.full(len(batch), np.nan)
    if not len(batch):
        return Stored(present, value)
    limits = {
        "series": np.unique(batch.series_id).tolist(),
        "oldest": from_microseconds(int(batch.time.min())),
        "newest": from_microseconds(int(batch.time.max())),
        "limit": most_rows,
    }
    with translated_errors(), conn.cursor(binary=True) as cursor:
        # Never a generic plan: the range's constants are what excludes chunks.
        found = cursor.execute(_FIND, limits, prepare=False).fetchall()
    if sum(len(cast("bytes", times)) for _, times, _ in found) >= most_rows * 8:
        return None
    for series_id, times, values in found:
        rows = np.flatnonzero(batch.series_id == series_id)
        time = times_from(cast("bytes", times))
        order = np.argsort(time)
        at = np.minimum(np.searchsorted(time, batch.time[rows], sorter=order), len(time) - 1)
        hit = order[at]
        is_there = time[hit] == batch.time[rows]
        present[rows] = is_there
        value[rows[is_there]] = np.frombuffer(cast("bytes", values), ">f8")[hit[is_there]]
    return Stored(present, value)
