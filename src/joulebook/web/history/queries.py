"""Reads a device's readings in a range as points. The caller has decided that it may be read.

Every statement here runs with the reader's role. Times in columns are microseconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from django.db import connections
from numpy.typing import NDArray

from joulebook.telemetry.readings import from_microseconds, to_microseconds
from joulebook.web.history.resolutions import RAW, choose_resolution, finest_step
from joulebook.web.history.sources import READINGS, choose_source

Numbers = NDArray[np.float64]

_SERIES = "SELECT metric, id FROM series WHERE device_id = %(device_id)s ORDER BY metric"
_EARLIEST = """
SELECT min(first.time) FROM unnest(%(series)s::int[]) AS asked (id)
CROSS JOIN LATERAL (
    SELECT time FROM readings WHERE series_id = asked.id ORDER BY time LIMIT 1
) AS first
"""
# One series with more readings than points settles it, at the cost of reading that many and one.
_MORE_THAN = """
SELECT EXISTS (
    SELECT FROM unnest(%(series)s::int[]) AS asked (id)
    CROSS JOIN LATERAL (
        SELECT FROM readings
        WHERE series_id = asked.id AND time >= %(start)s AND time < %(end)s
        OFFSET %(points)s LIMIT 1
    ) AS one_more
)
"""
# Metrics that report at instants of their own make an axis longer than any of them.
_INSTANTS = """
SELECT count(DISTINCT time) FROM readings
WHERE series_id = ANY(%(series)s) AND time >= %(start)s AND time < %(end)s
"""
_RAW = """
SELECT series_id, time, value FROM readings
WHERE series_id = ANY(%(series)s) AND time >= %(start)s AND time < %(end)s
"""
_BUCKETS = """
SELECT series_id, width_bucket(bucket, %(edges)s::timestamptz[]) - 1 AS number,
       sum(count)::bigint, sum(sum), min(min), max(max)
FROM ({partials}) AS partial
GROUP BY series_id, number
"""


@dataclass(frozen=True)
class Column:
    """One metric's values along the shared time axis.

    Buckets: `mean`, `min` and `max` (NaN where a bucket is empty) and `count`. Raw: `value` (NaN where
    this metric has no reading at that instant).
    """

    metric: str
    mean: Numbers = field(default_factory=lambda: np.empty(0))
    min: Numbers = field(default_factory=lambda: np.empty(0))
    max: Numbers = field(default_factory=lambda: np.empty(0))
    count: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    value: Numbers = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class Points:
    """A range of readings as points: `time` is each bucket's start, or each reading's instant."""

    resolution: str
    source: str
    time: NDArray[np.int64]
    columns: list[Column]


def series_of(device_id: str) -> dict[str, int]:
    """Return the ids of a device's series by metric, in the metrics' order."""
    return dict(_rows(_SERIES, {"device_id": device_id}))


def earliest_time(series: Sequence[int]) -> datetime | None:
    """Return the instant of the oldest reading of any of the series, or None without readings."""
    found: datetime | None = _rows(_EARLIEST, {"series": list(series)})[0][0]
    return found


def read_points(
    series: dict[str, int], start: datetime, end: datetime, zone: ZoneInfo, *, max_points: int
) -> Points:
    """Return the readings of [start, end) in at most `max_points` points.

    Raw readings where they are few enough, else the finest rung of the ladder that fits.
    """
    window = {"series": list(series.values()), "start": start, "end": end}
    if _rows(_MORE_THAN, {**window, "points": max_points})[0][0] or (
        len(series) > 1 and _rows(_INSTANTS, window)[0][0] > max_points
    ):
        return _read_buckets(series, window, zone, max_points=max_points)
    return _read_raw(series, window)


def _read_raw(series: dict[str, int], window: dict[str, Any]) -> Points:
    rows = _rows(_RAW, window)
    number = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    instant = np.fromiter((to_microseconds(row[1]) for row in rows), np.int64, len(rows))
    value = np.fromiter((row[2] for row in rows), np.float64, len(rows))
    time, place = np.unique(instant, return_inverse=True)
    columns = []
    for metric, series_id in series.items():
        mine = number == series_id
        along = np.full(len(time), np.nan)
        along[place[mine]] = value[mine]
        columns.append(Column(metric=metric, value=along))
    return Points(resolution=RAW, source=READINGS.name, time=time, columns=columns)


def _read_buckets(
    series: dict[str, int], window: dict[str, Any], zone: ZoneInfo, *, max_points: int
) -> Points:
    resolution, edges = choose_resolution(window["start"], window["end"], zone, max_points=max_points)
    step = finest_step(edges)
    source = choose_source(step)
    limits = {**window, "step": step, "edges": [from_microseconds(edge) for edge in edges.tolist()]}
    rows = _rows(_BUCKETS.format(partials=source.partials), limits)
    table = np.array(rows, np.float64).reshape(len(rows), 6)
    columns = [
        _bucket_column(metric, table[table[:, 0] == series_id], length=len(edges) - 1)
        for metric, series_id in series.items()
    ]
    return Points(resolution=resolution.name, source=source.name, time=edges[:-1], columns=columns)


def _bucket_column(metric: str, rows: Numbers, *, length: int) -> Column:
    """Spread the rows (series, bucket, count, sum, min, max) of one series along `length` buckets."""
    place = rows[:, 1].astype(np.intp)
    count = np.zeros(length, np.int64)
    count[place] = rows[:, 2].astype(np.int64)
    mean, low, high = (np.full(length, np.nan) for _ in range(3))
    mean[place] = rows[:, 3] / rows[:, 2]
    low[place] = rows[:, 4]
    high[place] = rows[:, 5]
    return Column(metric=metric, mean=mean, min=low, max=high, count=count)


def _rows(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connections["telemetry"].cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())
