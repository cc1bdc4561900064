"""What became of the cells of one column of a file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from joulebook.telemetry.files.profile import ValueColumn


@dataclass
class ColumnReport:
    """What became of the cells of one column; `na` counts by what stood there ("" for an empty cell)."""

    column: str
    metric: str
    unit: str
    readable: int = 0
    stored: int = 0
    replaced: int = 0
    duplicate: int = 0
    conflict: int = 0
    na: Counter[str] = field(default_factory=Counter)
    malformed: Counter[str] = field(default_factory=Counter)
    device: str = ""
    """The device, where it is not that of the import."""

    def as_json(self) -> dict[str, Any]:
        """Return the counts as a JSON object."""
        return {
            "column": self.column,
            "metric": self.metric,
            "unit": self.unit,
            "stored": self.stored,
            "replaced": self.replaced,
            "duplicate": self.duplicate,
            "conflict": self.conflict,
            "na": self.na.total(),
            "na_by_text": dict(self.na),
            "malformed": self.malformed.total(),
        }

    def state(self) -> dict[str, Any]:
        """Return everything as a JSON object that `from_state` takes back."""
        return {**vars(self), "na": dict(self.na), "malformed": dict(self.malformed)}

    @classmethod
    def of(cls, value: ValueColumn) -> ColumnReport:
        """Return an empty account of what a column, or a key of it, holds."""
        name = " ".join((value.column, *value.key)).strip()
        return cls(name or value.metric, value.metric, value.unit, device=value.device)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ColumnReport:
        """Return the column that `state` described."""
        return cls(**{**state, "na": Counter(state["na"]), "malformed": Counter(state["malformed"])})
