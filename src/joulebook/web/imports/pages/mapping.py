"""The mapping of a draft: which column or key of the file goes to which metric of which device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from joulebook.telemetry.csv_format import unguarded
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.guess.numbers import unit_in_name
from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
from joulebook.telemetry.readings import metric_name_problem
from joulebook.web.imports.pages.entry import MappedRow, RowKey, row_text

_LONGEST_UNIT = 32


@dataclass
class MappingRow:
    """A column or key of the file, and what becomes of it; the texts are as entered, or as guessed."""

    column: str
    key: tuple[str, ...]
    is_on: bool
    metric: str
    unit: str
    factor: str = "1"
    device: str = ""
    reason: str = ""
    """Why it is not imported unless somebody says so."""
    problem: str = ""

    @property
    def name(self) -> RowKey:
        """Return what tells the rows of one file apart."""
        return self.column, self.key

    @property
    def text(self) -> str:
        """Return how the form writes the name."""
        return row_text(self.name)

    @property
    def label(self) -> str:
        """Return how people call it: the key, and the column where one key has several."""
        return " · ".join(filter(None, (self.column, *self.key))) or "all values"


def mapping_rows(layout: FileLayout, entered: Mapping[RowKey, MappedRow]) -> list[MappingRow]:
    """Return the columns or keys of a file, as guessed and then as entered."""
    rows = _of_layout(layout)
    for row in rows:
        if (mapped := entered.get(row.name)) is not None:
            row.is_on = mapped.is_on
            row.metric, row.unit = mapped.texts["metric"], mapped.texts["unit"]
            row.factor, row.device = mapped.texts["factor"], mapped.texts["device"]
        row.problem = _problem(row) if row.is_on else ""
    _mark_twins(rows)
    return rows


def mapped_profile(
    profile: ImportProfile, rows: Sequence[MappingRow], *, takes_new_keys: bool
) -> ImportProfile:
    """Return the profile with the values that the rows say; rows with a problem are left as guessed."""
    values = tuple(_value(row) for row in rows if row.is_on and not row.problem)
    if profile.layout == "wide":
        return replace(profile, values=values)
    kept = {value.key for value in values}
    off = [row for row in rows if not row.is_on]
    gone = dict.fromkeys(" ".join(row.key) for row in off if row.key not in kept)
    # A key of which one column is left out would come back as a new one.
    is_parted = any(row.key in kept for row in off)
    return replace(
        profile,
        values=values,
        ignored_keys=tuple(dict.fromkeys((*profile.ignored_keys, *gone))),
        new_keys="import" if takes_new_keys and not is_parted else "ignore",
    )


def _of_layout(layout: FileLayout) -> list[MappingRow]:
    profile = layout.profile
    rows = {
        (value.column, value.key): MappingRow(
            value.column, value.key, True, value.metric, value.unit, f"{value.factor:.15g}", value.device
        )
        for value in profile.values
    }
    if profile.layout != "wide":
        return list(rows.values())
    reasons = {each.value: each.reason for each in layout.settings if each.name == "left out"}
    others: dict[RowKey, MappingRow] = {
        (column, ()): MappingRow(
            column, (), False, unguarded(column), unit_in_name(column),
            reason=reasons.get(column, "not in the profile").removeprefix("guessed: "),
        )
        for column in layout.columns
        if column not in profile.time_columns
    }  # fmt: skip
    return list({**others, **rows}.values())


def _problem(row: MappingRow) -> str:
    """Return what is wrong with what was entered, or nothing."""
    if problem := metric_name_problem(row.metric):
        return problem
    if len(row.unit) > _LONGEST_UNIT or not row.unit.isprintable():
        return f"a unit has at most {_LONGEST_UNIT} printable characters"
    factor = _factor(row.factor)
    if not math.isfinite(factor) or not 1e-12 <= abs(factor) <= 1e12:
        return f"factor {row.factor[:40]!r} is no number from 1e-12 to 1e12; write it like 0.001"
    return ""


def _factor(text: str) -> float:
    try:
        return float((text or "1").replace(",", ".").replace("\u2212", "-"))
    except ValueError:
        return math.nan


def _mark_twins(rows: Sequence[MappingRow]) -> None:
    """Mark rows that would write to the metric of another row."""
    seen: dict[tuple[str, str], MappingRow] = {}
    for row in rows:
        if not row.is_on or row.problem:
            continue
        first = seen.setdefault((row.device, row.metric), row)
        if first is not row:
            row.problem = f"{first.label[:80]!r} goes to the metric {row.metric!r} already; give each its own"


def _value(row: MappingRow) -> ValueColumn:
    return ValueColumn(row.column, row.metric, row.unit, row.key, _factor(row.factor), row.device)
