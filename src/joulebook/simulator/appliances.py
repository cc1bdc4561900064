"""The load of a home in watts: a base, a fridge, and appliances used by habit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulebook.simulator.noise import Floats, Ints, grain, pick, smooth, stream, uniform
from joulebook.simulator.sun import DAY


@dataclass(frozen=True)
class Habit:
    """One possible use of an appliance in a day.

    `hour` and `spread` are its start by the clock on the wall, `chance` the share of days with it,
    `minutes` the shortest and longest run, and `phases` its power: (share of the run, watts, seconds of one
    on-off cycle, share of the cycle switched on); a cycle of 0 is always on.
    """

    name: str
    hour: float
    spread: float
    chance: float
    minutes: tuple[float, float]
    phases: tuple[tuple[float, float, int, float], ...]


HABITS: tuple[Habit, ...] = (
    Habit("kettle/morning", 6.9, 0.6, 0.95, (2.0, 4.5), ((1.0, 2050.0, 0, 1.0),)),
    Habit("coffee", 7.2, 0.7, 0.90, (5.0, 9.0), ((0.25, 1450.0, 0, 1.0), (0.75, 1300.0, 45, 0.18))),
    Habit("toaster", 7.3, 0.5, 0.55, (2.0, 3.5), ((1.0, 880.0, 0, 1.0),)),
    Habit("kettle/forenoon", 10.4, 1.2, 0.60, (2.0, 4.0), ((1.0, 2050.0, 0, 1.0),)),
    Habit("vacuum", 10.8, 2.0, 0.25, (12.0, 30.0), ((1.0, 720.0, 0, 1.0),)),
    Habit("hob/noon", 12.3, 0.7, 0.55, (15.0, 35.0), ((0.25, 2000.0, 0, 1.0), (0.75, 1800.0, 24, 0.35))),
    Habit("kettle/afternoon", 16.2, 1.0, 0.75, (2.0, 4.5), ((1.0, 2050.0, 0, 1.0),)),
    Habit(
        "washing machine",
        11.5,
        3.5,
        0.50,
        (70.0, 115.0),
        ((0.04, 60.0, 0, 1.0), (0.20, 2080.0, 0, 1.0), (0.62, 260.0, 22, 0.62), (0.14, 480.0, 70, 0.8)),
    ),
    Habit("hob/evening", 18.4, 0.9, 0.85, (20.0, 50.0), ((0.2, 2000.0, 0, 1.0), (0.8, 1800.0, 24, 0.40))),
    Habit("oven", 18.1, 0.8, 0.40, (35.0, 70.0), ((0.2, 2350.0, 0, 1.0), (0.8, 2350.0, 150, 0.34))),
    Habit("television", 19.6, 0.9, 0.90, (80.0, 200.0), ((1.0, 115.0, 0, 1.0),)),
    Habit(
        "dishwasher",
        20.3,
        1.0,
        0.70,
        (85.0, 120.0),
        ((0.1, 70.0, 0, 1.0), (0.18, 1950.0, 0, 1.0), (0.4, 75.0, 0, 1.0), (0.17, 1950.0, 0, 1.0)),
    ),
    Habit("kettle/evening", 21.2, 1.0, 0.50, (2.0, 4.5), ((1.0, 2050.0, 0, 1.0),)),
    Habit("car", 22.6, 1.3, 0.35, (70.0, 230.0), ((0.97, 3650.0, 0, 1.0), (0.03, 1300.0, 0, 1.0))),
)

_LONGEST = 4 * 3600  # no use lasts longer, so only uses of the day before can reach into a day


@dataclass(frozen=True)
class _Use:
    """One run of an appliance: seconds by the clock on the wall, and its habit."""

    start: int
    length: int
    habit: Habit
    scale: float


class Household:
    """The people of one home and their appliances."""

    def __init__(self, seed: int) -> None:
        self._base = 95.0 + 90.0 * pick(stream(seed, "load/size"), 0)
        self._people = 0.8 + 0.5 * pick(stream(seed, "load/size"), 1)
        self._fridge = stream(seed, "load/fridge")
        self._slow = stream(seed, "load/slow")
        self._fast = stream(seed, "load/fast")
        self._grain = stream(seed, "load/grain")
        self._habits = tuple((habit, stream(seed, f"load/{habit.name}")) for habit in HABITS)
        self._days: dict[int, tuple[_Use, ...]] = {}

    def load(self, seconds: Ints, wall: Ints) -> Floats:
        """Return the home's load in W, always above 0.

        `seconds` since 1970 UTC drive the noise; `wall`, the same instants by the clock on the wall,
        drive the habits. Both are contiguous, one second a step.
        """
        watts = self._base + self._lights(seconds, wall) + self._cold(seconds)
        first, end = int(wall[0]), int(wall[-1]) + 1
        for day in range((first - _LONGEST) // DAY - 1, (end - 1) // DAY + 2):
            for use in self._uses(day):
                if use.start < end and use.start + use.length > first:
                    low, high = max(use.start - first, 0), min(use.start + use.length - first, len(wall))
                    watts[low:high] += _draw(use, wall[low:high] - use.start)
        return np.maximum(watts * (1.0 + 0.006 * grain(self._grain, seconds)), 20.0)

    def _lights(self, seconds: Ints, wall: Ints) -> Floats:
        """Lamps and screens: little at night, some in the morning, most in the evening."""
        hour = (wall % DAY) / 3600.0
        evening = np.exp(-(((hour - 20.6) / 2.1) ** 2))
        morning = 0.5 * np.exp(-(((hour - 7.2) / 1.2) ** 2))
        day = 0.25 * np.exp(-(((hour - 13.5) / 4.5) ** 2))
        mood = 1.0 + 0.35 * smooth(self._slow, seconds, 2400.0) + 0.12 * smooth(self._fast, seconds, 50.0)
        return 260.0 * self._people * (evening + morning + day) * mood

    def _cold(self, seconds: Ints) -> Floats:
        """A fridge: on for a third of about three quarters of an hour, with the kick of its motor."""
        period = 2640
        cycle = seconds // period
        begin = (uniform(self._fridge, 2 * cycle) * 500.0).astype(np.int64)
        length = (780.0 + 340.0 * uniform(self._fridge, 2 * cycle + 1)).astype(np.int64)
        since = seconds % period - begin
        running = (since >= 0) & (since < length)
        return np.where(running, 82.0 + 14.0 * np.exp(-since / 240.0) + 420.0 * (since == 0), 0.0)

    def _uses(self, day: int) -> tuple[_Use, ...]:
        """Return the uses on the `day`th day since 1970 by the clock on the wall."""
        known = self._days.get(day)
        if known is None:
            plans = (_plan(habit, number, day) for habit, number in self._habits)
            known = tuple(use for use in plans if use is not None)
            if len(self._days) >= 8:
                self._days.clear()
            self._days[day] = known
        return known


def _plan(habit: Habit, number: int, day: int) -> _Use | None:
    """Return the day's use of a habit, or None on a day without it."""
    chance, when, when_2, length, scale = uniform(number, np.arange(5, dtype=np.int64) + 8 * day)
    if chance >= habit.chance:
        return None
    shortest, longest = habit.minutes
    offset = (when + when_2 - 1.0) * habit.spread
    return _Use(
        start=day * DAY + int((habit.hour + offset) * 3600),
        length=int(60 * (shortest + (longest - shortest) * length)),
        habit=habit,
        scale=0.94 + 0.12 * float(scale),
    )


def _draw(use: _Use, since: Ints) -> Floats:
    """Return the watts of one use at `since` seconds after its start."""
    watts = np.zeros(len(since))
    begin = 0.0
    for share, power, cycle, on in use.habit.phases:
        end = begin + share * use.length
        active = (since >= begin) & (since < end)
        if cycle:
            active &= (since % cycle) < on * cycle
        watts[active] = power * use.scale
        begin = end
    return watts
