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
from joulebook.telemetry.files.guess.numbers import is_unit, unit_in_name
from joulebook.telemetry.files.guess.questions import Answer, Question, ReadingSetting
from joulebook.telemetry.files.guess.sample import Sample
from joulebook.telemetry.files.numbers import NumberFormat
from joulebook.telemetry.files.profile import Target, ValueColumn
from joulebook.telemetry.files.series_table import metric_of
from joulebook.telemetry.files.table import BLANKS, shown

_TEXT = "guessed: text"
"""Beginning of the reason for leaving out a column of text."""


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
    numbers = sample.numbers
    values: list[ValueColumn] = []
    left_out: list[tuple[str, str]] = []
    for position, column in enumerate(sample.columns):
        if position in sample.time_positions:
            continue
        target = targets.get(column, Target(metric_of((), column), _unit_of(sample, position)))
        reason = "given" if target is None else None
        if column not in targets:
            check_budget()
            reason = _text_reason(
                sample.cells[f"c{position}"], numbers, is_named=bool(sample.names[position])
            )
        if target is None or reason is not None:
            left_out.append((column, reason or "given"))
        else:
            values.append(_value(column, target))
    _check_metrics(values)
    _note_left_out(sample, left_out)
    text = [name for name, reason in left_out if reason.startswith(_TEXT)]
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
    chosen, left_out = _choose_columns(sample, used)
    values: list[ValueColumn] = []
    ignored: list[str] = []
    names: set[str] = set()
    # For hours across without a key: a mapping could not tell a metric from a column of the same name.
    default_metric = "value" if "value" not in sample.columns else "value_2"
    for key, unit in keys or [((), "")]:
        label = " ".join(key)
        if label and mapping.get(label, Target(label)) is None:
            ignored.append(label)
            names.add(label)
            left_out.append((label, "given"))
            continue
        for column in chosen or [""]:
            metric = metric_of(key, column if len(chosen) > 1 else "") or default_metric
            column_unit = _unit_of(sample, sample.columns.index(column)) if column else ""
            target = mapping.get(metric) or mapping.get(label) or Target(metric, unit or column_unit)
            names |= {metric, label}
            values.append(replace(_value(column, target), key=key))
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
    _check_metrics(values)
    _note_left_out(sample, left_out)
    unit_column = "" if unit_position is None else sample.columns[unit_position]
    return Choice(tuple(values), unit_column, tuple(ignored))


def _choose_columns(sample: Sample, used: set[int]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the value columns of a long file, and the other columns with the reason for leaving them out.

    With the hours across there are no value columns beside the hours.
    """
    mapping = sample.given.mapping
    numbers = sample.numbers
    chosen: list[str] = []
    left_out: list[tuple[str, str]] = []
    for position, column in enumerate(sample.columns):
        if position in used:
            continue
        reason = None
        if sample.hours:
            reason = "guessed: not an hour of the day"
        elif column in mapping:
            reason = "given" if mapping[column] is None else None
        else:
            check_budget()
            reason = _text_reason(
                sample.cells[f"c{position}"], numbers, is_named=bool(sample.names[position])
            )
        if reason is None:
            chosen.append(column)
        else:
            left_out.append((column, reason))
    return chosen, left_out


def _read_keys(
    sample: Sample, positions: Sequence[int]
) -> tuple[list[tuple[tuple[str, ...], str]], int | None]:
    """Return the keys in the file's order, each with its unit, and the position of the column of units."""
    names = [f"c{position}" for position in positions]
    stripped = sample.cells.select(pl.all().str.strip_chars(BLANKS))
    unit = None
    for name in stripped.columns:
        if name in names or int(name[1:]) in sample.taken:
            continue
        words = stripped[name].unique()
        if 0 < len(words) <= 20 and all(is_unit(word) for word in words):
            pairs = len(stripped.select([*names, name]).unique())
            # A column of units has one unit for each key.
            if pairs == len(stripped.select(names).unique()):
                unit = name
                break
    columns = [*names, *([unit] if unit else [])]
    found = stripped.select(columns).unique(names, keep="first", maintain_order=True)
    keys = [
        (tuple(row[: len(names)]), row[-1] if unit else "")
        for row in found.iter_rows()
        if any(row[: len(names)])
    ]
    return keys[:MOST_KEYS], None if unit is None else int(unit[1:])


def _unit_of(sample: Sample, position: int) -> str:
    """Return the unit beside a column's numbers, or else in its name; empty for none."""
    return sample.affixes.get(f"c{position}", "") or unit_in_name(sample.columns[position])


def _value(column: str, target: Target) -> ValueColumn:
    return ValueColumn(column, target.metric, target.unit, factor=target.factor, device=target.device)


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


def _text_reason(cells: pl.Series, numbers: NumberFormat, *, is_named: bool) -> str | None:
    """Return why a column without a mapping is left out, or None if it is imported."""
    (parsed,) = numbers.parse([cells])
    malformed = len(parsed.malformed)
    readable = len(cells) - malformed - sum(parsed.na.values())
    if readable == malformed == 0:
        # A number can mark a missing value, such as -9999.
        has_marks = bool(parsed.na_text.str.contains("[0-9]").any())
        return None if is_named or has_marks else "guessed: no name, and empty so far"
    if readable < malformed:
        return f"{_TEXT} such as {shown(parsed.malformed_text[0])[:30]!r}"
    # Only a few different whole numbers, each longer than any register.
    filled = cells.str.strip_chars(BLANKS).filter(cells.str.strip_chars(BLANKS) != "")
    is_long = filled.str.contains("^[0-9]{14,}$").all()
    if is_long and filled.n_unique() <= max(1, len(filled) // 10):
        return "guessed: a long number, probably an identifier"
    return None


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
