"""What a register rose, one reading after the other, from the words of `docs/reference/counters.md`.

Times are microseconds since 1970. Readings are pairs of time and value in the order of time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

MINUTE = 60_000_000
HOUR = 60 * MINUTE
Reading = tuple[int, float]


@dataclass
class Slow:
    """A register with its owner's settings; `midnights` where it begins anew each day."""

    readings: list[Reading]
    tolerance: float = 0.1
    midnights: list[int] = field(default_factory=list)
    rolls_over_at: float | None = None
    greatest_rise: float | None = None
    ignored: set[int] = field(default_factory=set)
    confirmed: set[int] = field(default_factory=set)

    def is_far_below(self, value: float, other: float) -> bool:
        return other > 0 and other - value >= self.tolerance * other

    def days(self) -> list[int]:
        """The index of the first reading of each day of the register."""
        found = set()
        for midnight in self.midnights:
            after = [place for place, (time, _) in enumerate(self.readings) if time >= midnight]
            if not after or after[0] == 0:
                continue
            first = after[0]
            falls = [
                place + 1
                for place, ((_, before), (_, value)) in enumerate(pairwise(self.readings))
                if self.is_far_below(value, before)
            ]
            late = [each for each in falls if each >= first]
            early = [each for each in falls if each < first]
            if late and self.readings[late[0] - 1][0] <= midnight + 15 * MINUTE:
                first = late[0]
            elif early and self.readings[early[-1]][0] >= midnight - 15 * MINUTE:
                first = early[-1]
            found.add(first)
        return sorted(found)

    def glitches(self) -> set[int]:
        """The indices of glitches."""
        days = self.days()
        found = set()
        for first, (_, before) in enumerate(self.readings):
            for last in range(first + 2, min(first + 5, len(self.readings))):
                between = range(first + 1, last)
                after = self.readings[last][1]
                if any(first < day <= last for day in days) or self.is_far_below(after, before):
                    continue
                if any(self.readings[place][0] in self.confirmed for place in between):
                    continue
                values = [self.readings[place][1] for place in between]
                lows = [self.is_far_below(value, before) for value in values]
                highs = [before > 0 and self.is_far_below(after, value) for value in values]
                if not all(low or high for low, high in zip(lows, highs, strict=True)):
                    continue
                if all(lows) and after - values[-1] < 0.75 * (after - min(values)):
                    continue
                if all(highs) and values[0] - before < 0.75 * (max(values) - before):
                    continue
                found |= set(between)
        return found

    def good(self) -> list[int]:
        """The indices of the readings that count."""
        glitches = self.glitches()
        found = [place for place in range(len(self.readings)) if place not in glitches]
        newest = len(self.readings) - 1
        if len(found) < 2 or found[-1] != newest or self.readings[newest][0] in self.confirmed:
            return found
        before, value = self.readings[found[-2]][1], self.readings[newest][1]
        if any(found[-2] < day <= newest for day in self.days()):
            return found
        is_far_above = value > before and value - before >= self.tolerance * before
        return found[:-1] if is_far_above or self.is_far_below(value, before) else found

    def rises(self) -> list[tuple[int, int, float, bool]]:
        """From one good reading to the next: since, until, the rise, and whether it is a reset."""
        days = self.days()
        hours = sorted({time // HOUR for time, _ in self.readings})
        found = []
        run: list[Reading] = []
        for earlier, later in pairwise([None, *self.good()]):
            assert later is not None
            until, value = self.readings[later]
            if earlier is None or until in self.ignored:
                run = [(until, value)]
                found.append((until, until, 0.0, False))
                continue
            since, before = self.readings[earlier]
            rank = hours.index(until // HOUR)
            near = hours[max(rank - 8, 0)]
            level = max((register for time, register in run if time // HOUR >= near), default=None)
            is_reset = False
            if any(earlier < day <= later for day in days):
                midnight = max((each for each in self.midnights if each <= until), default=since)
                since, rise, run = max(since, midnight), max(value, 0.0), []
            elif self.is_far_below(value, before):
                limit = self.rolls_over_at
                if limit is not None and before > 0.9 * limit and value < 0.1 * limit:
                    rise = 0.0 if level is None else max(value + limit - level, 0.0)
                else:
                    rise, is_reset = max(value, 0.0), True
                run = []
            else:
                rise = 0.0 if level is None else max(value - level, 0.0)
            if self.greatest_rise is not None and until not in self.confirmed:
                hours_between = max((until - since) / HOUR, 1.0)
                rise = rise if rise <= self.greatest_rise * hours_between else 0.0
            found.append((since, until, rise, is_reset))
            run.append((until, value))
        return found
