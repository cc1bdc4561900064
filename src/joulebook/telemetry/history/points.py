"""Reads a device's readings in a range as points: raw readings if they are few, else buckets.

The caller must check the user's access to the device. Times in columns are microseconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.connection import Connection, one_snapshot
from joulebook.telemetry.history.buckets import BucketReader, Window
from joulebook.telemetry.history.by_kind import figures_of, least_numbers, read_columns
from joulebook.telemetry.history.columns import Column, Wanted, check_numbers
from joulebook.telemetry.history.resolutions import RAW, choose_resolution
from joulebook.telemetry.readings import EPOCH, to_microseconds
from joulebook.telemetry.rollups.state import RollupState, finest_width, read_state
from joulebook.telemetry.rollups.tables import Spans, read_readings
from joulebook.time_zones import ZoneInfo

ALL = "all"
"""Name of the range from the first reading until now."""
RANGES: Mapping[str, timedelta] = {
    "10m": timedelta(minutes=10),
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
    "1y": timedelta(days=365),
}
"""Ranges of a fixed length by name, each ending now."""

# Rollups are retained longer than readings, so the oldest reading may be known only from its rollup.
_EARLIEST = """
SELECT min(first.time) FROM unnest(%(series)s::int[]) AS asked (id)
CROSS JOIN LATERAL (
    (SELECT time FROM readings WHERE series_id = asked.id AND value <> 'NaN' ORDER BY time LIMIT 1)
    UNION ALL
    (SELECT first_at FROM readings_1h WHERE series_id = asked.id ORDER BY bucket LIMIT 1)
) AS first
"""
# Whether any one of the series has more readings than `points`; of each series at most one reading more than
# that is read. PostgreSQL plans a year's statement for all of its chunks, so the end of a long range is
# checked first.
_END_OF_RANGE = timedelta(days=7)
_MORE_THAN = """
SELECT EXISTS (
    SELECT FROM unnest(%(series)s::int[]) AS asked (id)
    CROSS JOIN LATERAL (
        SELECT FROM readings
        WHERE series_id = asked.id AND time >= %(start)s AND time < %(end)s AND value <> 'NaN'
        OFFSET %(points)s LIMIT 1
    ) AS one_more
)
"""
# If metrics have different instants, their shared time axis is longer than the readings of any one of them.
_INSTANTS = """
SELECT count(DISTINCT time) FROM readings
WHERE series_id = ANY(%(series)s) AND time >= %(start)s AND time < %(end)s AND value <> 'NaN'
"""


@dataclass(frozen=True)
class Points:
    """A range of readings as points: `time` is each bucket's start, or each reading's instant."""

    resolution: str
    source: str
    time: NDArray[np.int64]
    columns: list[Column]


def earliest_time(conn: Connection, series: Sequence[int]) -> datetime | None:
    """Return the instant of the oldest reading of the series, if only rolled up, too; None without one."""
    found: datetime | None = _rows(conn, _EARLIEST, {"series": list(series)})[0][0]
    return found


def read_points(
    conn: Connection,
    wanted: list[Wanted],
    start: datetime,
    end: datetime,
    zone: ZoneInfo,
    *,
    max_points: int,
    silence: timedelta | None = None,
) -> Points:
    """Return the readings of [start, end) in at most `max_points` points, in the wanted units.

    The points are raw readings if there are few enough, else buckets of the finest resolution that fits. If
    the readings at the range's start are past retention, the points are buckets, no finer than the rollups
    still retained there, and the range is extended to whole buckets at both ends. `silence` is the device's
    silence limit, None if its owner has set none. Everything is read in one snapshot. Raises
    `ChangesTooOften` and `TooManyNumbers`.
    """
    series = [each.series_id for each in wanted]
    with one_snapshot(conn):
        state = read_state(conn)
        finest = finest_width(state, to_microseconds(start))
        if finest:
            step = timedelta(seconds=finest)
            start, end = start - (start - EPOCH) % step, end + (EPOCH - end) % step
        if finest or _has_more_readings(conn, series, start, end, points=max_points):
            resolution, edges = choose_resolution(start, end, zone, max_points=max_points, finest=finest)
            numbers = least_numbers(wanted) * (len(edges) - 1)
            check_numbers(numbers, metrics=len(wanted), points=len(edges) - 1)
            window = Window(to_microseconds(start), to_microseconds(end), edges, silence)
            reader = BucketReader(conn, window, state)
            columns = read_columns(reader, wanted)
            points = Points(resolution.name, reader.source, edges[:-1], columns)
        else:
            points = _read_raw(conn, wanted, (to_microseconds(start), to_microseconds(end)), silence, state)
    return replace(points, columns=[column.scaled() for column in points.columns])


def _has_more_readings(
    conn: Connection, series: list[int], start: datetime, end: datetime, *, points: int
) -> bool:
    """Return whether the series together have readings at more than `points` instants."""
    limits = {"series": series, "start": start, "end": end, "points": points}
    end_only = {**limits, "start": end - min(_END_OF_RANGE, end - start)}
    if _rows(conn, _MORE_THAN, end_only)[0][0]:
        return True
    if end - start > _END_OF_RANGE and _rows(conn, _MORE_THAN, limits)[0][0]:
        return True
    return bool(len(series) > 1 and _rows(conn, _INSTANTS, limits)[0][0] > points)


def _read_raw(
    conn: Connection,
    wanted: list[Wanted],
    window: tuple[int, int],
    silence: timedelta | None,
    state: RollupState,
) -> Points:
    """Return the readings themselves; a counter also has its rise since the reading before each."""
    spans = Spans.of((each.series_id, *window) for each in wanted)
    found = list(read_readings(conn, spans))
    series_id = np.concatenate([np.empty(0, np.int32), *(part.series_id for part in found)])
    instant = np.concatenate([np.empty(0, np.int64), *(part.time for part in found)])
    value = np.concatenate([np.empty(0), *(part.value for part in found)])
    time, index = np.unique(instant, return_inverse=True)
    check_numbers(len(wanted) * len(time), metrics=len(wanted), points=len(time))
    # Each bucket lasts from one instant to the next.
    reader = BucketReader(conn, Window(*window, np.append(time, window[1]), silence), state)
    columns = []
    for each in wanted:
        is_of_series = series_id == each.series_id
        on_axis = np.full(len(time), np.nan)
        on_axis[index[is_of_series]] = value[is_of_series]
        column = Column(each, value=on_axis)
        if len(time):
            column = figures_of(each.settings.kind).with_raw_figures(reader, column)
        columns.append(column)
    return Points(resolution=RAW, source="readings", time=time, columns=columns)


def _rows(conn: Connection, statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    return list(conn.execute(statement, parameters).fetchall())
