"""Guesses the columns with values and their metrics: one metric for each column, or for each key of the rows.

A key is the cells of a row that name its series, such as a register. A column of the sample's `cells` is
called `c0`, `c1`, … by its position.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import Message, UnclearFile, UnusableProfile
from joulebook.telemetry.files.guess.columns import find_column
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
from joulebook.telemetry.files.profile import Target, ValueColumn
from joulebook.telemetry.files.series_table import metric_of
from joulebook.telemetry.files.table import BLANKS
from joulebook.telemetry.files.times import TimeFormat, parse_times
from joulebook.telemetry.kinds.units import usual_spelling
from joulebook.telemetry.readings import metric_name_problem

_MANY_REPEATS = 0.1
"""Share of rows with the time of an earlier row; from here on a key is looked for."""
_FEW_REPEATS = 0.02
"""Share of rows with the time and key of an earlier row; from here down the key is complete."""
_MOST_KEYS = 2000


def find_key_positions(sample: Sample) -> tuple[int, ...]:
    """Return the positions of a long file's key columns, given or guessed; none for a wide file.

    If the times look like those of several series but no key is clear, this adds a question for it. Raises
    `UnusableProfile` for a given column that is not in the file.
    """
    given = sample.given
    if given.key_columns or (given.layout == "wide" and not sample.hours):
        return tuple(
            sample.columns.index(find_column(name, sample.columns, setting="key_columns"))
            for name in given.key_columns
            if name
        )
    positions = _guess_key_positions(sample)
    if not positions and not sample.hours and given.layout is None:
        _ask_for_key(sample)
    return positions


def _guess_key_positions(sample: Sample) -> tuple[int, ...]:
    """Return the columns that tell rows with the same time apart; none if few times repeat, or no key fits.

    Of rows equal in every cell only one counts.
    """
    frame = sample.cells.with_columns(sample.time_text.alias("time"))
    frame = frame.filter(pl.col("time") != "").unique(maintain_order=True)
    rows = len(frame)
    repeats = _count_repeats(frame, ["time"])
    if rows < 4 or repeats < _MANY_REPEATS * rows:
        return ()
    candidates = _candidates(sample, frame)
    chosen: list[str] = []
    while repeats > _FEW_REPEATS * rows and candidates:
        repeats_with = {name: _count_repeats(frame, ["time", *chosen, name]) for name in candidates}
        best = min(candidates, key=lambda name: (repeats_with[name], frame[name].n_unique()))
        if repeats_with[best] > repeats // 2:
            break
        chosen.append(best)
        candidates.remove(best)
        repeats = repeats_with[best]
    return tuple(int(name[1:]) for name in chosen)


def _ask_for_key(sample: Sample) -> None:
    """Ask whether a column names the series of each row, if the times look like those of several series.

    The times of several sensors, listed one after the other, have no common step, or step back only in rows
    where the word in such a column changes.
    """
    parsed = parse_times(sample.time_text, tuple(TimeFormat(text) for text in sample.time_formats))
    steps = np.diff(parsed.wall[parsed.fits])
    if len(steps) < 3:
        return
    back = steps < 0
    if not back.any() and np.unique(steps, return_counts=True)[1].max() >= len(steps) / 2:
        return
    cells = sample.cells.filter(pl.Series(parsed.fits))
    for column in _candidates(sample, cells, least=3, only_text=True):
        words = cells[column].str.strip_chars(BLANKS)
        changes = (words != words.shift(1))[1:].fill_null(value=False).to_numpy()
        if back.any() and not changes[back].all():
            continue
        name = sample.columns[int(column[1:])]
        listed = sample.cells[column].unique(maintain_order=True).head(3).to_list()
        sample.ask(
            Question(
                "key_columns",
                f"the times are uneven, and column {name!r} holds words such as "
                f"{', '.join(map(repr, listed))}: does it say what each row measures?",
                Message(
                    " say so with {key_columns:{0!r}}, or that all rows are of one kind with {layout:wide}",
                    name,
                ),
                (
                    Answer(f"each word of {name!r} is a series of its own", {"key_columns": (name,)}),
                    Answer("all rows are of one kind", {"layout": "wide"}),
                ),
            )
        )
        return


def _count_repeats(frame: pl.DataFrame, names: Sequence[str]) -> int:
    """Return the number of rows equal to an earlier row in these columns."""
    return len(frame) - len(frame.select(names).unique())


def _candidates(sample: Sample, frame: pl.DataFrame, *, least: int = 1, only_text: bool = False) -> list[str]:
    """Return the possible key columns: filled, with few different values, each in `least` rows or more.

    They are columns of text, or if there are none and not `only_text`, of whole numbers of like length.
    """
    taken = sample.taken
    numbers = sample.numbers
    text: list[str] = []
    whole_numbers: list[str] = []
    for name in frame.columns:
        if name == "time" or int(name[1:]) in taken:
            continue
        column = frame[name].str.strip_chars(BLANKS)
        distinct = column.n_unique()
        most = max(2, min(_MOST_KEYS, len(frame) // (3 * least)))
        if not 2 <= distinct <= most or int((column == "").sum()) > 0.05 * len(column):
            continue
        (parsed,) = numbers.parse([column])
        if len(parsed.malformed) > len(column) // 2:
            text.append(name)
        elif bool(column.str.contains("^[0-9]+$").all()) and column.str.len_chars().n_unique() <= 2:
            whole_numbers.append(name)
    return text or ([] if only_text else whole_numbers)


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
                    Answer("leave them out", {"mapping": dict(mapping)}),
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
        sample.note("layout", "a key a row", "each key repeats the same times")
    if key_positions:
        listed = " + ".join(sample.columns[position] for position in key_positions)
        is_given = bool(sample.given.key_columns)
        sample.note("key", listed, "with it each time is unique", is_given=is_given)
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
            return [(tuple(map(str, key)), unit) for key, unit in pairs if any(key)][:_MOST_KEYS], at
    rows = cells.select(names).unique(maintain_order=True).iter_rows()
    return [(tuple(map(str, key)), None) for key in rows if any(key)][:_MOST_KEYS], None


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
    """Raise `UnclearFile` without values, and `UnusableProfile` for an invalid or repeated metric."""
    if not values:
        raise UnclearFile(
            Message(
                "no column beside the time holds numbers; check {delimiter} and {decimal}, "
                "or name a column with {mapping:COLUMN=METRIC}"
            )
        )
    for value in values:
        if problem := metric_name_problem(value.metric):
            raise UnusableProfile(
                Message(
                    "column {0!r} cannot become a metric: {1}; name one with {mapping:'{2}=METRIC'}",
                    value.column[:80],
                    problem,
                    value.column[:40],
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
        raise UnusableProfile(f"the columns {names} all map to the metric {double[0]!r}; give each its own")
