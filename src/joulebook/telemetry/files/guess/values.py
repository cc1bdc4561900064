"""Chooses the columns that are imported, and the metric of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from joulebook.telemetry.files.errors import UnclearFile, UnusableProfile
from joulebook.telemetry.files.guess.columns import find_column
from joulebook.telemetry.files.numbers import NumberFormat
from joulebook.telemetry.files.profile import Target, ValueColumn
from joulebook.telemetry.files.table import shown
from joulebook.telemetry.readings import metric_name_problem


@dataclass(frozen=True)
class Choice:
    """The columns that are imported, and those that are not with the reason."""

    values: tuple[ValueColumn, ...]
    left_out: tuple[tuple[str, str], ...]


def choose_values(
    cells: pl.DataFrame,
    columns: Sequence[str],
    time_columns: Sequence[str],
    *,
    named: Sequence[str],
    numbers: NumberFormat,
    mapping: Mapping[str, Target | None],
) -> Choice:
    """Return which columns of `cells` (`c0`, `c1`, …, named `columns`) become which metric.

    Columns of numbers do, and columns that are empty so far but have a name in the header (`named`);
    columns of text do not. `mapping` overrides that for the columns it names. Raises `UnclearFile`
    where nothing is left, and `UnusableProfile` for a mapping or a metric name that cannot be used.
    """
    asked = _resolved(mapping, columns, time_columns)
    values: list[ValueColumn] = []
    left_out: list[tuple[str, str]] = []
    for position, column in enumerate(columns):
        if column in time_columns:
            continue
        target = asked.get(column, Target(column))
        reason = "given" if target is None else None
        if column not in asked:
            reason = _text_reason(cells[f"c{position}"], numbers, is_named=bool(named[position]))
        if target is None or reason is not None:
            left_out.append((column, reason or "given"))
        else:
            values.append(ValueColumn(column, target.metric, target.unit))
    if not values:
        raise UnclearFile(
            "no column beside the time holds numbers; check --delimiter and --decimal, "
            "or name a column with --map COLUMN=METRIC"
        )
    _check_metrics(values)
    return Choice(tuple(values), tuple(left_out))


def _resolved(
    mapping: Mapping[str, Target | None], columns: Sequence[str], time_columns: Sequence[str]
) -> dict[str, Target | None]:
    resolved: dict[str, Target | None] = {}
    for name, target in mapping.items():
        column = find_column(name, columns, option="--map")
        if column in time_columns:
            raise UnusableProfile(
                f"--map {name!r}: this column holds the time; name another with --time-column"
            )
        resolved[column] = target
    return resolved


def _text_reason(cells: pl.Series, numbers: NumberFormat, *, is_named: bool) -> str | None:
    """Return why a column is not imported unless asked for, or None where it is."""
    (parsed,) = numbers.parse([cells])
    malformed = len(parsed.malformed)
    readable = len(cells) - malformed - sum(parsed.na.values())
    if readable == malformed == 0:
        return None if is_named else "guessed: no name, and empty so far"
    if readable >= malformed:
        return None
    return f"guessed: text such as {shown(parsed.malformed_text[0])[:30]!r}"


def _check_metrics(values: Sequence[ValueColumn]) -> None:
    for value in values:
        if problem := metric_name_problem(value.metric):
            raise UnusableProfile(
                f"column {value.column[:80]!r} cannot become a metric: {problem}; "
                f"name one with --map '{value.column[:40]}=METRIC'"
            )
    double = [metric for metric, count in Counter(value.metric for value in values).items() if count > 1]
    if double:
        names = ", ".join(repr(value.column) for value in values if value.metric == double[0])
        raise UnusableProfile(f"the columns {names} all map to the metric {double[0]!r}; give each its own")
