"""Chooses the columns that are imported, and the metric of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import Message, UnclearFile, UnusableProfile
from joulebook.telemetry.files.guess.columns import find_column
from joulebook.telemetry.files.guess.numbers import is_unit, unit_in_name
from joulebook.telemetry.files.guess.questions import Account, Answer, Question
from joulebook.telemetry.files.numbers import NumberFormat
from joulebook.telemetry.files.profile import ImportProfile, Target, ValueColumn
from joulebook.telemetry.files.series_table import metric_of
from joulebook.telemetry.files.table import BLANKS, shown
from joulebook.telemetry.readings import metric_name_problem

TEXT = "guessed: text"
"""How the reason begins for which a column of text is left out."""


@dataclass(frozen=True)
class Choice:
    """The columns that are imported, and those (or the keys) that are not with the reason."""

    values: tuple[ValueColumn, ...]
    left_out: tuple[tuple[str, str], ...]
    ignored_keys: tuple[str, ...] = ()


def choose_values(
    cells: pl.DataFrame,
    columns: Sequence[str],
    time_columns: Sequence[str],
    *,
    named: Sequence[str],
    profile: ImportProfile,
    affixes: Mapping[str, str],
    mapping: Mapping[str, Target | None],
) -> Choice:
    """Return which columns of `cells` (`c0`, `c1`, …, named `columns`) become which metric.

    Columns of numbers do, and columns that are empty so far but have a name in the header (`named`);
    columns of text do not. `mapping` overrides that for the columns it names. Raises `UnclearFile`
    where nothing is left, and `UnusableProfile` for a mapping or a metric name that cannot be used. A
    unit is that of the mapping, or stands in the column's name or (`affixes`) beside its numbers.
    """
    numbers = NumberFormat.of(profile)
    asked = _resolved(mapping, columns, time_columns)
    values: list[ValueColumn] = []
    left_out: list[tuple[str, str]] = []
    for position, column in enumerate(columns):
        if column in time_columns:
            continue
        unit = affixes.get(f"c{position}", "") or unit_in_name(column)
        target = asked.get(column, Target(metric_of((), column), unit))
        reason = "given" if target is None else None
        if column not in asked:
            check_budget()
            reason = _text_reason(cells[f"c{position}"], numbers, is_named=bool(named[position]))
        if target is None or reason is not None:
            left_out.append((column, reason or "given"))
        else:
            values.append(_value(column, target))
    _check_metrics(values)
    return Choice(tuple(values), tuple(left_out))


def choose_keyed_values(
    cells: pl.DataFrame,
    columns: Sequence[str],
    profile: ImportProfile,
    *,
    keys: Keys,
    taken: Sequence[int],
    named: Sequence[str],
    affixes: Mapping[str, str],
    mapping: Mapping[str, Target | None],
) -> Choice:
    """Return the values of a long file, or of one with the hours across: one for each key and column.

    `mapping` names keys (their cells joined by one blank), metrics as they would be called, or columns.
    Raises what `choose_values` does.
    """
    numbers = NumberFormat.of(profile)
    left_out: list[tuple[str, str]] = []
    chosen: list[str] = []
    used = {*taken, *([] if keys.unit_position is None else [keys.unit_position])}
    for position, column in enumerate(columns):
        if position in used:
            continue
        reason = None
        if profile.hour_columns:
            reason = "guessed: no hour of the day"
        elif column in mapping:
            reason = "given" if mapping[column] is None else None
        else:
            check_budget()
            reason = _text_reason(cells[f"c{position}"], numbers, is_named=bool(named[position]))
        if reason is None:
            chosen.append(column)
        else:
            left_out.append((column, reason))
    found = keys.keys or (((), ""),)
    values: list[ValueColumn] = []
    ignored: list[str] = []
    names: set[str] = set()
    for key, unit in found:
        label = " ".join(key)
        if label and mapping.get(label, Target(label)) is None:
            ignored.append(label)
            names.add(label)
            left_out.append((label, "given"))
            continue
        for column in chosen or [""]:
            metric = metric_of(key, column if len(chosen) > 1 else "") or _title(columns)
            beside = affixes.get(f"c{columns.index(column)}", "") or unit_in_name(column) if column else ""
            target = mapping.get(metric) or mapping.get(label) or Target(metric, unit or beside)
            names |= {metric, label}
            values.append(replace(_value(column, target), key=key))
    _check_mapping(mapping, names | set(columns))
    if not chosen and not profile.hour_columns:
        values = []
    _check_metrics(values)
    return Choice(tuple(values), tuple(left_out), tuple(ignored))


def ask_about_text(choice: Choice, mapping: Mapping[str, Target | None], account: Account) -> None:
    """Ask, without waiting for an answer, whether columns of text are to be read as numbers after all."""
    text = [name for name, reason in choice.left_out if reason.startswith(TEXT)]
    if text:
        taken = {**mapping, **{name: Target(name) for name in text}}
        account.ask(
            Question(
                "mapping",
                f"the columns {', '.join(map(repr, text[:10]))} hold text and are left out",
                Message("; take one in with {mapping:COLUMN=METRIC}"),
                (
                    Answer("leave them out", {"mapping": dict(mapping)}),
                    Answer("take them in, and list each cell that is no number", {"mapping": taken}),
                ),
                is_required=False,
            )
        )


def _value(column: str, target: Target) -> ValueColumn:
    return ValueColumn(column, target.metric, target.unit, factor=target.factor, device=target.device)


def _title(columns: Sequence[str]) -> str:
    """Return the metric of a file with the hours across and no key."""
    return "value" if "value" not in columns else "value_2"


def _check_mapping(mapping: Mapping[str, Target | None], names: set[str]) -> None:
    for name in mapping:
        if name not in names:
            listed = ", ".join(repr(known) for known in sorted(names - {""})[:30])
            raise UnusableProfile(
                Message("{mapping:{0!r}}: the file has no such key or column; it has {1}", name, listed),
                setting="mapping",
            )


def _resolved(
    mapping: Mapping[str, Target | None], columns: Sequence[str], time_columns: Sequence[str]
) -> dict[str, Target | None]:
    resolved: dict[str, Target | None] = {}
    for name, target in mapping.items():
        column = find_column(name, columns, setting="mapping")
        if column in time_columns:
            raise UnusableProfile(
                Message(
                    "{mapping:{0!r}}: this column holds the time; name another with {time_columns}", name
                ),
                setting="mapping",
            )
        resolved[column] = target
    return resolved


def _text_reason(cells: pl.Series, numbers: NumberFormat, *, is_named: bool) -> str | None:
    """Return why a column is not imported unless asked for, or None where it is."""
    (parsed,) = numbers.parse([cells])
    malformed = len(parsed.malformed)
    readable = len(cells) - malformed - sum(parsed.na.values())
    if readable == malformed == 0:
        has_marks = bool(parsed.na_text.str.contains("[0-9]").any())
        return None if is_named or has_marks else "guessed: no name, and empty so far"
    if readable >= malformed:
        return "guessed: a long number that identifies something" if _is_identifier(cells) else None
    return f"{TEXT} such as {shown(parsed.malformed_text[0])[:30]!r}"


def _is_identifier(cells: pl.Series) -> bool:
    """Return whether all cells are the same few whole numbers, longer than any meter counts."""
    filled = cells.str.strip_chars(BLANKS).filter(cells.str.strip_chars(BLANKS) != "")
    return bool(filled.str.contains("^[0-9]{14,}$").all()) and filled.n_unique() <= max(1, len(filled) // 10)


def _check_metrics(values: Sequence[ValueColumn]) -> None:
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


_MANY_REPEATS = 0.1
_FEW_REPEATS = 0.02
_MOST_KEYS = 2000


@dataclass(frozen=True)
class Keys:
    """Positions of the key columns and of the unit's, and the keys (with a unit each) in the file's order."""

    positions: tuple[int, ...]
    unit_position: int | None
    keys: tuple[tuple[tuple[str, ...], str], ...]


def guess_key_positions(
    cells: pl.DataFrame, times: pl.Series, taken: Sequence[int], numbers: NumberFormat
) -> tuple[int, ...]:
    """Return the fewest columns with which each time stands once; empty where times do so by themselves.

    Rows that repeat another in every cell do not count. `taken` are the positions of the time columns.
    """
    frame = cells.with_columns(times.alias("time")).filter(pl.col("time") != "").unique(maintain_order=True)
    rows = len(frame)
    left = _repeats(frame, ["time"])
    if rows < 4 or left < _MANY_REPEATS * rows:
        return ()
    candidates = _candidates(frame, taken, numbers)
    chosen: list[str] = []
    while left > _FEW_REPEATS * rows and candidates:
        after = {name: _repeats(frame, ["time", *chosen, name]) for name in candidates}
        best = min(candidates, key=lambda name: (after[name], frame[name].n_unique()))
        if after[best] > left // 2:
            break
        chosen.append(best)
        candidates.remove(best)
        left = after[best]
    return tuple(int(name[1:]) for name in chosen)


def possible_key(
    cells: pl.DataFrame, wall: NDArray[np.int64], taken: Sequence[int], numbers: NumberFormat
) -> int | None:
    """Return a column that may tell series apart although no time stands twice; None where none does.

    It is a column of a few words in a file whose times do not run on evenly: they step back where the
    word changes, or follow no rhythm, as the times of several sensors do that are listed one by one.
    """
    steps = np.diff(wall)
    if len(steps) < 3 or not (back := steps < 0).any():
        even = len(steps) >= 3 and np.unique(steps, return_counts=True)[1].max() >= len(steps) / 2
        if len(steps) < 3 or even:
            return None
    for name in _candidates(
        cells.with_columns(pl.lit("").alias("time")), taken, numbers, least=3, only_text=True
    ):
        words = cells[name].str.strip_chars(BLANKS)
        changes = (words != words.shift(1))[1:].fill_null(value=False).to_numpy()
        if not back.any() or changes[back].all():
            return int(name[1:])
    return None


def read_keys(cells: pl.DataFrame, positions: Sequence[int], taken: Sequence[int]) -> Keys:
    """Return the keys of a long file with their units."""
    names = [f"c{position}" for position in positions]
    stripped = cells.select(pl.all().str.strip_chars(BLANKS))
    unit = _unit_column(stripped, names, taken)
    columns = [*names, *([unit] if unit else [])]
    found = stripped.select(columns).unique(names, keep="first", maintain_order=True)
    keys = [
        (tuple(row[: len(names)]), row[-1] if unit else "")
        for row in found.iter_rows()
        if any(row[: len(names)])
    ]
    return Keys(tuple(positions), None if unit is None else int(unit[1:]), tuple(keys[:_MOST_KEYS]))


def _repeats(frame: pl.DataFrame, names: Sequence[str]) -> int:
    return len(frame) - len(frame.select(names).unique())


def _candidates(
    frame: pl.DataFrame,
    taken: Sequence[int],
    numbers: NumberFormat,
    *,
    least: int = 1,
    only_text: bool = False,
) -> list[str]:
    """Return the columns that can be keys: filled, not too various, and text unless there is none."""
    text: list[str] = []
    whole: list[str] = []
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
            whole.append(name)
    return text or ([] if only_text else whole)


def _unit_column(cells: pl.DataFrame, keys: Sequence[str], taken: Sequence[int]) -> str | None:
    """Return the column whose cells are all units, and one unit a key."""
    for name in cells.columns:
        if name in keys or int(name[1:]) in taken:
            continue
        words = cells[name].unique()
        if 0 < len(words) <= 20 and all(is_unit(word) for word in words):
            pairs = len(cells.select([*keys, name]).unique())
            if pairs == len(cells.select(keys).unique()):
                return name
    return None
