"""What a correction does: its kind, its readings, and its numbers in the units of stored values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from joulebook.telemetry.readings import LARGEST_VALUE

MOST_POINTS = 1000
"""Instants of one correction; more are a range."""

MOST_FILLED = 1_000_000
"""Readings that one correction may fill in."""


class EditKind(StrEnum):
    """The kinds of corrections."""

    DELETE = "delete"
    SET = "set"
    """Every reading becomes one value."""
    SCALE = "scale"
    """Value × factor + offset."""
    SHIFT = "shift"
    """Readings move by a length of time, as from a wrong clock."""
    FILL = "fill"
    """New readings in a gap: one value, or on the line between their neighbours."""


@dataclass(frozen=True)
class SeriesEdit:
    """The numbers of an edit for one series: stored values, before the metric's factor."""

    metric: str
    value: float | None = None
    """Of `set` and `fill`; None fills along a line."""
    offset: float = 0.0
    """Of `scale`."""


@dataclass(frozen=True)
class Edit:
    """An edit of the readings of some series: of [start, end), or at `points` in it if there are any.

    Instants and lengths are in microseconds. `by` is the way of a shift, `step` the distance of filled
    readings.
    """

    kind: EditKind
    series: Mapping[int, SeriesEdit]
    start: int
    end: int
    points: tuple[int, ...] = ()
    factor: float = 1.0
    by: int = 0
    step: int = 0
    _order: tuple[int, ...] = field(init=False, default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_order", tuple(sorted(self.series)))

    @property
    def series_ids(self) -> tuple[int, ...]:
        """The series in the order in which they are edited."""
        return self._order

    def value_after(self, series_id: int, value: float) -> float:
        """Return the value of a reading after the edit: NaN if it is deleted.

        A result that no reading may have leaves the value as it was.
        """
        if self.kind is EditKind.DELETE:
            return math.nan
        own = self.series[series_id]
        if self.kind is EditKind.SET and own.value is not None:
            return own.value
        if self.kind is EditKind.SCALE:
            scaled = value * self.factor + own.offset
            return scaled if abs(scaled) <= LARGEST_VALUE else value
        return value

    def as_json(self) -> dict[str, Any]:
        """Return the edit for `from_json`."""
        return {
            "kind": self.kind.value,
            "series": {
                str(series_id): {"metric": own.metric, "value": own.value, "offset": own.offset}
                for series_id, own in self.series.items()
            },
            "start": self.start,
            "end": self.end,
            "points": list(self.points),
            "factor": self.factor,
            "by": self.by,
            "step": self.step,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Edit:
        """Return the edit of `as_json`."""
        return cls(
            kind=EditKind(stored["kind"]),
            series={int(series_id): SeriesEdit(**own) for series_id, own in stored["series"].items()},
            start=stored["start"],
            end=stored["end"],
            points=tuple(stored["points"]),
            factor=stored["factor"],
            by=stored["by"],
            step=stored["step"],
        )
