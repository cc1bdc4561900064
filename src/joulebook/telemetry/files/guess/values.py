"""Guesses the columns with values and their metrics: one metric for each column, or for each key of the rows.

A key is the cells of a row that name its series, such as a register. A column of the sample's `cells` is
called `c0`, `c1`, … by its position.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import Message, UnclearFile, UnusableProfile
from joulebook.telemetry.files.guess.columns import find_column
from joulebook.telemetry.files.guess.keys import MOST_KEYS
from joulebook.telemetry.files.guess.left_out import TEXT, why_no_metric
from joulebook.telemetry.files.guess.questions import Answer, Question, ReadingSetting
from joulebook.telemetry.files.guess.sample import Sample
from joulebook.telemetry.files.guess.units import (
    FoundUnit,
    find_units,
    note_units,
    smallest_unit,
    unit_positions,
)
from joulebook.telemetry.files.profile import ValueColumn
from joulebook.telemetry.files.series_table import metric_of
from joulebook.telemetry.files.settings import Target
from joulebook.telemetry.files.table import BLANKS
from joulebook.telemetry.kinds.units import usual_spelling


@dataclass(frozen=True)
class Choice:
    """The values of the profile; `ignored_keys` are the keys of a long file left out by a given mapping."""

    values: tuple[ValueColumn, ...]
    unit_column: str = ""
    ignored_keys: tuple[str, ...] = ()


def choose_values(sample: Sample, key_positions: Sequence[int]) -> Choice:
    """Return the values to import, each with its metric and unit, and add questions about them.

    A wide file has a value for each column; in the other layouts there is one for each key and column.
    Columns of numbers are imported, and named columns that are empty so far; columns of text are left out.
    A given mapping overrides this for the columns in it, and sets their units. In a long file, or with the
    hours across, it may name keys (their cells joined by one blank), guessed metrics, or columns. Other units
    are taken from the column of units, from beside the numbers, or from the column's name.

    Raises `UnclearFile` if there is nothing to import, and `UnusableProfile` for an unusable mapping or
    metric name.
    """
    if sample.hours or key_positions:
        return _choose_keyed(sample, key_positions)
    mapping = sample.given.mapping
    targets = _mapping_by_column(sample)
    others = [position for position in range(len(sample.columns)) if position not in sample.time_positions]
    units = unit_positions(sample, (at for at in others if sample.columns[at] not in targets))
    chosen, left_out = _choose_columns(sample, targets, [at for at in others if at not in units])
    found = find_units(sample, [sample.columns.index(column) for column in chosen], units)
    values = []
    for position, unit in found.items():
        column = sample.columns[position]
        values.append(_value(column, targets.get(column) or Target(metric_of((), column)), unit))
    of_units = {unit.unit_column: value.metric for value, unit in zip(values, found.values(), strict=True)}
    left_out += [(name, _unit_reason(of_units.get(name))) for name in (sample.columns[at] for at in units)]
    note_units(sample, zip(values, found.values(), strict=True))
    _check_metrics(values)
    _note_left_out(sample, left_out)
    text = [name for name, reason in left_out if reason.startswith(TEXT)]
    if text:
        with_text = {**mapping, **{name: Target(name) for name in text}}
        sample.ask(
            Question(
                "mapping",
                f"the columns {', '.join(map(repr, text[:10]))} hold text and are left out",
                Message("; import one with {mapping:COLUMN=METRIC}"),
                (
                    Answer("leave them out", {"mapping": {**mapping, **dict.fromkeys(text)}}),
                    Answer("import them, and list each cell without a number", {"mapping": with_text}),
                ),
                is_required=False,
            )
        )
    return Choice(tuple(values))


def _choose_keyed(sample: Sample, key_positions: Sequence[int]) -> Choice:
    """Return the values of a long file, or of one with the hours across."""
    mapping = sample.given.mapping
    keys, unit_position = _read_keys(sample, key_positions)
    if sample.hours:
        sample.note("layout", "hours across", "the names of columns are hours")
    else:
        sample.note("layout", "a key a row", "its columns name the series of each row")
    if key_positions:
        listed = " + ".join(sample.columns[position] for position in key_positions)
        is_given = bool(sample.given.key_columns)
        sample.note("key", listed, "it says what each row measures", is_given=is_given)
    used = {*sample.taken, *key_positions, *([] if unit_position is None else [unit_position])}
    others = [position for position in range(len(sample.columns)) if position not in used]
    if sample.hours:
        # There are no value columns beside the hours.
        chosen: list[str] = []
        left_out = [(sample.columns[at], "guessed: not an hour of the day") for at in others]
    else:
        chosen, left_out = _choose_columns(sample, mapping, others)
    found = find_units(sample, [sample.columns.index(column) for column in chosen], {})
    of_column = {sample.columns[position]: unit for position, unit in found.items()}
    values: list[ValueColumn] = []
    units: list[FoundUnit] = []
    ignored: list[str] = []
    names: set[str] = set()
    # For hours across without a key: a mapping could not tell a metric from a column of the same name.
    default_metric = "value" if "value" not in sample.columns else "value_2"
    for key, unit in keys or [((), None)]:
        label = " ".join(key)
        if label and mapping.get(label, Target(label)) is None:
            ignored.append(label)
            names.add(label)
            left_out.append((label, "given"))
            continue
        for column in chosen or [""]:
            metric = metric_of(key, column if len(chosen) > 1 else "") or default_metric
            target = mapping.get(metric) or mapping.get(label) or Target(metric)
            names |= {metric, label}
            units.append(unit or of_column.get(column, FoundUnit()))
            values.append(replace(_value(column, target, units[-1]), key=key))
    names |= set(sample.columns)
    for name in mapping:
        if name not in names:
            known = ", ".join(repr(known) for known in sorted(names - {""})[:30])
            raise UnusableProfile(
                Message("{mapping:{0!r}}: the file has no such key or column; it has {1}", name, known),
                setting="mapping",
            )
    if not chosen and not sample.hours:
        values = []
    else:
        note_units(sample, zip(values, units, strict=True))
    _check_metrics(values)
    _note_left_out(sample, left_out)
    unit_column = "" if unit_position is None else sample.columns[unit_position]
    return Choice(tuple(values), unit_column, tuple(ignored))


def _choose_columns(
    sample: Sample, mapping: Mapping[str, Target | None], positions: Sequence[int]
) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the value columns among these positions, and the others with the reason for leaving them out."""
    chosen: list[str] = []
    left_out: list[tuple[str, str]] = []
    for position in positions:
        column = sample.columns[position]
        if column in mapping:
            reason = "given" if mapping[column] is None else None
        else:
            check_budget()
            reason = why_no_metric(sample, position)
        if reason is None:
            chosen.append(column)
        else:
            left_out.append((column, reason))
    return chosen, left_out


def _read_keys(
    sample: Sample, positions: Sequence[int]
) -> tuple[Sequence[tuple[tuple[str, ...], FoundUnit | None]], int | None]:
    """Return the keys in the file's order, each with its unit, and the position of the column of units."""
    names = [f"c{position}" for position in positions]
    cells = sample.cells.select(pl.all().str.strip_chars(BLANKS))
    others = [at for at in range(len(sample.columns)) if at not in {*positions, *sample.taken}]
    for at in unit_positions(sample, others):
        words = cells.group_by(names, maintain_order=True).agg(pl.col(f"c{at}").unique(maintain_order=True))
        units = [smallest_unit([word for word in row[-1] if word]) for row in words.iter_rows()]
        # Each key measures one thing.
        if all(units):
            column = sample.columns[at]
            found = [
                FoundUnit(usual_spelling(unit), f"in the column {column!r}", unit) for unit in units if unit
            ]
            pairs = zip(words.select(names).iter_rows(), found, strict=True)
            return [(tuple(map(str, key)), unit) for key, unit in pairs if any(key)][:MOST_KEYS], at
    rows = cells.select(names).unique(maintain_order=True).iter_rows()
    return [(tuple(map(str, key)), None) for key in rows if any(key)][:MOST_KEYS], None


def _value(column: str, target: Target, found: FoundUnit) -> ValueColumn:
    """Return the values of a column: the units not named by the target are those of the file."""
    unit = target.unit or found.unit
    return ValueColumn(
        column, target.metric, unit, factor=target.factor, device=target.device, kind=target.kind,
        cell_unit=found.cell_unit, unit_column=found.unit_column,
    )  # fmt: skip


def _unit_reason(metric: str | None) -> str:
    return "guessed: holds units" + (f" of {metric!r}" if metric else "")


def _note_left_out(sample: Sample, left_out: Sequence[tuple[str, str]]) -> None:
    sample.settings += [ReadingSetting("left out", name, reason) for name, reason in left_out]


def _mapping_by_column(sample: Sample) -> Mapping[str, Target | None]:
    """Return the given mapping with the columns' names as the file writes them.

    Raises `UnusableProfile` for a column that is not in the file, or that holds the time.
    """
    found: dict[str, Target | None] = {}
    for name, target in sample.given.mapping.items():
        column = find_column(name, sample.columns, setting="mapping")
        if column in sample.time_columns:
            raise UnusableProfile(
                Message(
                    "{mapping:{0!r}}: this column holds the time; name another with {time_columns}", name
                ),
                setting="mapping",
            )
        found[column] = target
    return found


def _check_metrics(values: Sequence[ValueColumn]) -> None:
    """Raise `UnclearFile` without values, and `UnusableProfile` for a repeated metric."""
    if not values:
        raise UnclearFile(
            Message(
                "no column beside the time holds numbers; check {delimiter} and {decimal}, "
                "or name a column with {mapping:COLUMN=METRIC}"
            )
        )
    counts = Counter((value.device, value.metric) for value in values)
    double = [metric for (_, metric), count in counts.items() if count > 1]
    if double:
        names = ", ".join(
            repr(" ".join((value.column, *value.key)).strip())
            for value in values
            if value.metric == double[0]
        )
        raise UnusableProfile(
            Message(
                "the columns {0} all map to the metric {1!r}; give each its own with {mapping:COLUMN=METRIC}",
                names,
                double[0],
            ),
            setting="mapping",
        )
