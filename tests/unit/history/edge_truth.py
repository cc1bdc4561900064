"""The edges of buckets found one by one with Python's own datetimes: slow, and easy to believe."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from joulebook.telemetry.history.resolutions import Resolution
from joulebook.telemetry.readings import to_microseconds


def edges_one_by_one(start: datetime, end: datetime, resolution: Resolution, zone: ZoneInfo) -> list[int]:
    """Return the edges of all buckets that [start, end) touches."""
    edges = sorted(set(_edges(start, end, resolution, zone)))
    first, last = to_microseconds(start), to_microseconds(end)
    begin = max(number for number, edge in enumerate(edges) if edge <= first)
    stop = min(number for number, edge in enumerate(edges) if edge >= last)
    return edges[begin : stop + 1]


def _edges(start: datetime, end: datetime, resolution: Resolution, zone: ZoneInfo) -> Iterator[int]:
    # Far enough that neither a doubled hour nor a day that was left out hides a boundary.
    margin = timedelta(hours=3) if 0 < resolution.seconds <= 3600 else timedelta(days=2)
    local = _step(_floor((start - margin).astimezone(zone).replace(tzinfo=None), resolution), resolution, -1)
    beyond = _step((end + margin).astimezone(zone).replace(tzinfo=None), resolution, 1)
    while local <= beyond:
        passes = [local.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
        yield to_microseconds(passes[0].astimezone(UTC))
        if 0 < resolution.seconds <= 3600 and passes[0].utcoffset() > passes[1].utcoffset():
            yield to_microseconds(passes[1].astimezone(UTC))
        local = _step(local, resolution, 1)


def _floor(local: datetime, resolution: Resolution) -> datetime:
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if resolution.months:
        number = 12 * local.year + local.month - 1
        return _month(number - number % resolution.months)
    if resolution.days == 7:
        return midnight - timedelta(days=local.weekday())
    if resolution.days:
        return midnight
    return midnight + (local - midnight) // resolution.about * resolution.about


def _step(local: datetime, resolution: Resolution, steps: int) -> datetime:
    if resolution.months:
        return _month(12 * local.year + local.month - 1 + steps * resolution.months)
    return local + steps * resolution.about


def _month(number: int) -> datetime:
    return datetime(number // 12, number % 12 + 1, 1)
