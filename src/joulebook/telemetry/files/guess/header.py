"""Finds the header line and the first data line among what a logger writes above its data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from joulebook.telemetry.files.guess.hours import find_hours
from joulebook.telemetry.files.guess.sample import SampleRow

_NUMBER = re.compile(r"[+-]?[0-9]*[.,]?[0-9]+(?:[eE][+-]?[0-9]+)?")
# TS and RN are what Campbell loggers write under a time stamp and a record number.
_UNIT = re.compile(
    r"""\[.{0,12}\] | \(.{0,12}\) | [%°]\ ?[CF]? | [kMG]?(?:W|Wh|VA|VAh|var|varh|V|A|J|Pa|Hz|ohm)
    | [mcdµu]?(?:m|s|V|A|g|l) | h | hPa | mbar | bar | °?C | K | [dD]eg | k?m/[sh] | m3 | m³ | W/m\^?[2²]
    | TS | RN
    | [dDmMyYhHsS./:\ -]{8,}(?:tt)?""",
    re.VERBOSE,
)
_COMMENTS = ("#", "%", "//", "*")
_FEWEST_NAMES = 4
"""A header names at least one of so many columns."""

_TOGETHER = 3
"""So many rows in a row (or all there are) must look like data where the data begin."""


@dataclass(frozen=True)
class Heading:
    """Where the header and the data of a file begin; the columns' names, "" where the header has none."""

    header_line: int | None
    first_data_line: int
    names: tuple[str, ...]


def find_first_data_row(flags: Sequence[bool]) -> int | None:
    """Return the index of the first row with which data begin, or None where no row looks like data."""
    for index in range(len(flags)):
        following = flags[index : index + _TOGETHER]
        if all(following):
            return index
    return flags.index(True) if any(flags) else None


def find_heading(
    rows: Sequence[SampleRow],
    first_data: int,
    *,
    header: SampleRow | None = None,
    is_without: bool = False,
    times: Sequence[int] = (0,),
) -> Heading:
    """Return the heading of a file whose data begin with the row `first_data`.

    `times` are the positions of the time columns. The `header` may be known, or known not to be
    (`is_without`). Else it is, of the rows above the data, the one with the most different names that are
    neither numbers nor units; of equals the last that names the time, or else the first.
    """
    width = _usual_width(rows[first_data:])
    if header is None and not is_without:
        above = rows[:first_data]
        scores = [_name_count(row, width) if _may_head(row, width, len(times)) else 0 for row in above]
        if scores and max(scores) > 0:
            header = _best_header(above, scores, times[0])
    cells = () if header is None else header.cells
    names = (*cells, *[""] * (width - len(cells)))
    above_data = rows[:first_data] if header is None else rows[rows.index(header) + 1 : first_data]
    first = next((row for row in above_data if _is_spoilt_data(row, width)), rows[first_data])
    return Heading(None if header is None else header.line, first.line, names)


def _usual_width(rows: Sequence[SampleRow]) -> int:
    """Return the number of cells that most rows have; of equally common ones the greater."""
    lengths = Counter(len(row.cells) for row in rows)
    return max(lengths.items(), key=lambda item: (item[1], item[0]))[0] if lengths else 0


def _is_spoilt_data(row: SampleRow, width: int) -> bool:
    """Return whether a row among those above the data is one of theirs whose time is damaged."""
    filled = [cell for cell in row.cells if cell]
    numbers = sum(_NUMBER.fullmatch(cell) is not None for cell in filled)
    return len(row.cells) == width and numbers >= max(1, len(filled) - 2)


def _best_header(rows: Sequence[SampleRow], scores: Sequence[int], time: int) -> SampleRow:
    best = [row for row, score in zip(rows, scores, strict=True) if score == max(scores)]
    named = [row for row in best if time < len(row.cells) and row.cells[time]]
    return named[-1] if named else best[0]


def _may_head(row: SampleRow, width: int, times: int) -> bool:
    """Return whether a row is no comment, or one with a word a column (the `times` may share one)."""
    first = row.cells[0]
    if not first.startswith(_COMMENTS):
        return True
    words = [*filter(None, [first.lstrip("".join(_COMMENTS)), *row.cells[1:]])]
    fits = len(words) in (width, width - times + 1) or len(row.cells) == width
    return fits and not any(_NUMBER.fullmatch(word) for word in words)


def _name_count(row: SampleRow, width: int) -> int:
    """Return how many cells could be names of columns; 0 for a row that is no header."""
    if len(row.cells) < min(2, width):
        return 0
    if find_hours(row.cells):
        return width
    filled = [cell for cell in row.cells if cell]
    numbers = sum(_NUMBER.fullmatch(cell) is not None for cell in filled)
    if numbers * 2 > len(filled):
        return 0
    names = {cell for cell in filled if not _NUMBER.fullmatch(cell) and not _UNIT.fullmatch(cell)}
    return min(len(names), width) if len(names) * _FEWEST_NAMES >= width else 0
