"""The rule of a register: which readings of a counter count, and what it rose from one to the next.

Below, *far below* means: below a positive value by the tolerance (a tenth, unless the owner sets another) or
more.

- A reading is a *glitch* if two readings with at most three between them, it among these, show that the
  register came back: the later is not far below the earlier, and each between is far below the earlier, or so
  high that the later is far below it. It must come back at once: three quarters of the way in the last step
  up (or, of a jump, go away at once in the first step). Glitches count for nothing. So does the newest
  reading of all if it is far below the good one before, or above it by the tolerance or more: the next one
  decides.
- A reading far below the good one before it is a *reset*: a new run begins at zero.
- A reading rises by what it exceeds the highest good reading of its run by. That one is looked for in the
  reading's own UTC hour and in the last `HOURS` UTC hours before it that have readings. So after a dip a
  register stands still.

No figure of a reading depends on readings further away. So answers are equal from every window.

The rows are summaries of any width up to an hour. Rows near a far fall must hold one reading each (see
`counters.py`); without a far fall nearby, a row gives what its readings would give one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.kinds.settings import DIP_TOLERANCE
from joulebook.telemetry.readings import HOUR, MINUTE
from joulebook.telemetry.rollups.summaries import SUMMARY, Summaries, is_reset, runs_of

Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]

MOST_BETWEEN = 3
"""The most readings between two that show that a register came back."""
HOURS = 8
"""The hours with readings in which the highest reading of a run is looked for, beside a reading's own."""
_AT_ONCE = 0.75
_STEADY = 10
_AROUND_MIDNIGHT = 15 * MINUTE
_NEAR_END, _NEAR_BEGIN = 0.9, 0.1


@dataclass(frozen=True)
class RegisterChange:
    """Another meter from the instant `time` (microseconds since 1970), with stored values of registers.

    `final` is the old meter's last register, `start` the new one's first. If one is None, the rise after the
    old meter's last reading, or before the new one's first, is lost.
    """

    time: int
    final: float | None = None
    start: float | None = None


@dataclass(frozen=True)
class RegisterRule:
    """What the owner says of a register, in stored values and microseconds since 1970.

    `midnights`: where a register that resets daily begins anew. `rolls_over_at`: a fall from above 0.9 of it
    to below 0.1 of it is an overflow. `greatest_rise`: the most that is believed in an hour. `ignored` and
    `confirmed`: readings about which the owner decided.
    """

    tolerance: float = DIP_TOLERANCE
    midnights: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    rolls_over_at: float | None = None
    runs_both_ways: bool = False
    greatest_rise: float | None = None
    spreads: bool = False
    ignored: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    confirmed: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    replacements: Sequence[RegisterChange] = ()

    def are_far_below(self, before: Numbers, after: Numbers) -> Mask:
        """Return for each pair whether `after` is far below `before`."""
        return is_reset(before, after, tolerance=self.tolerance)

    def barriers(self, rows: Summaries) -> tuple[Mask, Mask]:
        """Return by row whether a new day begins with it, and whether another meter does.

        A day of a register that resets daily begins at midnight. If the register falls far below within 15
        minutes of midnight, the day begins with that fall.
        """
        is_new_day = np.zeros(len(rows), np.bool_)
        is_new_meter = np.zeros(len(rows), np.bool_)
        if not len(rows):
            return is_new_day, is_new_meter
        changed = np.array([each.time for each in self.replacements], np.int64)
        index = np.searchsorted(rows["first_at"], changed, side="left")
        is_new_meter[index[index < len(rows)]] = True
        inside = (self.midnights > rows["first_at"][0]) & (self.midnights <= rows["first_at"][-1])
        midnights = self.midnights[inside]
        if len(midnights):
            first = np.searchsorted(rows["first_at"], midnights, side="left")
            falls = 1 + np.flatnonzero(self.are_far_below(rows["last"][:-1], rows["first"][1:]))
            if len(falls):
                place = np.searchsorted(falls, first, side="left")
                late, early = (falls[np.clip(place - step, 0, len(falls) - 1)] for step in (0, 1))
                is_early = (
                    (place > 0) & (rows["first_at"][early] >= midnights - _AROUND_MIDNIGHT) & (late != first)
                )
                is_late = (place < len(falls)) & (rows["last_at"][late - 1] <= midnights + _AROUND_MIDNIGHT)
                first = np.where(is_late, late, np.where(is_early, early, first))
            is_new_day[first] = True
        return is_new_day, is_new_meter


def are_unclear(rows: Summaries, rule: RegisterRule, *, has_newest: bool) -> Mask:
    """Return which rows of several readings must be replaced by their readings to be judged."""
    if not len(rows):
        return np.zeros(0, np.bool_)
    count = rows["count"]
    last_place = np.cumsum(count) - 1
    first_place = last_place - count + 1
    step = np.append(0.0, rows["first"][1:] - rows["last"][:-1])
    inner = rows["resets"] > 0
    border = np.zeros(len(rows), np.bool_)
    border[1:] = rule.are_far_below(rows["last"][:-1], rows["first"][1:])
    unclear = np.zeros(len(rows), np.bool_)
    if rule.runs_both_ways:
        size = rule.tolerance * np.maximum(np.abs(rows["first"]), np.abs(rows["last"]))
        low, high = (np.minimum, np.maximum)
        inner |= rows["max"] - high(rows["first"], rows["last"]) >= size
        inner |= low(rows["first"], rows["last"]) - rows["min"] >= size
        inner |= np.abs(rows["last"] - rows["first"]) >= size
        inner &= rows["max"] > rows["min"]
        before = np.append(0.0, rows["last"][:-1])
        border |= (np.abs(step) >= rule.tolerance * np.maximum(np.abs(before), np.abs(rows["first"]))) & (
            step != 0
        )
    if rule.greatest_rise is not None:
        unclear |= rows["max"] - rows["min"] > rule.greatest_rise
    # The readings up to four before and after a far fall.
    begin = np.sort(np.concatenate([first_place[inner], first_place[border] - 1])) - MOST_BETWEEN - 1
    end = np.sort(np.concatenate([last_place[inner], first_place[border]])) + MOST_BETWEEN + 1
    unclear |= np.searchsorted(begin, last_place, side="right") > np.searchsorted(
        end, first_place, side="left"
    )
    decided = np.sort(np.concatenate([rule.ignored, rule.confirmed]))
    unclear |= np.searchsorted(decided, rows["last_at"], side="right") > np.searchsorted(
        decided, rows["first_at"], side="left"
    )
    if has_newest:
        unclear[-1] |= rows["max"][-1] - rows["min"][-1] >= rule.tolerance * abs(rows["first"][-1])
    found: Mask = unclear & (count > 1)
    return found


def glitches_of(rows: Summaries, rule: RegisterRule, stretch: Ints) -> Mask:
    """Return which rows are glitches; only rows of one reading are.

    `stretch` numbers the rows between two barriers. A reading of a register that runs both ways is a glitch
    if it is off the two readings around by the tolerance of the larger of them and by ten times the steps
    beside them, while these two are not off each other.
    """
    found = np.zeros(len(rows), np.bool_)
    single = (rows["count"] == 1) & ~np.isin(rows["first_at"], rule.confirmed)
    for between in range(1, MOST_BETWEEN + 1):
        number = len(rows) - between - 1
        if number <= 0:
            break
        last, first = rows["last"][:number], rows["first"][between + 1 :]
        is_back = stretch[:number] == stretch[between + 1 :]
        for step in range(1, between + 1):
            is_back &= single[step : step + number]
        if not is_back.any():
            continue
        at = np.flatnonzero(is_back)
        before, after = last[at], first[at]
        values = np.stack([rows["first"][at + step] for step in range(1, between + 1)])
        if rule.runs_both_ways:
            off = _off_a_net_register(rows, rule, at, values)
        else:
            off = _off_a_register(rule, before, after, values)
        for step in range(1, between + 1):
            found[at[off] + step] = True
    return found


def _off_a_register(rule: RegisterRule, before: Numbers, after: Numbers, values: Numbers) -> Mask:
    """Return by column whether the `values` between `before` and `after` are glitches."""
    is_low = rule.are_far_below(np.broadcast_to(before, values.shape), values)
    is_high = (before > 0) & rule.are_far_below(values, np.broadcast_to(after, values.shape))
    off: Mask = ~rule.are_far_below(before, after) & (is_low | is_high).all(axis=0)
    # A register that begins anew climbs; after a glitch it is back at once.
    climbs = after - values[-1] < _AT_ONCE * (after - values.min(axis=0))
    sinks = values[0] - before < _AT_ONCE * (values.max(axis=0) - before)
    off &= ~(is_low.all(axis=0) & climbs) & ~(is_high.all(axis=0) & sinks)
    return off


def _off_a_net_register(rows: Summaries, rule: RegisterRule, at: NDArray[np.intp], values: Numbers) -> Mask:
    """Return by column whether the `values` after each row `at` are off the rows around them."""
    following = at + len(values) + 1
    before, after = rows["last"][at], rows["first"][following]
    size = rule.tolerance * np.maximum(np.abs(before), np.abs(after))
    steps = np.append(np.abs(rows["first"] - np.append(rows["first"][:1], rows["last"][:-1])), 0.0)
    ordinary = np.maximum(np.maximum(steps[at], steps[following + 1]), np.abs(after - before))
    distance = np.minimum(np.abs(values - before), np.abs(values - after)).min(axis=0)
    off: Mask = (np.abs(after - before) < size) & (distance >= size) & (distance > _STEADY * ordinary)
    return off


def is_provisional(rows: Summaries, is_good: Mask, rule: RegisterRule, stretch: Ints) -> bool:
    """Return whether the last row, the newest reading of all, must wait for the next one to count."""
    if not is_good[-1] or rows["count"][-1] > 1 or rows["first_at"][-1] in rule.confirmed:
        return False
    good = np.flatnonzero(is_good)
    if len(good) <= 1 or stretch[good[-2]] != stretch[-1]:
        return False
    before, value = float(rows["last"][good[-2]]), float(rows["first"][-1])
    if rule.runs_both_ways:
        return abs(value - before) >= rule.tolerance * abs(before)
    is_far_above = value > before and value - before >= rule.tolerance * before
    return is_far_above or bool(rule.are_far_below(np.array([before]), np.array([value]))[0])


@dataclass(frozen=True)
class Steps:
    """What a register did in each good row, in stored values.

    `entry` is the step up from the good row before to the first reading of the row (down: `entry_down`, only
    if the register runs both ways), over the time from `since` to `until`; `inner` and `inner_down` are
    the steps within the row. `resets` counts those up to its last reading. `is_disbelieved`: the entry is
    above the greatest believed rise and must not be counted. `before` is the value at `since`, and `base` the
    one from which the entry is counted. `glitches` are the rows that count for nothing.
    """

    since: Ints
    until: Ints
    entry: Numbers
    entry_down: Numbers
    inner: Numbers
    inner_down: Numbers
    resets: Ints
    is_disbelieved: Mask
    is_reset: Mask
    before: Numbers
    base: Numbers
    value: Numbers
    glitches: Summaries


def steps_of(rows: Summaries, rule: RegisterRule, *, has_newest: bool) -> Steps:
    """Return the steps of a register in rows in the order of time.

    No row lies on both sides of a replacement, of a midnight of the rule, or of the full hour UTC.
    `has_newest`: the last row holds the newest reading of all.
    """
    is_new_day, is_new_meter = rule.barriers(rows)
    stretch = np.cumsum((is_new_day | is_new_meter).astype(np.int64))
    has_falls = rule.runs_both_ways or rule.are_far_below(rows["last"][:-1], rows["first"][1:]).any()
    glitch = glitches_of(rows, rule, stretch) if has_falls else np.zeros(len(rows), np.bool_)
    is_good = ~glitch
    if has_newest and len(rows):
        is_good[-1] &= not is_provisional(rows, is_good, rule, stretch)
    hours = np.unique(rows["first_at"] // HOUR)
    day = np.cumsum(is_new_day.astype(np.int64))[is_good]
    good = rows[is_good]
    new_day = np.diff(day, prepend=day[:1]) > 0
    midnight = _last_midnights(rows, rule)[is_good]
    good, new_day, midnight, new_meter = _with_replacements(good, new_day, midnight, rule.replacements)
    if rule.runs_both_ways:
        return _net_steps(good, rule, new_meter, rows[glitch])
    return _rising_steps(good, rule, hours, new_day, midnight, new_meter, rows[glitch])


def _last_midnights(rows: Summaries, rule: RegisterRule) -> Ints:
    """Return for each row the last midnight of the rule up to its first reading, or its row's own begin."""
    if not len(rule.midnights):
        return rows["first_at"].copy()
    index = np.searchsorted(rule.midnights, rows["first_at"], side="right") - 1
    found: Ints = np.where(index >= 0, rule.midnights[np.maximum(index, 0)], rows["first_at"])
    return found


def _with_replacements(
    rows: Summaries, new_day: Mask, midnight: Ints, replacements: Sequence[RegisterChange]
) -> tuple[Summaries, Mask, Ints, Mask]:
    """Insert the registers at replacements as rows; return all with a mask of each new meter's first row."""
    new_meter = np.zeros(len(rows), np.bool_)

    def insert(index: int, register: float, *, is_new: bool) -> None:
        nonlocal rows, new_day, midnight, new_meter
        row = np.zeros(1, SUMMARY)
        row["count"] = 1
        for name in ("bucket", "first_at", "last_at"):
            row[name] = replacement.time
        for name in ("first", "last", "min", "max", "first_peak", "last_peak"):
            row[name] = register
        rows = np.concatenate([rows[:index], row, rows[index:]])
        new_day = np.insert(new_day, index, False)
        midnight = np.insert(midnight, index, replacement.time)
        new_meter = np.insert(new_meter, index, is_new)

    for replacement in sorted(replacements, key=lambda each: each.time):
        index = int(np.searchsorted(rows["first_at"], replacement.time, side="left"))
        if replacement.final is not None and index > 0:
            # The old meter's last register cannot be below its last reading.
            insert(index, max(replacement.final, float(rows["last"][index - 1])), is_new=False)
            index += 1
        if replacement.start is not None:
            insert(index, replacement.start, is_new=True)
        elif index < len(rows):
            new_meter[index] = True
    return rows, new_day, midnight, new_meter


def _net_steps(rows: Summaries, rule: RegisterRule, new_meter: Mask, glitches: Summaries) -> Steps:
    """Return the steps of a register that runs both ways."""
    begins = new_meter | np.isin(rows["first_at"], rule.ignored)
    begins[:1] = True
    before = np.append(0.0, rows["last"][:-1])
    before[begins] = rows["first"][begins]
    step = rows["first"] - before
    since = np.append(rows["first_at"][:1], rows["last_at"][:-1])
    up = rows["rises"]
    return Steps(
        since=since,
        until=rows["first_at"],
        entry=np.maximum(step, 0.0),
        entry_down=np.maximum(-step, 0.0),
        inner=up,
        inner_down=np.maximum(up - (rows["last"] - rows["first"]), 0.0),
        resets=np.zeros(len(rows), np.int64),
        is_disbelieved=_disbelieved(np.abs(step), since, rows["first_at"], rule),
        is_reset=np.zeros(len(rows), np.bool_),
        before=before,
        base=before,
        value=rows["first"],
        glitches=glitches,
    )


def _rising_steps(
    rows: Summaries,
    rule: RegisterRule,
    hours: Ints,
    new_day: Mask,
    midnight: Ints,
    new_meter: Mask,
    glitches: Summaries,
) -> Steps:
    """Return the steps of a register that only grows, but for resets, overflows and new days."""
    runs = runs_of(rows, tolerance=rule.tolerance)
    anew = new_meter | np.isin(rows["first_at"], rule.ignored)
    anew[:1] = True
    new_day = new_day & ~anew
    last_before = np.append(0.0, rows["last"][:-1])
    falls = np.zeros(len(rows), np.bool_)
    falls[1:] = rule.are_far_below(rows["last"][:-1], rows["first"][1:])
    falls &= ~anew & ~new_day
    overflow = np.zeros(len(rows), np.bool_)
    if rule.rolls_over_at is not None:
        overflow = (
            falls
            & (last_before > _NEAR_END * rule.rolls_over_at)
            & (rows["first"] < _NEAR_BEGIN * rule.rolls_over_at)
        )
    begins = runs.resets.copy()
    begins[runs.begin] = falls | anew | new_day
    run = np.cumsum(begins.astype(np.int64)) - 1
    hour = np.searchsorted(hours, rows["first_at"] // HOUR, side="right")[runs.row]
    level, former = _levels(runs.peak, run, hour)
    base = level
    is_begin = np.flatnonzero(begins)
    base[is_begin] = 0.0
    first_of_row = rows["first"][runs.row]
    row_begins = np.zeros(len(run), np.bool_)
    row_begins[runs.begin[anew]] = True
    # Where no good reading is near, a register begins anew.
    base = np.where(row_begins | ~np.isfinite(base), first_of_row, base)
    if rule.rolls_over_at is not None:
        at = runs.begin[overflow]
        base[at] = np.where(np.isfinite(former[at]), former[at] - rule.rolls_over_at, first_of_row[at])
    rise = np.maximum(runs.peak - base, 0.0)
    entry_base = base[runs.begin]
    entry = np.clip(rows["first"] - entry_base, 0.0, rise[runs.begin])
    inner = np.add.reduceat(rise, runs.begin) - entry + runs.inner_increase if len(rows) else rise
    is_reset_here = falls & ~overflow
    resets = is_reset_here.astype(np.int64) + rows["resets"].astype(np.int64)
    since = np.append(rows["first_at"][:1], rows["last_at"][:-1])
    since = np.where(new_day, np.clip(midnight, since, rows["first_at"]), since)
    return Steps(
        since=since,
        until=rows["first_at"],
        entry=entry,
        entry_down=np.zeros(len(rows)),
        inner=inner,
        inner_down=np.zeros(len(rows)),
        resets=resets,
        is_disbelieved=_disbelieved(entry, since, rows["first_at"], rule),
        is_reset=is_reset_here,
        before=last_before,
        base=entry_base,
        value=rows["first"],
        glitches=glitches,
    )


def _disbelieved(rise: Numbers, since: Ints, until: Ints, rule: RegisterRule) -> Mask:
    """Return which rises are above the greatest believed one.

    A register may move in whole units, so it is given an hour at least.
    """
    if rule.greatest_rise is None:
        return np.zeros(len(rise), np.bool_)
    hours = np.maximum((until - since) / HOUR, 1.0)
    found: Mask = (rise > rule.greatest_rise * hours) & ~np.isin(until, rule.confirmed)
    return found


def _levels(peak: Numbers, run: Ints, hour: Ints) -> tuple[Numbers, Numbers]:
    """Return for each piece the highest before it of its own run, and of the run before, both near enough.

    `hour` is the rank of the piece's hour among the hours with readings. Without any it is minus infinity.
    """
    number = len(peak)
    if not number:
        return peak.copy(), peak.copy()
    leads = np.append(True, (run[1:] != run[:-1]) | (hour[1:] != hour[:-1]))
    begin = np.flatnonzero(leads)
    group = np.cumsum(leads.astype(np.int64)) - 1
    highest = np.maximum.reduceat(peak, begin)
    first_group = np.searchsorted(run[begin], np.arange(run[-1] + 1))
    so_far = _running_peak(peak, group)
    own = np.full(number, -np.inf)
    own[1:] = np.where(leads[1:], -np.inf, so_far[:-1])
    groups = _Groups(highest, run[begin], hour[begin])
    before_hour = groups.highest_back(np.arange(len(begin)) - 1, groups.run)
    level = np.maximum(own, before_hour[group])
    former = groups.highest_back(first_group[groups.run] - 1, groups.run - 1)
    return level, former[group]


@dataclass(frozen=True)
class _Groups:
    """The pieces of one run in one hour, by group: the highest, the run, and the rank of the hour."""

    highest: Numbers
    run: Ints
    hour: Ints

    def highest_back(self, start: NDArray[np.intp], run: Ints) -> Numbers:
        """Return by group the highest of `run` from the group `start` backwards, within `HOURS` hours."""
        found = np.full(len(start), -np.inf)
        for step in range(HOURS + 1):
            index = np.maximum(start - step, 0)
            is_near = (start >= step) & (self.run[index] == run) & (self.hour[index] >= self.hour - HOURS)
            if not is_near.any():
                break
            found = np.where(is_near, np.maximum(found, self.highest[index]), found)
        return found


def _running_peak(peak: Numbers, group: Ints) -> Numbers:
    """Return the highest so far within each group, in steps that double: no loop over groups or rows."""
    highest = peak.copy()
    longest = int(np.bincount(group).max())
    distance = 1
    while distance < longest:
        same = group[distance:] == group[:-distance]
        reach = highest[:-distance].copy()
        highest[distance:] = np.where(same, np.maximum(highest[distance:], reach), highest[distance:])
        distance *= 2
    return highest
