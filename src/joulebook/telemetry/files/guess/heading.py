"""Finds where names and data begin, and which columns hold the time, by what was given and what is there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from joulebook.telemetry.files.errors import Message, UnclearFile, UnusableProfile
from joulebook.telemetry.files.guess.columns import column_names, find_column
from joulebook.telemetry.files.guess.delimiter import SEPARATOR_LINE
from joulebook.telemetry.files.guess.questions import Account
from joulebook.telemetry.files.guess.sample import SampleRow, sample_rows
from joulebook.telemetry.files.guess.time_columns import (
    data_flags,
    find_epoch,
    find_hour,
    find_hours,
    find_time_parts,
    guess_time_positions,
)
from joulebook.telemetry.files.guess.times import Kind, time_shape
from joulebook.telemetry.files.profile import Given
from joulebook.telemetry.files.split import Splitter

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


_COMMENT = re.compile(r"\s*(?P<mark>#+|//|%+|!+|\*+|')")


@dataclass(frozen=True)
class Place:
    """The heading, the positions of the time columns, their format where it is known from their kind."""

    heading: Heading
    positions: tuple[int, ...]
    time_format: str
    skip_prefixes: tuple[str, ...]


def place_heading(lines: Sequence[str], splitter: Splitter, given: Given, account: Account) -> Place:
    """Return where header and data begin, and what the time columns are.

    Raises `UnclearFile` where no line holds a time, and `UnusableProfile` where what was given does not fit.
    """
    rows = [row for row in sample_rows(lines, splitter) if not SEPARATOR_LINE.fullmatch(lines[row.line - 1])]
    header = _given_header(rows, given)
    body = [row for row in rows if header is None or row.line > header.line]
    known = ""
    if given.time_columns:
        positions = _given_positions(header, body, given)
    else:
        positions, known = _time_positions(body, given)
    flags = [bool(known) and _looks_right(row, positions) for row in body]
    if not known or given.time_formats:
        flags = data_flags(body, positions, given.time_formats)
    first = find_first_data_row(flags)
    if first is None:
        raise UnclearFile(
            Message(
                "no line of the file holds a time where it should; "
                "check {time_columns}, {time_formats} and {delimiter}"
            )
        )
    heading = find_heading(
        rows, rows.index(body[first]), header=header, is_without=given.header_line == 0, times=positions
    )
    skip = _comment_mark(lines, body[first:], flags[first:])
    heading = _spread_names(_uncommented(heading, body[first]), positions, body[first:])
    where = "none" if heading.header_line is None else f"line {heading.header_line}"
    reason = "no names above the data" if heading.header_line is None else "names above the data"
    account.note("header", where, reason, is_given=given.header_line is not None)
    account.note("first data", f"line {heading.first_data_line}", "the first times stand there")
    if skip:
        account.note("comments", " ".join(skip), "lines that begin so are no rows")
    return Place(heading, positions, known, skip)


def _time_positions(body: Sequence[SampleRow], given: Given) -> tuple[tuple[int, ...], str]:
    """Return the time columns, and their format where it follows from what the columns are."""
    if given.time_formats:
        return guess_time_positions(body, given.time_formats), ""
    usual = _usual_rows(body)
    try:
        positions = guess_time_positions(body, ())
    except UnclearFile:
        positions = ()
    if sum(_is_dated(row, positions) for row in usual) < len(usual) // 2 or not positions:
        if parts := find_time_parts(usual):
            return parts
        if epoch := find_epoch(usual):
            return (epoch[0],), epoch[1]
    if not positions:
        positions = guess_time_positions(body, ())
    if len(positions) == 1 and (hour := _hour_beside(usual, positions[0])):
        return hour
    return positions, ""


def _hour_beside(rows: Sequence[SampleRow], date: int) -> tuple[tuple[int, ...], str] | None:
    """Return date and hour columns where the date has no clock of its own and a count of hours beside it."""
    shapes = Counter(shape for row in rows if (shape := time_shape(row.cells[date])) is not None)
    if not shapes or shapes.most_common(1)[0][0].kind is not Kind.DATE:
        return None
    found = find_hour(rows, date)
    if found is None:
        return None
    shape = shapes.most_common(1)[0][0]
    if len(shape.formats) > 1:
        return (date, found[0]), ""
    return (date, found[0]), f"{shape.formats[0]} {found[1]}"


def _is_dated(row: SampleRow, positions: Sequence[int]) -> bool:
    """Return whether a row has a date in the first of the time columns."""
    return (
        bool(positions) and positions[0] < len(row.cells) and time_shape(row.cells[positions[0]]) is not None
    )


def _usual_rows(body: Sequence[SampleRow]) -> list[SampleRow]:
    lengths = Counter(len(row.cells) for row in body)
    usual = max(lengths, key=lambda length: (lengths[length], length), default=0)
    return [row for row in body if len(row.cells) == usual]


def _looks_right(row: SampleRow, positions: Sequence[int]) -> bool:
    if max(positions) >= len(row.cells):
        return False
    cells = [row.cells[position] for position in positions]
    return all(cell[:1].isdigit() for cell in cells)


def _comment_mark(lines: Sequence[str], body: Sequence[SampleRow], flags: Sequence[bool]) -> tuple[str, ...]:
    """Return how comments among the data begin, where such lines are there."""
    marks = Counter(
        match["mark"]
        for row, is_data in zip(body, flags, strict=True)
        if not is_data and (match := _COMMENT.match(lines[row.line - 1]))
    )
    return tuple(mark for mark in marks if mark in {"#", "##", "//"})[:1]


def _uncommented(heading: Heading, data: SampleRow) -> Heading:
    """Take a comment's mark off the names of a header, as in `# time a b` or `#time,a,b`."""
    names = heading.names
    if heading.header_line is None or not names or not names[0].startswith(("#", "%", "//", "*")):
        return heading
    bare = names[0].lstrip("#%/*!; ")
    if bare:
        names = (bare, *names[1:])
    elif len(names) > len(data.cells):
        names = names[1:]
    return Heading(heading.header_line, heading.first_data_line, names)


def _spread_names(heading: Heading, positions: Sequence[int], data: Sequence[SampleRow]) -> Heading:
    """Give the name of a time to all its columns, where blanks have split date and time of day apart."""
    names = list(heading.names)
    while names and not names[-1]:
        names.pop()
    width = len(_usual_rows(data)[0].cells)
    more = len(positions) - 1
    is_one = more > 0 and list(positions) == list(range(positions[0], positions[0] + more + 1))
    lacking = width - len(names)
    if heading.header_line is None or not is_one or not 0 < lacking <= more:
        return heading
    first = positions[0] + 1 + more - lacking
    return Heading(
        heading.header_line, heading.first_data_line, (*names[:first], *[""] * lacking, *names[first:])
    )


def _given_header(rows: Sequence[SampleRow], given: Given) -> SampleRow | None:
    """Return the header row that was given by its line, or by the names of its time columns."""
    if given.header_line:
        for row in rows:
            if row.line == given.header_line:
                return row
        raise UnusableProfile(
            Message(
                "{header_line:{0}}: there is no such row among the first lines; "
                "lines count from 1, and 0 means that there is no header",
                given.header_line,
            ),
            setting="header_line",
        )
    if given.time_columns and given.header_line is None:
        wanted = {name.strip().casefold() for name in given.time_columns}
        for row in rows:
            if wanted <= {cell.casefold() for cell in row.cells}:
                return row
    return None


def _given_positions(header: SampleRow | None, body: Sequence[SampleRow], given: Given) -> tuple[int, ...]:
    width = max((len(row.cells) for row in body), default=0)
    cells = header.cells if header is not None else ()
    names = column_names((*cells, *[""] * (width - len(cells))))
    return tuple(names.index(find_column(name, names, setting="time_columns")) for name in given.time_columns)
