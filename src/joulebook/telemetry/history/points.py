"""An answer's points in columns, and their values in the unit that was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.kinds.guesses import COUNTER, STATE
from joulebook.telemetry.kinds.settings import MetricSettings
from joulebook.telemetry.kinds.units import convert_factor_offset

Numbers = NDArray[np.float64]

MOST_STATES = 20
"""Of a state with more values than these, the others are not told apart."""

MOST_NUMBERS = 2_000_000
"""Numbers in one answer: as text they are some 30 MB."""

_USUAL_NUMBERS = 5
_NUMBERS_OF_A_COUNTER = 8


class TooManyNumbers(Exception):
    """An answer would hold more than `MOST_NUMBERS`; the message says what to ask for instead.

    `parameter` is the one that makes them so many.
    """

    def __init__(self, message: str, *, parameter: str = "max_points") -> None:
        super().__init__(message)
        self.parameter = parameter


def check_numbers(numbers: int, *, metrics: int, points: int) -> None:
    """Raise `TooManyNumbers` where an answer about so many metrics and points has more than it may."""
    if numbers > MOST_NUMBERS:
        raise TooManyNumbers(
            f"{metrics:,} metrics in {points:,} points are {numbers:,} numbers or more, at most "
            f"{MOST_NUMBERS:,} are answered; ask for fewer metrics, or for max_points="
            f"{max(points * MOST_NUMBERS // numbers, 1)} or fewer"
        )


@dataclass(frozen=True)
class Wanted:
    """One series that an answer is about: its id, what it means, and the unit that its values come in."""

    series_id: int
    settings: MetricSettings
    unit: str

    @property
    def metric(self) -> str:
        """The metric's name."""
        return self.settings.name

    @property
    def least_numbers(self) -> int:
        """How many numbers a bucket of it has in an answer, beside the shares of a state's values."""
        return _NUMBERS_OF_A_COUNTER if self.settings.kind == COUNTER else _USUAL_NUMBERS

    @property
    def most_numbers(self) -> int:
        """How many numbers a bucket of it may have in an answer."""
        return self.least_numbers + (MOST_STATES if self.settings.kind == STATE else 0)

    def scale(self) -> tuple[float, float]:
        """Return what turns a stored value into one in `unit`: a factor, then an offset.

        Raises `UnitProblem` where the metric's unit cannot be converted.
        """
        conversion = convert_factor_offset(self.settings.unit, self.unit)
        return self.settings.factor * conversion.factor, conversion.offset


@dataclass(frozen=True)
class StateShare:
    """In which share of each bucket's covered time a state was `value`; NaN where nothing is covered."""

    value: float
    share: Numbers


@dataclass(frozen=True)
class Column:
    """One metric's values along the shared time axis.

    Raw: `value` (NaN where this metric has no reading at that instant); each instant begins a bucket that
    ends with the next. Buckets: `mean`, `min` and `max`
    (NaN where a bucket is empty), `count`, and `coverage`, the share of the asked time of the bucket that
    readings cover, and of a state `states`. Of a counter, raw or not, also `increase`, `unallocated` and
    `resets`.
    """

    wanted: Wanted
    value: Numbers | None = None
    mean: Numbers = field(default_factory=lambda: np.empty(0))
    min: Numbers = field(default_factory=lambda: np.empty(0))
    max: Numbers = field(default_factory=lambda: np.empty(0))
    count: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    coverage: Numbers = field(default_factory=lambda: np.empty(0))
    increase: Numbers | None = None
    unallocated: Numbers | None = None
    resets: NDArray[np.int64] | None = None
    states: list[StateShare] | None = None

    @property
    def numbers(self) -> int:
        """How many numbers it holds."""
        plain = (self.mean, self.min, self.max, self.count, self.coverage)
        others = (self.value, self.increase, self.unallocated, self.resets)
        found = [*plain, *(each for each in others if each is not None)]
        return sum(map(len, found)) + sum(len(each.share) for each in self.states or ())

    def scaled(self) -> Column:
        """Return the column with stored values turned into the wanted unit."""
        factor, offset = self.wanted.scale()
        if (factor, offset) == (1.0, 0.0):
            return self
        low, high = (self.min, self.max) if factor >= 0 else (self.max, self.min)
        return replace(
            self,
            value=None if self.value is None else self.value * factor + offset,
            mean=self.mean * factor + offset,
            min=low * factor + offset,
            max=high * factor + offset,
            increase=None if self.increase is None else self.increase * factor,
            unallocated=None if self.unallocated is None else self.unallocated * factor,
            states=None
            if self.states is None
            else [StateShare(each.value * factor + offset, each.share) for each in self.states],
        )


@dataclass(frozen=True)
class Points:
    """A range of readings as points: `time` is each bucket's start, or each reading's instant."""

    resolution: str
    source: str
    time: NDArray[np.int64]
    columns: list[Column]
