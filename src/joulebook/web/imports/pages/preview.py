"""The first rows of a draft as a table: what stands in the file, and what would be stored of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import tzinfo

from joulebook.telemetry.files.preview import Preview, PreviewRow
from joulebook.telemetry.files.profile import ValueColumn
from joulebook.telemetry.readings import from_microseconds
from joulebook.time_zones import ZoneInfo
from joulebook.web.imports.pages.words import problem_words

_MOST_IN_A_CELL = 4


@dataclass(frozen=True)
class Cell:
    """What a cell would become: a number, nothing, or a problem in words with the text that caused it."""

    text: str = ""
    problem: str = ""


@dataclass(frozen=True)
class TableRow:
    """One row: its line, the text of it, the time as it is read, its cells; or why it is refused."""

    line: int
    text: str
    time: str
    cells: list[Cell] = field(default_factory=list)
    problem: str = ""
    problem_text: str = ""


@dataclass(frozen=True)
class PreviewTable:
    """The first rows, the metrics above their cells, and the lines above the data.

    Where rows hold one reading each, or those of a whole day, there is one column for them, and
    `values` is empty.
    """

    tz: str
    values: Sequence[ValueColumn]
    rows: list[TableRow]
    lines_above: list[str]


def preview_table(shown: Preview, *, tz: str, is_wide: bool) -> PreviewTable:
    """Return a preview as a table whose times are written in the zone `tz`."""
    make = _wide_row if is_wide else _other_row
    rows = [make(row, shown.values, ZoneInfo(tz)) for row in shown.rows]
    return PreviewTable(tz, shown.values if is_wide else (), rows, shown.lines_above)


def _wide_row(row: PreviewRow, values: Sequence[ValueColumn], tz: tzinfo) -> TableRow:
    numbers = {index: value for index, _, value in row.readings}
    troubles = {problem.column: problem for problem in row.problems}
    if (refused := troubles.get(None)) is not None:
        return TableRow(row.line, row.text, "", [], problem_words(refused.code), refused.text)
    cells = []
    for index, column in enumerate(values):
        if index in numbers:
            cells.append(Cell(_number(numbers[index])))
        elif (problem := troubles.get(column.column)) is not None:
            cells.append(Cell(problem.text, problem_words(problem.code)))
        else:
            cells.append(Cell())
    time = _written(row.readings[0][1], tz) if row.readings else ""
    return TableRow(row.line, row.text, time, cells)


def _other_row(row: PreviewRow, values: Sequence[ValueColumn], tz: tzinfo) -> TableRow:
    refused = next((problem for problem in row.problems if problem.column is None), None)
    if refused is not None:
        return TableRow(row.line, row.text, "", [], problem_words(refused.code), refused.text)
    cells = [Cell(problem.text, problem_words(problem.code)) for problem in row.problems]
    for index, time, value in row.readings[:_MOST_IN_A_CELL]:
        column = values[index]
        clock = f"{from_microseconds(time).astimezone(tz):%H:%M} " if len(row.readings) > 1 else ""
        cells.append(Cell(f"{clock}{column.metric}: {_number(value)} {column.unit}".strip()))
    if (more := len(row.readings) - _MOST_IN_A_CELL) > 0:
        cells.append(Cell(f"and {more} more"))
    first = _written(row.readings[0][1], tz) if row.readings else ""
    return TableRow(row.line, row.text, first, cells)


def _number(value: float) -> str:
    return f"{value:.15g}"


def _written(time: int, tz: tzinfo) -> str:
    """Write an instant with its offset, which tells the two passes of a doubled hour apart."""
    moment = from_microseconds(time).astimezone(tz)
    seconds = "milliseconds" if moment.microsecond else "seconds"
    text = moment.isoformat(" ", seconds)
    return f"{text[:-6]} {text[-6:]}"
