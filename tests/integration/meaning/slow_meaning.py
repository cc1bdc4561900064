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
HOURS_BACK = 8

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
    """By the hour."""
    spreads: bool = False
    replaced: tuple[NewMeter, ...] = ()
    ignored: frozenset[int] = frozenset()
    confirmed: frozenset[int] = frozenset()

    def is_far_below(self, value: float, other: float) -> bool:
        """Return whether `value` is below `other` by the tolerance or more."""
        return other > 0 and other - value >= self.tolerance * other

    def midnights(self, readings: Sequence[Reading]) -> list[int]:
        """Return the midnights after the first reading, up to the last."""
        if self.day_zone is None or not readings:
            return []
        day = moment(readings[0][0]).astimezone(self.day_zone).date()
        found = []
        while True:
            day += timedelta(days=1)
            begin = datetime(day.year, day.month, day.day, tzinfo=self.day_zone).astimezone(UTC)
            instant = (begin - EPOCH) // timedelta(microseconds=1)
            if instant > readings[-1][0]:
                return found
            found.append(instant)


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


def day_begins(readings: Sequence[Reading], register: Register) -> dict[int, int]:
    """Return the first reading of each day of a register that begins anew daily, and the midnight before it.

    The first one after midnight; if the register falls far below within a quarter of an hour, the first after the fall.
    """
    found = {}
    for midnight in register.midnights(readings):
        falls = [
            (earlier, later)
            for (earlier, before), (later, value) in pairwise(readings)
            if register.is_far_below(value, before)
        ]
        first = next(instant for instant, _ in readings if instant >= midnight)
        after = next(((earlier, later) for earlier, later in falls if later >= midnight), None)
        before_midnight = [later for _, later in falls if later < midnight]
        if after is not None and after[0] <= midnight + QUARTER:
            first = after[1]
        elif before_midnight and before_midnight[-1] >= midnight - QUARTER:
            first = before_midnight[-1]
        found[first] = max((each for each in register.midnights(readings) if each <= first), default=first)
    return found


def glitches_of(readings: Sequence[Reading], register: Register) -> set[int]:
    """Return the instants of the glitches: what lies between two readings that show that the register came back.

    There are at most three between the two. A new day, another meter, and a confirmed reading are between no such two.
    """
    borders = {*day_begins(readings, register), *first_of_meters(readings, register)}
    found = set()
    for first in range(len(readings)):
        for last in range(first + 2, min(first + 2 + MOST_BETWEEN, len(readings))):
            between = readings[first + 1 : last]
            if borders & {instant for instant, _ in readings[first + 1 : last + 1]}:
                continue
            if register.confirmed & {instant for instant, _ in between}:
                continue
            values = [value for _, value in between]
            if register.runs_both_ways:
                is_glitch = is_leap(readings, first, last, register)
            else:
                is_glitch = is_excursion(readings[first][1], values, readings[last][1], register)
            if is_glitch:
                found |= {instant for instant, _ in between}
    return found


def is_excursion(before: float, values: Sequence[float], after: float, register: Register) -> bool:
    """Return whether a register that only grows was away between two readings.

    The later is not far below the earlier. Each value between is far below the earlier, or so high that the later is
    far below it. If all are low, most of the way back is made at once, and if all are high, most of the way there:
    three quarters, for a register that begins anew climbs.
    """
    if register.is_far_below(after, before):
        return False
    lows = [register.is_far_below(value, before) for value in values]
    highs = [before > 0 and register.is_far_below(after, value) for value in values]
    if not all(low or high for low, high in zip(lows, highs, strict=True)):
        return False
    if all(lows) and after - values[-1] < 0.75 * (after - min(values)):
        return False
    return not (all(highs) and values[0] - before < 0.75 * (max(values) - before))


def is_leap(readings: Sequence[Reading], first: int, last: int, register: Register) -> bool:
    """Return whether a register that runs both ways leapt away between two readings, and back.

    Each value between is off both by the tolerance of the larger of the two, and by more than ten times the steps
    beside them; the two are not off each other.
    """
    before, after = readings[first][1], readings[last][1]
    size = register.tolerance * max(abs(before), abs(after))
    ordinary = abs(after - before)
    if first:
        ordinary = max(ordinary, abs(before - readings[first - 1][1]))
    if last + 1 < len(readings):
        ordinary = max(ordinary, abs(readings[last + 1][1] - after))
    distance = min(min(abs(value - before), abs(value - after)) for _, value in readings[first + 1 : last])
    return abs(after - before) < size and distance >= size and distance > 10 * ordinary


def first_of_meters(readings: Sequence[Reading], register: Register) -> set[int]:
    """Return the first reading of each new meter."""
    firsts = (
        next((instant for instant, _ in readings if instant >= meter.time), None)
        for meter in register.replaced
    )
    return {instant for instant in firsts if instant is not None}


def good_readings(readings: Sequence[Reading], register: Register) -> list[Reading]:
    """Return the readings that count: no glitch, and no newest reading that may be one."""
    glitches = glitches_of(readings, register)
    good = [each for each in readings if each[0] not in glitches]
    if len(good) < 2 or good[-1] != readings[-1] or good[-1][0] in register.confirmed:
        return good
    (earlier, before), (newest, value) = good[-2:]
    borders = {*day_begins(readings, register), *first_of_meters(readings, register)}
    if any(earlier < border <= newest for border in borders):
        return good
    if register.runs_both_ways:
        may_be_one = abs(value - before) >= register.tolerance * abs(before)
    else:
        is_far_above = value > before and value - before >= register.tolerance * before
        may_be_one = is_far_above or register.is_far_below(value, before)
    return good[:-1] if may_be_one else good


class Step(NamedTuple):
    """A good reading, or a register at a replacement; with `is_anew` nothing rose up to it."""

    time: int
    value: float
    is_anew: bool


def steps_of(readings: Sequence[Reading], register: Register) -> list[Step]:
    """Return the good readings with the registers of replaced meters among them."""
    good = good_readings(readings, register)
    steps = [Step(instant, value, instant in register.ignored) for instant, value in good]
    for meter in sorted(register.replaced, key=lambda each: each.time):
        place = sum(step.time < meter.time for step in steps)
        if meter.final is not None and place:
            # The old meter's last register cannot be below its last reading.
            steps.insert(place, Step(meter.time, max(meter.final, steps[place - 1].value), is_anew=False))
            place += 1
        if meter.start is not None:
            steps.insert(place, Step(meter.time, meter.start, is_anew=True))
        elif place < len(steps):
            steps[place] = steps[place]._replace(is_anew=True)
    return steps


def rises_of(readings: Sequence[Reading], gaps: Sequence[Gap], register: Register) -> list[Rise]:
    """Return every rise of a register, and with one that runs both ways every fall."""
    unknown = [(gap.begin, gap.end) for gap in gaps if not gap.is_known]
    begins = day_begins(readings, register)
    hours = sorted({instant // HOUR for instant, _ in readings})
    found: list[Rise] = []
    run: list[Step] = []
    steps = steps_of(readings, register)
    for before, step in pairwise([None, *steps]):
        assert step is not None
        if before is None or step.is_anew:
            run = [step]
            continue
        level = highest(run, step.time, hours)
        midnight = next((begins[day] for day in begins if before.time < day <= step.time), None)
        since, is_reset, limit = before.time, False, register.rolls_over_at
        if register.runs_both_ways:
            amount = step.value - before.value
        elif midnight is not None:
            since, amount, run = min(max(midnight, before.time), step.time), max(step.value, 0.0), []
        elif not register.is_far_below(step.value, before.value):
            amount = 0.0 if level is None else max(step.value - level, 0.0)
        elif limit is not None and before.value > 0.9 * limit and step.value < 0.1 * limit:
            amount, run = 0.0 if level is None else max(step.value + limit - level, 0.0), []
        else:
            amount, is_reset, run = max(step.value, 0.0), True, []
        run.append(step)
        hours_between = max((step.time - since) / HOUR, 1.0)
        if (
            register.greatest_rise is not None
            and abs(amount) > register.greatest_rise * hours_between
            and step.time not in register.confirmed
        ):
            amount = 0.0
        is_known = not any(begin < step.time and end > since for begin, end in unknown)
        found.append(Rise(since, step.time, amount, is_known, is_reset))
    return found


def highest(run: Sequence[Step], instant: int, hours: Sequence[int]) -> float | None:
    """Return where a register stands before an instant: its highest good reading of the same run nearby.

    It is looked for in the instant's own UTC hour, and in the last eight UTC hours before it with readings.
    """
    own = bisect_right(hours, instant // HOUR)
    near = [step.value for step in run if bisect_right(hours, step.time // HOUR) >= own - HOURS_BACK]
    return max(near, default=None)


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
