"""The ladder of resolutions, and the edges of their buckets in a time zone.

Buckets are aligned to the zone's own clock, never to the start of the requested range: so a curve does
not shimmer when the range moves. A day has 23, 24 or 25 hours where clocks change; buckets up to
an hour are separate in both passes of the doubled hour.

Instants are microseconds since 1970 UTC; edges are sorted, and bucket i is [edges[i], edges[i + 1]).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.clocks import Clock
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds
from joulebook.time_zones import ZoneInfo

Edges = NDArray[np.int64]

_HOUR = 3600
_YEAR_MONTHS = 12
_MONTHS_TO_1970 = 1970 * _YEAR_MONTHS
_DAY = 24 * _HOUR * MICROSECONDS


@dataclass(frozen=True)
class Resolution:
    """One rung: buckets of `seconds` of the clock, or of `days` or `months` of the calendar."""

    name: str
    seconds: int = 0
    days: int = 0
    months: int = 0

    @property
    def about(self) -> timedelta:
        """The shortest usual length of a bucket, to estimate their number in a range."""
        return timedelta(seconds=self.seconds, days=self.days + 28 * self.months)


LADDER = (
    Resolution("1s", seconds=1),
    Resolution("5s", seconds=5),
    Resolution("10s", seconds=10),
    Resolution("15s", seconds=15),
    Resolution("30s", seconds=30),
    Resolution("1m", seconds=60),
    Resolution("5m", seconds=300),
    Resolution("15m", seconds=900),
    Resolution("30m", seconds=1800),
    Resolution("1h", seconds=_HOUR),
    Resolution("3h", seconds=3 * _HOUR),
    Resolution("6h", seconds=6 * _HOUR),
    Resolution("12h", seconds=12 * _HOUR),
    Resolution("1d", days=1),
    Resolution("1w", days=7),
    Resolution("1mo", months=1),
    Resolution("3mo", months=3),
    Resolution("1y", months=_YEAR_MONTHS),
    Resolution("10y", months=10 * _YEAR_MONTHS),
    Resolution("100y", months=100 * _YEAR_MONTHS),
)
"""From fine to coarse, without the finest, `raw`: that one depends on the readings."""

RAW = "raw"


def choose_resolution(
    start: datetime, end: datetime, zone: ZoneInfo, *, max_points: int, finest: int = 0
) -> tuple[Resolution, Edges]:
    """Return the finest resolution with at most `max_points` buckets over [start, end), and its edges.

    Its buckets have at least `finest` seconds.
    """
    for resolution in LADDER[:-1]:
        if 0 < resolution.seconds < finest:
            continue
        # A doubled hour makes a range of local days up to an hour longer than its buckets' sum.
        if (end - start - timedelta(hours=1)) / resolution.about > max_points + 1 and not resolution.months:
            continue
        if resolution.months and (end - start) / (resolution.about * 1.12) > max_points + 1:
            continue
        edges = bucket_edges(start, end, resolution, zone)
        if len(edges) - 1 <= max_points:
            return resolution, edges
    return LADDER[-1], bucket_edges(start, end, LADDER[-1], zone)


def bucket_edges(start: datetime, end: datetime, resolution: Resolution, zone: ZoneInfo) -> Edges:
    """Return the edges of all buckets touching [start, end): the first <= start, the last >= end."""
    first, last = to_microseconds(start), to_microseconds(end)
    # A bucket touching the range may begin or end with a clock change outside of the range.
    around = first - _HOUR * MICROSECONDS, last + _HOUR * MICROSECONDS
    local = _boundaries(*Clock.over(zone, *around).shown(*around), resolution)
    # No clock is a whole day ahead of UTC, or behind it.
    clock = Clock.over(zone, int(local[0]) - _DAY, int(local[-1]) + _DAY)
    edges = clock.instants(local, fold=0)
    if 0 < resolution.seconds <= _HOUR:
        # After the clock is put back, local times repeat.
        again = clock.instants(local, fold=1)
        edges = np.concatenate([edges, again[again > edges]])
    edges = np.unique(edges)
    begin = int(np.searchsorted(edges, first, side="right")) - 1
    stop = int(np.searchsorted(edges, last, side="left"))
    return edges[begin : stop + 1]


def _boundaries(first: int, last: int, resolution: Resolution) -> Edges:
    """Return the boundaries by the local clock from one before `first` to one after `last`."""
    if resolution.months:
        in_months = np.array([first, last]).astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
        # Counted from the year 0, so that a bucket of 100 years begins in 1900 and 2000.
        begin, end = (in_months + _MONTHS_TO_1970) // resolution.months + (-1, 2)
        months = np.arange(begin, end) * resolution.months - _MONTHS_TO_1970
        return months.astype("datetime64[M]").astype("datetime64[us]").astype(np.int64)
    step = resolution.seconds * MICROSECONDS + resolution.days * _DAY
    # Weeks begin on Mondays, and 1970 on a Thursday; all others begin when a day does.
    monday = 4 * _DAY if resolution.days == 7 else 0
    return np.arange((first - monday) // step - 1, (last - monday) // step + 2) * step + monday
