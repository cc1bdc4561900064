"""The columns of an answer: the figures of each metric in the wanted unit, and the largest answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.kinds.settings import MetricSettings
from joulebook.telemetry.kinds.units import convert_factor_offset

Numbers = NDArray[np.float64]

MOST_NUMBERS = 2_000_000
"""Numbers in one answer: as text they are some 30 MB."""


class TooManyNumbers(Exception):
    """An answer would hold more than `MOST_NUMBERS`; the message says how to ask for fewer.

    `parameter` is the one to change.
    """

    def __init__(self, message: str, *, parameter: str = "max_points") -> None:
        super().__init__(message)
        self.parameter = parameter


def check_numbers(numbers: int, *, metrics: int, points: int) -> None:
    """Raise `TooManyNumbers` if an answer about these metrics and points has more numbers than allowed."""
    if numbers > MOST_NUMBERS:
        raise TooManyNumbers(
            f"{metrics:,} metrics in {points:,} points are {numbers:,} numbers or more, at most "
            f"{MOST_NUMBERS:,} are answered; ask for fewer metrics, or for max_points="
            f"{max(points * MOST_NUMBERS // numbers, 1)} or fewer"
        )


@dataclass(frozen=True)
class Wanted:
    """One series of an answer: its id, its metric's settings, and the unit of the answered values."""

    series_id: int
    settings: MetricSettings
    unit: str

    @property
    def metric(self) -> str:
        """The metric's name."""
        return self.settings.name

    def scale(self) -> tuple[float, float]:
        """Return the factor and then the offset from a stored value to one in `unit`.

        Raises `UnitProblem` if the metric's unit cannot be converted.
        """
        conversion = convert_factor_offset(self.settings.unit, self.unit)
        return self.settings.factor * conversion.factor, conversion.offset


class KindFigures(Protocol):
    """The figures of a column beside those of every kind, such as the rises of a counter."""

    @property
    def numbers(self) -> int:
        """How many numbers they are."""

    def scaled(self, factor: float, offset: float) -> KindFigures:
        """Return the figures of the values times `factor` plus `offset`."""

    def table(self) -> Sequence[tuple[str, NDArray[Any]]]:
        """Return the figures as columns of a table, each with its name."""

    def answer(self) -> Mapping[str, Any]:
        """Return the members of a JSON answer: arrays, or lists of objects holding arrays."""


@dataclass(frozen=True)
class Column:
    """One metric's values along the shared time axis.

    Raw: `value` (NaN if this metric has no reading at the instant); each instant begins a bucket, up to
    the next instant. Buckets: `mean`, `min` and `max` (NaN in an empty bucket), `count`, and
    `coverage`, the share of the bucket's requested time covered by readings. `more` are the figures of the
    metric's kind; a counter has them in raw columns, too.
    """

    wanted: Wanted
    value: Numbers | None = None
    mean: Numbers = field(default_factory=lambda: np.empty(0))
    min: Numbers = field(default_factory=lambda: np.empty(0))
    max: Numbers = field(default_factory=lambda: np.empty(0))
    count: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    coverage: Numbers = field(default_factory=lambda: np.empty(0))
    more: KindFigures | None = None

    @property
    def numbers(self) -> int:
        """How many numbers the column holds."""
        found = [self.mean, self.min, self.max, self.count, self.coverage]
        if self.value is not None:
            found.append(self.value)
        return sum(map(len, found)) + (self.more.numbers if self.more else 0)

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
            more=None if self.more is None else self.more.scaled(factor, offset),
        )
