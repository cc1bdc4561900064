"""Guesses from their values whether columns of energy and the like are amounts per interval or registers.

The names alone say the same of both: `Volume [kWh]` may be a meter's register, or the energy of each quarter
hour. A register rises and is rarely reset; an amount rises and falls at will.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import Message
from joulebook.telemetry.files.guess.questions import Answer, Question
from joulebook.telemetry.files.guess.sample import Sample
from joulebook.telemetry.files.guess.units import note_by_reason
from joulebook.telemetry.files.profile import ValueColumn
from joulebook.telemetry.files.table import BLANKS
from joulebook.telemetry.kinds.guesses import guess_kind, is_unit_of_registers, says_nothing
from joulebook.telemetry.kinds.kinds import COUNTER

_LEAST_CHANGES = 8
"""Changes of a column that its values are judged by."""

_AT_WILL = 0.25
"""Share of falls among the changes, and of rises: the rows of a file may go back in time."""

_MOST_LISTED = 5
_MOST_ROWS = 50_000


def settle_kinds(
    sample: Sample, values: Sequence[ValueColumn], key_positions: Sequence[int], unit_column: str
) -> tuple[ValueColumn, ...]:
    """Return the values with their kinds, as far as their numbers and units show them, or a person said.

    If some are probably amounts per interval, this adds a question about them; until it is answered they are.
    """
    candidates = {at for at, value in enumerate(values) if not value.kind and _may_be_register(value)}
    falling, rising, few = set(), set(), set()
    for at, numbers in _numbers_of(sample, values, key_positions, unit_column, candidates):
        changes = np.diff(numbers[np.isfinite(numbers)])
        changes = changes[changes != 0]
        falls = int((changes < 0).sum())
        if len(changes) < _LEAST_CHANGES:
            # A unit of energy that the name does not show: the metric would be a level.
            if says_nothing(guess_kind(values[at].metric)):
                few.add(at)
        elif min(falls, len(changes) - falls) >= _AT_WILL * len(changes):
            falling.add(at)
        elif falls in {0, len(changes)}:
            rising.add(at)
    # A column with few changes is like its neighbours in the same unit: exports of zero are amounts, too.
    units = {values[at].unit for at in falling} - {values[at].unit for at in rising}
    falling |= {at for at in candidates - falling - rising if values[at].unit in units}
    if falling:
        _ask(sample, [values[at] for at in sorted(falling)])
    found, reasons = list(values), {}
    for at in rising | (few - falling):
        reasons[at] = "its unit is one of energy" if at in few else "its values only rise"
        found[at] = replace(found[at], kind="counter")
    for at in falling:
        reasons[at] = "its values rise and fall"
        found[at] = replace(found[at], kind="counter" if sample.given.amounts == "no" else "amount")
    note_by_reason(
        sample,
        "kinds",
        (
            (f"{value.metric}: {value.shown_kind}", reasons.get(at) or _reason(value))
            for at, value in enumerate(found)
        ),
    )
    return tuple(found)


def _reason(value: ValueColumn) -> str:
    return "given" if value.kind else guess_kind(value.metric).why


def _may_be_register(value: ValueColumn) -> bool:
    guess = guess_kind(value.metric)
    return guess.kind is COUNTER or (says_nothing(guess) and is_unit_of_registers(value.unit))


def _ask(sample: Sample, falling: Sequence[ValueColumn]) -> None:
    names = list(dict.fromkeys(value.metric for value in falling))
    listed = ", ".join(map(repr, names[:_MOST_LISTED])) + (", …" if len(names) > _MOST_LISTED else "")
    if sample.given.amounts is not None:
        sample.note("amounts", sample.given.amounts, "", is_given=True)
        return
    sample.note("amounts", "yes", f"the values of {listed} rise and fall")
    sample.ask(
        Question(
            "amounts",
            f"the values of {listed} rise and fall, so they are taken as amounts, each of one interval",
            Message("; if they are registers of meters, say {amounts:no}"),
            (
                Answer("amounts: what flowed in each interval", {"amounts": "yes"}),
                Answer("registers of meters", {"amounts": "no"}),
            ),
            is_required=False,
        )
    )


def _numbers_of(
    sample: Sample,
    values: Sequence[ValueColumn],
    key_positions: Sequence[int],
    unit_column: str,
    wanted: set[int],
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield the numbers in the sample of each of the wanted values, in the order of the file."""
    cells = sample.cells.head(_MOST_ROWS)
    key = pl.Series("key", [""] * len(cells))
    if key_positions:
        parts = [pl.col(f"c{position}").str.strip_chars(BLANKS) for position in key_positions]
        key = cells.select(pl.concat_str(parts, separator="\0").alias("key"))["key"]
    of_column: dict[tuple[str, str], NDArray[np.float64]] = {}
    rows = {name: row.to_numpy() for (name,), row in _rows_by(key)}
    for at, value in enumerate(values):
        if at not in wanted:
            continue
        check_budget()
        read = value.column, value.cell_unit
        if read not in of_column:
            of_column[read] = _read(sample, cells, value, unit_column)
        mine = rows.get("\0".join(value.key))
        if mine is not None:
            yield at, of_column[read][mine].reshape(-1)


def _rows_by(key: pl.Series) -> Iterator[tuple[tuple[str], pl.Series]]:
    """Yield each key with the indices of its rows."""
    grouped = pl.DataFrame({"key": key, "row": np.arange(len(key))}).group_by("key", maintain_order=True)
    for name, rows in grouped:
        yield (str(name[0]),), rows["row"]


def _read(sample: Sample, cells: pl.DataFrame, value: ValueColumn, unit_column: str) -> NDArray[np.float64]:
    """Return the numbers of a column by row; with the hours across (no column) those of all hours, by row."""
    names = [value.column] if value.column else [hour.column for hour in sample.hours]
    found = [cells[f"c{sample.columns.index(name)}"] for name in names]
    units = sample.units_of(value.cell_unit, value.unit_column or unit_column, rows=len(cells))
    parsed = sample.numbers.parse(found, [units] * len(found))
    return np.stack([numbers.value for numbers in parsed], axis=1)
