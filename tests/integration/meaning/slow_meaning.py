"""What readings mean, worked out one reading after the other: slow plain Python, easy to compare with the rules.

Nothing here is shared with the product's code. Instants are microseconds since 1970 UTC. A series is all of its
readings in the order of time; buckets are cut by sorted edges, bucket i is [edges[i], edges[i + 1]). Each figure
comes with its `scale`: the sum of the absolute values added up for it, which bounds the rounding of floats.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import NamedTuple

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
QUARTER = 15 * MINUTE
MOST_BETWEEN = 3
NEIGHBOURS = 5

Reading = tuple[int, float]
"""An instant and a value."""


class Figure(NamedTuple):
    """A sum, and how much was added up for it."""

    value: float
    scale: float


def figure(parts: Sequence[float]) -> Figure:
    """Return the exact sum of the parts."""
    return Figure(math.fsum(parts), math.fsum(map(abs, parts)))


# Known time -----------------------------------------------------------------------------------------------------


class Gap(NamedTuple):
    """The time between two neighbours, with the value of the first."""

    begin: int
    end: int
    value: float
    is_known: bool


def gaps_of(readings: Sequence[Reading], limit: int | None = None) -> list[Gap]:
    """Return the gaps of a series; with an owner's `limit`, longer ones are unknown.

    Without a limit, a gap is known if it is at most three times the larger of two medians: of up to five distances
    before it and of up to five after it; that of an even number is the mean of the two in the middle. A lone gap is
    known.
    """
    distances = [later - earlier for (earlier, _), (later, _) in pairwise(readings)]
    gaps = []
    for place, ((begin, value), (end, _)) in enumerate(pairwise(readings)):
        distance = end - begin
        if limit is not None:
            is_known = distance <= limit
        else:
            sides = (
                distances[max(place - NEIGHBOURS, 0) : place],
                distances[place + 1 : place + 1 + NEIGHBOURS],
            )
            medians = [median(side) for side in sides if side]
            is_known = not medians or 2 * distance <= 3 * max(medians)
        gaps.append(Gap(begin, end, value, is_known))
    return gaps


def median(distances: Sequence[int]) -> int:
    """Return twice the middle distance: the sum of the two middle ones where their number is even."""
    ordered = sorted(distances)
    return ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]


# Levels ---------------------------------------------------------------------------------------------------------


@dataclass
class Level:
    """One bucket of a gauge: its readings, and what its known time comes to."""

    values: list[float] = field(default_factory=list)
    known: int = 0
    """Microseconds."""
    held: list[float] = field(default_factory=list)
    """Value times seconds of each known piece of time."""

    @property
    def mean(self) -> Figure:
        """The mean of the readings; each counts the same."""
        total = figure(self.values)
        return Figure(total.value / len(self.values), total.scale / len(self.values))

    @property
    def mean_over_time(self) -> Figure:
        """The mean over the known time; each reading counts until the next one."""
        total = figure(self.held)
        return Figure(total.value * SECOND / self.known, total.scale * SECOND / self.known)

    @property
    def integral(self) -> Figure:
        """Value times seconds."""
        return figure(self.held)

    @property
    def integral_in(self) -> Figure:
        """Value times seconds of the positive values."""
        return figure([part for part in self.held if part > 0])

    @property
    def integral_out(self) -> Figure:
        """Value times seconds of the negative values, as a positive number."""
        return figure([-part for part in self.held if part < 0])


def levels(readings: Sequence[Reading], gaps: Sequence[Gap], edges: Sequence[int]) -> list[Level]:
    """Return the buckets of a gauge; a gap across an edge counts in both buckets, each for its own part."""
    found = [Level() for _ in edges[1:]]
    for instant, value in readings:
        if edges[0] <= instant < edges[-1]:
            found[bisect_right(edges, instant) - 1].values.append(value)
    for gap in gaps:
        if not gap.is_known:
            continue
        for place in range(max(bisect_right(edges, gap.begin) - 1, 0), len(found)):
            if edges[place] >= gap.end:
                break
            held = min(gap.end, edges[place + 1]) - max(gap.begin, edges[place])
            if held > 0:
                found[place].known += held
                found[place].held.append(gap.value * (held / SECOND))
    return found


# States ---------------------------------------------------------------------------------------------------------


@dataclass
class State:
    """One bucket of a state: the known time of each value in microseconds, and the number of changes."""

    time: dict[float, int] = field(default_factory=dict)
    changes: int = 0

    @property
    def shares(self) -> dict[float, float]:
        """The share of the known time of each value."""
        known = sum(self.time.values())
        return {value: time / known for value, time in self.time.items()}


def states(readings: Sequence[Reading], gaps: Sequence[Gap], edges: Sequence[int]) -> list[State]:
    """Return the buckets of a state; a change is in the bucket of the first reading of the new value."""
    found = [State() for _ in edges[1:]]
    for gap in gaps:
        for bucket, begin, end in zip(found, edges, edges[1:], strict=False):
            held = min(gap.end, end) - max(gap.begin, begin)
            if gap.is_known and held > 0:
                bucket.time[gap.value] = bucket.time.get(gap.value, 0) + held
    for (_, before), (instant, value) in pairwise(readings):
        if value != before and edges[0] <= instant < edges[-1]:
            found[bisect_right(edges, instant) - 1].changes += 1
    return found


# Amounts --------------------------------------------------------------------------------------------------------


def amounts(
    readings: Sequence[Reading], edges: Sequence[int], *, covers_before: bool = False
) -> list[list[float]]:
    """Return the amounts of each bucket; one that covers the time before its stamp belongs to where that time is."""
    found: list[list[float]] = [[] for _ in edges[1:]]
    for instant, value in readings:
        inside = instant - 1 if covers_before else instant
        if edges[0] <= inside < edges[-1]:
            found[bisect_right(edges, inside) - 1].append(value)
    return found


# Counters -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NewMeter:
    """A replaced meter: the old one's last register and the new one's first, in the readings' own unit."""

    time: int
    final: float | None = None
    start: float | None = None


@dataclass(frozen=True)
class Register:
    """What the owner says of a register. `ignored` and `confirmed` are instants of readings."""

    tolerance: float = 0.1
    day_zone: tzinfo | None = None
    """The zone of the midnights at which the register begins anew; None if it does not."""
    rolls_over_at: float | None = None
    runs_both_ways: bool = False
    greatest_rise: float | None = None
    spreads: bool = False
    replaced: tuple[NewMeter, ...] = ()
    ignored: frozenset[int] = frozenset()
    confirmed: frozenset[int] = frozenset()

    def is_far_below(self, value: float, other: float) -> bool:
        """Return whether `value` is below `other` by the tolerance or more."""
        return other > 0 and other - value >= self.tolerance * other

    def is_same_meter(self, earlier: int, later: int) -> bool:
        """Return whether no meter was replaced between two instants."""
        return not any(earlier < each.time <= later for each in self.replaced)

    def day(self, instant: int) -> object:
        """Return the local day of an instant, if the register begins anew on each."""
        return self.day_zone and moment(instant).astimezone(self.day_zone).date()

    def midnight(self, instant: int) -> int:
        """Return the beginning of the local day of an instant."""
        local = moment(instant).astimezone(self.day_zone)
        begin = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        return (begin.astimezone(UTC) - EPOCH) // timedelta(microseconds=1)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(instant: int) -> datetime:
    """Return an instant as `datetime`."""
    return EPOCH + timedelta(microseconds=instant)


class Rise(NamedTuple):
    """What a register rose (or, if it runs both ways, fell: a negative amount) between two instants."""

    since: int
    until: int
    amount: float
    is_known: bool
    is_reset: bool


def glitches_of(readings: Sequence[Reading], register: Register) -> set[int]:
    """Return the instants of the glitches.

    A reading is one if, of two readings with at most three between them and it among these, the later is not far
    below the earlier, and either all between are far below the earlier, or all between are so high that the later is
    far below them. Midnights at which the register begins anew and replaced meters separate readings.
    """
    found = set()
    for first in range(len(readings)):
        for last in range(first + 2, min(first + 2 + MOST_BETWEEN, len(readings))):
            (begin, before), (end, after) = readings[first], readings[last]
            between = readings[first + 1 : last]
            if not register.is_same_meter(begin, end) or register.day(begin) != register.day(end):
                continue
            if register.is_far_below(after, before):
                continue
            is_dip = all(register.is_far_below(value, before) for _, value in between)
            is_jump = before > 0 and all(register.is_far_below(after, value) for _, value in between)
            if is_dip or is_jump:
                found |= {instant for instant, _ in between}
    return found - register.confirmed


def good_readings(readings: Sequence[Reading], register: Register) -> list[Reading]:
    """Return the readings that count: none of the ignored ones, no glitch, and no newest one that may be a glitch."""
    asked = [each for each in readings if each[0] not in register.ignored]
    glitches = glitches_of(asked, register)
    good = [each for each in asked if each[0] not in glitches]
    if len(good) < 2 or good[-1][0] in register.confirmed:
        return good
    (earlier, before), (later, value) = good[-2:]
    if not register.is_same_meter(earlier, later) or register.day(earlier) != register.day(later):
        return good
    is_far_above = value > before and value - before >= register.tolerance * before
    return good[:-1] if register.is_far_below(value, before) or is_far_above else good


def rises_of(readings: Sequence[Reading], gaps: Sequence[Gap], register: Register) -> list[Rise]:
    """Return every rise of a register, and with one that runs both ways every fall."""
    good = good_readings(readings, register)
    unknown = [(gap.begin, gap.end) for gap in gaps if not gap.is_known]
    found: list[Rise] = []

    def is_known(since: int, until: int) -> bool:
        return not any(begin < until and end > since for begin, end in unknown)

    def add(since: int, until: int, amount: float, *, whole: tuple[int, int], is_reset: bool = False) -> None:
        found.append(Rise(since, until, amount, is_known(*whole), is_reset))

    run = good[:1]
    for (earlier, before), (later, value) in pairwise(good):
        whole = earlier, later
        replaced = [each for each in register.replaced if earlier < each.time <= later]
        level = highest(run, later)
        if replaced:
            since, stood = earlier, level
            for each in replaced:
                if each.final is not None and stood is not None:
                    final = max(each.final, before) if since == earlier else each.final
                    add(since, each.time, max(final - stood, 0.0), whole=whole)
                since, stood = each.time, each.start
            if stood is not None:
                add(since, later, max(value - stood, 0.0), whole=whole)
            run = [(later, value)] if stood is None else [(later, max(value, stood))]
            continue
        if register.runs_both_ways:
            add(earlier, later, value - before, whole=whole)
        elif begins_day(good, earlier, later, before, value, register):
            since = max(register.midnight(later), earlier)
            add(since, later, max(value, 0.0), whole=whole)
            run = []
        elif register.is_far_below(value, before):
            limit = register.rolls_over_at
            if limit is not None and before > 0.9 * limit and value < 0.1 * limit:
                add(earlier, later, limit - level + value, whole=whole)
            else:
                add(earlier, later, max(value, 0.0), whole=whole, is_reset=True)
            run = []
        else:
            rise = max(value - level, 0.0)
            hours = (later - earlier) / HOUR
            is_believed = (
                register.greatest_rise is None
                or rise <= register.greatest_rise * hours
                or later in register.confirmed
            )
            if is_believed:
                add(earlier, later, rise, whole=whole)
        run.append((later, value))
    return found


def highest(run: Sequence[Reading], later: int) -> float:
    """Return where a register stands before a reading: its highest good reading of the same run.

    It is looked for among the last three, and since the beginning of the UTC hour before that of the reading.
    """
    since = later // HOUR * HOUR - HOUR
    recent = [value for instant, value in run if instant >= since]
    return max([*recent, *(value for _, value in run[-3:])])


def begins_day(
    good: Sequence[Reading], earlier: int, later: int, before: float, value: float, register: Register
) -> bool:
    """Return whether a register that begins anew at midnight does so between two of its good readings."""
    if register.day_zone is None:
        return False
    late = late_resets(good, register)
    if register.day(earlier) == register.day(later):
        return later in late
    return late.isdisjoint(instant for instant, _ in good if register.day(instant) == register.day(later))


def late_resets(good: Sequence[Reading], register: Register) -> set[int]:
    """Return the readings at which a day begins late: a deep fall in the first quarter of an hour after midnight.

    The readings between midnight and the fall go on from the day before.
    """
    found = set()
    for (earlier, before), (later, value) in pairwise(good):
        same_day = register.day(earlier) == register.day(later)
        if same_day and later - register.midnight(later) < QUARTER and register.is_far_below(value, before):
            yesterday = [
                each for each in good if register.day(each[0]) != register.day(later) and each[0] < later
            ]
            first = next(each for each in good if register.day(each[0]) == register.day(later))
            if yesterday and not register.is_far_below(first[1], yesterday[-1][1]):
                found.add(later)
    return found


@dataclass
class Rises:
    """One bucket of a register."""

    up: list[float] = field(default_factory=list)
    down: list[float] = field(default_factory=list)
    unallocated: list[float] = field(default_factory=list)
    resets: int = 0
    glitches: int = 0


def rises(found: Sequence[Rise], edges: Sequence[int], *, spreads: bool = False) -> list[Rises]:
    """Return the buckets of a register; a rise belongs to the bucket of the higher reading.

    If not all of the time of a rise is known, and an edge is inside, the rise is unallocated, or with `spreads` it is
    spread evenly over the time between the two readings.
    """
    buckets = [Rises() for _ in edges[1:]]
    for rise in found:
        crosses = any(rise.since < edge <= rise.until for edge in edges)
        if crosses and not rise.is_known and spreads:
            for bucket, begin, end in zip(buckets, edges, edges[1:], strict=False):
                part = min(rise.until, end) - max(rise.since, begin)
                if part > 0:
                    amount = rise.amount * (part / (rise.until - rise.since))
                    (bucket.up if amount >= 0 else bucket.down).append(abs(amount))
        if not edges[0] <= rise.until < edges[-1]:
            continue
        bucket = buckets[bisect_right(edges, rise.until) - 1]
        bucket.resets += rise.is_reset
        if crosses and not rise.is_known:
            if not spreads:
                bucket.unallocated.append(rise.amount)
        else:
            (bucket.up if rise.amount >= 0 else bucket.down).append(abs(rise.amount))
    return buckets
