"""The ladder of resolutions, and where their buckets begin and end in a time zone.

Buckets are aligned to the zone's own clock, never to the start of the asked range, so that a curve
does not shimmer when the range moves. A day has 23, 24 or 25 hours where clocks change; buckets up to
an hour keep both passes of the doubled hour apart.

Instants are microseconds since 1970 UTC; edges are sorted, and bucket i is [edges[i], edges[i + 1]).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.readings import MICROSECONDS, to_microseconds

Edges = NDArray[np.int64]

_HOUR = 3600
_DAY = 24 * _HOUR
_YEAR_MONTHS = 12


@dataclass(frozen=True)
class Resolution:
    """One rung: buckets of `seconds` of the clock, or of `days` or `months` of the calendar."""

    name: str
    seconds: int = 0
    days: int = 0
    months: int = 0

    @property
    def about(self) -> timedelta:
        """The shortest time that a usual bucket lasts, to estimate how many a range needs."""
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
"""From fine to coarse, without `raw`, which stands before them and needs to know the readings."""

RAW = "raw"


def choose_resolution(
    start: datetime, end: datetime, zone: ZoneInfo, *, max_points: int, finest: int = 0
) -> tuple[Resolution, Edges]:
    """Return the finest rung that covers [start, end) with at most `max_points` buckets, and its edges.

    No rung of fewer seconds than `finest` is taken.
    """
    for resolution in LADDER[:-1]:
        if 0 < resolution.seconds < finest:
            continue
        # The doubled hour makes a range of local days up to an hour longer than its buckets say.
        if (end - start - timedelta(hours=1)) / resolution.about > max_points + 1 and not resolution.months:
            continue
        if resolution.months and (end - start) / (resolution.about * 1.12) > max_points + 1:
            continue
        edges = bucket_edges(start, end, resolution, zone)
        if len(edges) - 1 <= max_points:
            return resolution, edges
    return LADDER[-1], bucket_edges(start, end, LADDER[-1], zone)


def bucket_edges(start: datetime, end: datetime, resolution: Resolution, zone: ZoneInfo) -> Edges:
    """Return the edges of all buckets that [start, end) touches: the first <= start, the last >= end."""
    first, last = to_microseconds(start), to_microseconds(end)
    step = resolution.seconds * MICROSECONDS
    if step and resolution.seconds <= _HOUR and _aligned_with_utc(start, end, resolution.seconds, zone):
        return np.arange(first // step * step, -(-last // step) * step + 1, step, dtype=np.int64)
    edges = np.unique(np.fromiter(_local_edges(start, end, resolution, zone), np.int64))
    begin = int(np.searchsorted(edges, first, side="right")) - 1
    stop = int(np.searchsorted(edges, last, side="left"))
    return edges[begin : stop + 1]


def _aligned_with_utc(start: datetime, end: datetime, seconds: int, zone: ZoneInfo) -> bool:
    """Tell whether the zone's clock and UTC agree on every boundary of such buckets in the range."""
    moment = start
    while True:
        offset = moment.astimezone(zone).utcoffset() or timedelta()
        if offset % timedelta(seconds=seconds):
            return False
        if moment >= end:
            return True
        moment = min(moment + timedelta(days=1), end)


def _local_edges(start: datetime, end: datetime, resolution: Resolution, zone: ZoneInfo) -> Iterator[int]:
    """Yield the boundaries by the local clock from before `start` to after `end`, perhaps some twice."""
    both_passes = 0 < resolution.seconds <= _HOUR
    local = _floor(start.astimezone(zone).replace(tzinfo=None, fold=0), resolution)
    local = _step(local, resolution, -1)
    beyond = end.astimezone(zone).replace(tzinfo=None)
    # Clocks have been moved by up to a day (across the date line), so one bucket more may not reach.
    beyond = _step(beyond, resolution, 1) + timedelta(days=1)
    while local <= beyond:
        yield _instant(local, zone, fold=0)
        if both_passes:
            yield from _second_pass(local, zone)
        local = _step(local, resolution, 1)


def _instant(local: datetime, zone: ZoneInfo, *, fold: int) -> int:
    return to_microseconds(local.replace(tzinfo=zone, fold=fold).astimezone(UTC))


def _second_pass(local: datetime, zone: ZoneInfo) -> Iterator[int]:
    """Yield the later instant at which a doubled local time comes round again."""
    first = local.replace(tzinfo=zone, fold=0).utcoffset() or timedelta()
    second = local.replace(tzinfo=zone, fold=1).utcoffset() or timedelta()
    if first > second:
        yield _instant(local, zone, fold=1)


def _floor(local: datetime, resolution: Resolution) -> datetime:
    """Return the last boundary at or before a local time; weeks begin on Mondays."""
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    if resolution.seconds:
        into = (local - midnight) // timedelta(seconds=resolution.seconds)
        return midnight + into * timedelta(seconds=resolution.seconds)
    if resolution.days == 7:
        return midnight - timedelta(days=midnight.weekday())
    if resolution.days:
        return midnight
    months = midnight.year * 12 + midnight.month - 1
    return _month(months // resolution.months * resolution.months)


def _step(local: datetime, resolution: Resolution, steps: int) -> datetime:
    """Return a local time moved by whole buckets."""
    if resolution.months:
        return _month(local.year * 12 + local.month - 1 + steps * resolution.months)
    return local + steps * timedelta(seconds=resolution.seconds, days=resolution.days)


def _month(number: int) -> datetime:
    """Return the first of the month that is `number` months after the year 0, as naive local time."""
    return datetime(number // 12, number % 12 + 1, 1)  # noqa: DTZ001 - a wall clock's time, placed later
