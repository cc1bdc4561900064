"""From which table each stretch of an asked range is read: as coarse as can be, as fine as must be.

A rollup's bucket serves where it is over, lies in the range as a whole, and nothing in it is marked or
has to be seen reading by reading. What one width cannot serve the next finer one may, and readings the
rest. So a range costs a few hundred rows, and one late reading costs one minute of readings.

Instants are microseconds since 1970 UTC, ranges half-open.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Range = tuple[int, int]

READINGS = 0
"""Stands for the table of readings among the widths of the rollups."""


def plan_range(
    start: int, end: int, *, closed_until: int, blocked: Sequence[Range], widths: Sequence[int]
) -> dict[int, list[Range]]:
    """Return by width of bucket, or `READINGS`, which ranges to read there; together they are [start, end).

    `blocked` ranges are not read from rollups; `widths` may be used, each a multiple of the one before.
    """
    plan: dict[int, list[Range]] = {}
    remaining = [(start, end)] if start < end else []
    for width in sorted(widths, reverse=True):
        served = _inward(remaining, width, until=closed_until)
        served = _without(served, _outward(blocked, width))
        if served:
            plan[width] = served
            remaining = _without(remaining, served)
    if remaining:
        plan[READINGS] = remaining
    return plan


def _inward(ranges: Sequence[Range], width: int, *, until: int) -> list[Range]:
    """Return the whole buckets inside each range that end by `until`."""
    inner = [(-(-begin // width) * width, min(end, until) // width * width) for begin, end in ranges]
    return [(begin, end) for begin, end in inner if begin < end]


def _outward(ranges: Sequence[Range], width: int) -> list[Range]:
    """Return the whole buckets that the ranges touch, in order and joined."""
    joined: list[Range] = []
    for begin, end in sorted((begin // width * width, -(-end // width) * width) for begin, end in ranges):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return joined


def _without(ranges: Sequence[Range], taken: Sequence[Range]) -> list[Range]:
    """Return what is left of the ranges; both are in order and do not overlap."""
    left: list[Range] = []
    position = 0
    for begin, end in ranges:
        while position < len(taken) and taken[position][1] <= begin:
            position += 1
        holes = []
        for hole in taken[position:]:
            if hole[0] >= end:
                break
            holes.append(hole)
        borders = [begin, *(border for hole in holes for border in hole), end]
        left += [(a, b) for a, b in list(pairwise(borders))[::2] if a < b]
    return left


def split(ranges: Sequence[Range], length: int) -> list[Range]:
    """Return the ranges cut at every multiple of `length`."""
    parts = []
    for begin, end in ranges:
        cuts = range(begin // length * length + length, end, length)
        parts += list(pairwise([begin, *cuts, end]))
    return parts
