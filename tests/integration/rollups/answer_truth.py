"""What an answer must say, told from the raw readings one at a time: an independent computation."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

from ...slow_register import Slow
from .rollup_truth import known_gaps

SECOND = 1_000_000

Reading = tuple[int, float]


@dataclass
class Bucket:
    """One bucket of an answer."""

    count: int
    mean: float
    min: float
    max: float
    increase: float
    unallocated: float
    resets: int
    covered: float
    on: float


@lru_cache(maxsize=1_000_000)
def bucket_of(instant: int, seconds: int, zone: ZoneInfo) -> int:
    """Return the start of the bucket of `seconds` of the local clock that holds an instant.

    Days (86,400) begin at local midnight; shorter ones are counted from it by the clock, and both
    passes of a doubled hour have buckets of their own up to an hour. With 0 each reading has its own.
    """
    if not seconds:
        return instant
    moment = datetime.fromtimestamp(instant // SECOND, UTC)
    if seconds <= 3600:
        offset = moment.astimezone(zone).utcoffset() or timedelta()
        shift = int(offset.total_seconds()) * SECOND
        return (instant + shift) // (seconds * SECOND) * (seconds * SECOND) - shift
    local = moment.astimezone(zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    into = (local.replace(tzinfo=None, fold=0) - midnight) // timedelta(seconds=seconds)
    begin = midnight + into * timedelta(seconds=seconds)
    return int(begin.replace(tzinfo=zone, fold=0).timestamp()) * SECOND


def pieces(start: int, end: int, seconds: int) -> Iterator[tuple[int, int]]:
    """Cut [start, end) where buckets of `seconds` can begin: at whole minutes in any zone, or more often."""
    step = min(seconds, 60) * SECOND
    while start < end:
        until = min(start // step * step + step, end)
        yield start, until
        start = until


def told(
    readings: list[Reading], start: int, end: int, *, seconds: int, zone: ZoneInfo, limit: int | None
) -> dict[int, Bucket]:
    """Return every bucket of [start, end) that something is told of, from all readings of a series.

    Where each reading has a bucket of its own, nothing is told of the time that it covers.
    """
    inside = [(at, value) for at, value in readings if start <= at < end]
    buckets: dict[int, Bucket] = {}

    def bucket(instant: int) -> Bucket:
        key = bucket_of(instant, seconds, zone)
        return buckets.setdefault(key, Bucket(0, math.nan, math.nan, math.nan, 0.0, 0.0, 0, 0.0, 0.0))

    groups = defaultdict(list)
    for at, value in inside:
        groups[bucket_of(at, seconds, zone)].append(value)
    for begin, values in groups.items():
        found = bucket(begin)
        found.count, found.mean = len(values), math.fsum(values) / len(values)
        found.min, found.max = min(values), max(values)

    before = [reading for reading in readings if reading[0] < start][-1:]
    after = [reading for reading in readings if reading[0] >= end][:1]
    heard = before + inside + after
    times = [at for at, _ in readings]
    known = dict(zip(times[1:], known_gaps(times, limit=limit), strict=False))
    for (earlier, value_before), (at, _) in pairwise(heard):
        if seconds and known[at]:
            for since, until in pieces(max(earlier, start), min(at, end), seconds):
                bucket(since).covered += (until - since) / SECOND
                bucket(since).on += value_before * (until - since) / SECOND
    unknown = [gap for gap in pairwise(times) if not known[gap[1]]]
    for since, at, rise, is_reset in Slow(readings).rises():
        if not start <= at < end:
            continue
        bucket(at).resets += is_reset
        crosses = since < start or bucket_of(since, seconds, zone) != bucket_of(at, seconds, zone)
        if crosses and any(earlier < at and later > since for earlier, later in unknown):
            bucket(at).unallocated += rise
        else:
            bucket(at).increase += rise
    return buckets
