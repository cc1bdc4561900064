"""Finds the header, the beginning of the data, and the columns of the time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from joulebook.telemetry.files.errors import Message, UnclearFile, UnusableProfile
from joulebook.telemetry.files.guess.columns import column_names, find_column
from joulebook.telemetry.files.guess.delimiter import SEPARATOR_LINE
from joulebook.telemetry.files.guess.questions import Answer, Question
from joulebook.telemetry.files.guess.sample import Sample, SampleRow, sample_rows
from joulebook.telemetry.files.guess.time_columns import (
    data_flags,
    find_day_of_year,
    find_epoch,
    find_hour,
    find_time_parts,
    guess_time_positions,
    hour_columns,
)
from joulebook.telemetry.files.guess.times import Kind, time_shape
from joulebook.telemetry.files.settings import Given

_NUMBER = re.compile(r"[+-]?[0-9]*[.,]?[0-9]+(?:[eE][+-]?[0-9]+)?")
# Campbell loggers write TS under a time stamp and RN under a record number.
_UNIT = re.compile(
    r"""\[.{0,12}\] | \(.{0,12}\) | [%°]\ ?[CF]? | [kMG]?(?:W|Wh|VA|VAh|var|varh|V|A|J|Pa|Hz|ohm)
    | [mcdµu]?(?:m|s|V|A|g|l) | h | hPa | mbar | bar | °?C | K | [dD]eg | k?m/[sh] | m3 | m³ | W/m\^?[2²]
    | TS | RN
    | [dDmMyYhHsS./:\ -]{8,}(?:tt)?""",
    re.VERBOSE,
)
_COMMENTS = ("#", "%", "//", "*")
_COMMENT = re.compile(r"\s*(?P<mark>#+|//|%+|!+|\*+|')")
_ENTRY = re.compile(r"[^\W\d_][^:]{0,40}: .+")
_FEWEST_NAMES = 4
"""A header names at least one of this number of columns."""

_TOGETHER = 3
"""Number of consecutive rows (or all) that must look like data at the beginning of the data."""


def find_heading(sample: Sample) -> None:
    """Find header, names of columns, first line of the data, time columns, and how comments begin.

    Raises `UnclearFile` if no line has a time, and `UnusableProfile` for given settings that do not fit.
    """
    given, lines = sample.given, sample.lines
    rows = [
        row
        for row in sample_rows(lines, sample.splitter)
        if not SEPARATOR_LINE.fullmatch(lines[row.line - 1])
    ]
    header = _given_header(rows, given)
    body = [row for row in rows if header is None or row.line > header.line]
    positions, known, hour = _time_positions(header, body, sample)
    if (known or hour) and not given.time_formats:
        flags = [
            max(positions) < len(row.cells)
            and all(row.cells[position][:1].isdigit() for position in positions)
            for row in body
        ]
    else:
        flags = data_flags(body, positions, given.time_formats)
    first = _first_data_row(flags)
    first_row = rows.index(body[first])
    width = _usual_width(rows[first_row:])
    if header is None and given.header_line != 0:
        header = _guess_header(rows[:first_row], width, positions)
    data = [row for row, is_data in zip(body[first:], flags[first:], strict=True) if is_data]
    if header is None and len(widths := _common_widths(data)) > 1:
        width = max(widths)
        ask_about_records(sample, data, column_names([""] * width))
    above_data = rows[:first_row] if header is None else rows[rows.index(header) + 1 : first_row]
    first_data = next((row for row in above_data if _is_spoilt_data(row, width)), rows[first_row])
    sample.header_line = None if header is None else header.line
    sample.first_data_line = first_data.line
    others = [row for row, is_data in zip(body[first:], flags[first:], strict=True) if not is_data]
    marks = [match["mark"] for row in others if (match := _COMMENT.match(lines[row.line - 1]))]
    sample.skip_prefixes = tuple(mark for mark in marks if mark in {"#", "##", "//"})[:1]
    sample.time_positions, sample.time_format, sample.hour_format = positions, known, hour
    cells = () if header is None else header.cells
    names = (*cells, *[""] * (width - len(cells)))
    if header is not None:
        names = _without_comment_mark(names, width=len(body[first].cells))
        filled = _filled_width(_usual_rows(body[first:]))
        names = _spread_names(names, positions, width=filled)
        _check_decimal_commas(sample, names, body[first:])
    sample.names = names
    sample.named_width = width if header is None else _filled_width([SampleRow(0, tuple(names))])
    sample.columns = column_names(names)
    where = "none" if header is None else f"line {header.line}"
    reason = "no names above the data" if header is None else "names above the data"
    sample.note("header", where, reason, is_given=given.header_line is not None)
    sample.note("first data", f"line {first_data.line}", "the first times are there")
    if sample.skip_prefixes:
        sample.note("comments", " ".join(sample.skip_prefixes), "lines with this beginning are skipped")


def _first_data_row(flags: Sequence[bool]) -> int:
    """Return the index of the first row of data. Raises `UnclearFile` if no row looks like data."""
    for index in range(len(flags)):
        if all(flags[index : index + _TOGETHER]):
            return index
    if True not in flags:
        raise UnclearFile(
            Message(
                "no line of the file holds a time where it should; "
                "check {time_columns}, {time_formats} and {delimiter}"
            )
        )
    return flags.index(True)


def _guess_header(above: Sequence[SampleRow], width: int, times: Sequence[int]) -> SampleRow | None:
    """Return the row above the data with the most different names, without counting numbers and units.

    Of equal rows it is the last with a name for the time, or else the first.
    """
    scores = [_name_count(row, width, len(times)) for row in above]
    if not scores or max(scores) == 0:
        return None
    best = [row for row, score in zip(above, scores, strict=True) if score == max(scores)]
    named = [row for row in best if times[0] < len(row.cells) and row.cells[times[0]]]
    return named[-1] if named else best[0]


def _usual_width(rows: Sequence[SampleRow]) -> int:
    """Return the most frequent number of cells; of equally frequent numbers the greatest."""
    lengths = Counter(len(row.cells) for row in rows)
    return max(lengths.items(), key=lambda item: (item[1], item[0]))[0] if lengths else 0


def _is_spoilt_data(row: SampleRow, width: int) -> bool:
    """Return whether a row above the data is a data row with a damaged time."""
    filled = [cell for cell in row.cells if cell]
    numbers = sum(_NUMBER.fullmatch(cell) is not None for cell in filled)
    return len(row.cells) == width and numbers >= max(1, len(filled) - 2)


def _name_count(row: SampleRow, width: int, times: int) -> int:
    """Return the number of possible names of columns in a row; 0 if it is no header.

    A header in a comment has a word for each column (the `times` may share one), and no number.
    """
    first = row.cells[0]
    if first.startswith(_COMMENTS):
        words = [*filter(None, [first.lstrip("".join(_COMMENTS)), *row.cells[1:]])]
        fits = len(words) in (width, width - times + 1) or len(row.cells) == width
        if not fits or any(_NUMBER.fullmatch(word) for word in words):
            return 0
    if len(row.cells) < min(2, width):
        return 0
    if hour_columns(row.cells):
        return width
    filled = [cell for cell in row.cells if cell]
    if filled[0].endswith(":") or (len(filled) < width and any(_ENTRY.fullmatch(cell) for cell in filled)):
        return 0  # A line of a report, such as `Serial: 4711`.
    numbers = sum(_NUMBER.fullmatch(cell) is not None for cell in filled)
    if numbers * 2 > len(filled):
        return 0
    names = {cell for cell in filled if not _NUMBER.fullmatch(cell) and not _UNIT.fullmatch(cell)}
    return min(len(names), width) if len(names) * _FEWEST_NAMES >= width else 0


def _time_positions(
    header: SampleRow | None, body: Sequence[SampleRow], sample: Sample
) -> tuple[tuple[int, ...], str, str]:
    """Return the time columns, their format if it follows from the kind of columns, and that of an hour."""
    given = sample.given
    if given.time_columns:
        width = max((len(row.cells) for row in body), default=0)
        cells = header.cells if header is not None else ()
        names = column_names((*cells, *[""] * (width - len(cells))))
        found = (find_column(name, names, setting="time_columns") for name in given.time_columns)
        return tuple(names.index(name) for name in found), "", ""
    if given.time_formats:
        return _positions_of_formats(header, body, sample), "", ""
    return _guess_positions(header, body, sample)


def _guess_positions(
    header: SampleRow | None, body: Sequence[SampleRow], sample: Sample
) -> tuple[tuple[int, ...], str, str]:
    usual = _usual_rows(body)
    try:
        positions = guess_time_positions(body, ())
    except UnclearFile:
        positions = ()
    dated = sum(
        bool(positions) and positions[0] < len(row.cells) and time_shape(row.cells[positions[0]]) is not None
        for row in usual
    )
    if dated < len(usual) // 2 or not positions:
        if parts := find_time_parts(usual):
            return *parts, ""
        above = sample.lines[: usual[0].line - 1] if usual else ()
        named = body if header is None else (header, *body)
        if days := find_day_of_year(named, usual, above, sample.name):
            return *days, ""
        if epoch := find_epoch(usual):
            return (epoch[0],), epoch[1], ""
    if not positions:
        positions = guess_time_positions(body, ())
    if len(positions) > 1:
        return positions, "", ""
    # Dates without a time of day, and a count of hours beside them.
    (date,) = positions
    shapes = Counter(shape for row in usual if (shape := time_shape(row.cells[date])) is not None)
    shape = shapes.most_common(1)[0][0] if shapes else None
    if shape is None or shape.kind is not Kind.DATE or (hour := find_hour(usual, date)) is None:
        return positions, "", ""
    return (date, hour[0]), "", hour[1]


def _positions_of_formats(
    header: SampleRow | None, body: Sequence[SampleRow], sample: Sample
) -> tuple[int, ...]:
    """Return the time columns for given formats: one column, or those guessed where the formats fit them."""
    formats = sample.given.time_formats
    try:
        return guess_time_positions(body, formats)
    except UnclearFile as unclear:
        try:
            positions, _, _ = _guess_positions(header, body, sample)
        except UnclearFile:
            raise unclear from None
        if any(data_flags(_usual_rows(body), positions, formats)):
            return positions
        raise


def _common_widths(rows: Sequence[SampleRow]) -> list[int]:
    """Return the numbers of cells that many of the rows have."""
    lengths = Counter(len(row.cells) for row in rows)
    return [length for length, count in lengths.items() if count >= _MANY * len(rows)]


def ask_about_records(sample: Sample, rows: Sequence[SampleRow], columns: Sequence[str]) -> None:
    """Ask what the columns mean, if rows of several widths have no header: they may be different records."""
    given = sample.given
    if given.header_line == 0 or given.key_columns:
        return
    answers = [Answer("the columns count from the left in each row", {"header_line": 0})]
    for position in range(min(3, min(len(row.cells) for row in rows))):
        words = {(row.cells[position], len(row.cells)) for row in rows}
        kinds = {word for word, _ in words}
        if 1 < len(kinds) == len(words) <= _MOST_RECORDS and all(kinds):
            answers.insert(
                0,
                Answer(
                    f"{columns[position]} says what a row is ({', '.join(sorted(kinds)[:5])})",
                    {"key_columns": (columns[position],)},
                ),
            )
            break
    sample.ask(
        Question(
            next(iter(answers[0].given)),
            "the rows have several widths, and no header names their cells",
            Message(
                "; name the column that says what a row is with {key_columns}, or say with {header_line:0} "
                "that the columns count from the left"
            ),
            tuple(answers),
        )
    )


def _filled_width(rows: Sequence[SampleRow]) -> int:
    """Return the number of columns up to the last with any text: a closing delimiter makes none."""
    return max((at + 1 for row in rows for at, cell in enumerate(row.cells) if cell), default=0)


_INTEGER = re.compile(r"[+-]?[0-9]+")
_FRACTION = re.compile(r"[0-9]+")
_MANY = 0.1
_MOST_RECORDS = 20
_MOSTLY = 0.9


def _check_decimal_commas(sample: Sample, names: Sequence[str], rows: Sequence[SampleRow]) -> None:
    """Raise `UnclearFile` if commas are decimal marks as well as delimiters: no cell says which it is."""
    if sample.splitter.delimiter != ",":
        return
    named = _filled_width([SampleRow(0, tuple(names))])
    wider = [row.cells for row in rows if _filled_width([row]) > named]
    if len(wider) < _MANY * len(rows) or any("." in cell and _NUMBER.fullmatch(cell) for cell in wider[0]):
        return
    joined = sum(_count_joinable(cells) >= len(cells) - named for cells in wider)
    if joined >= _MOSTLY * len(wider):
        raise UnclearFile(
            Message(
                "the header names {0} columns, and rows such as line {1} hold more cells: the delimiter "
                "seems to be the decimal mark, too. Export the file with another delimiter or with decimal "
                "points; if each cell is a value of its own, say {header_line:0}",
                named,
                next(row.line for row in rows if row.cells is wider[0]),
            )
        )


def _count_joinable(cells: Sequence[str]) -> int:
    """Return how many decimal numbers a delimiter can have split in a row."""
    count, at = 0, 0
    while at + 1 < len(cells):
        if _INTEGER.fullmatch(cells[at]) and _FRACTION.fullmatch(cells[at + 1]):
            count, at = count + 1, at + 1
        at += 1
    return count


def _usual_rows(body: Sequence[SampleRow]) -> list[SampleRow]:
    """Return the rows of the usual width, without names of columns and units."""
    width = _usual_width(body)
    return [row for row in body if len(row.cells) == width and any(cell[:1].isdigit() for cell in row.cells)]


def _without_comment_mark(names: tuple[str, ...], *, width: int) -> tuple[str, ...]:
    """Return the names of a header without a comment's mark, as in `# time a b` or `#time,a,b`.

    `width` is the number of cells of a data row.
    """
    if not names or not names[0].startswith(_COMMENTS):
        return names
    bare = names[0].lstrip("#%/*!; ")
    if bare:
        return (bare, *names[1:])
    return names[1:] if len(names) > width else names


_TIME_NAME = re.compile(
    r"(?i)time|zeit|uhr|heure|hora|tijd|hour|stunde|\b(?:ora|to|until|end|bis|von|from|start)\b"
)


def _spread_names(names: Sequence[str], positions: Sequence[int], *, width: int) -> tuple[str, ...]:
    """Return the names for all `width` columns, where blanks have split date and time of day apart.

    The header then names the time once, and the names of the columns after it are shifted.
    """
    filled = list(names)
    while filled and not filled[-1]:
        filled.pop()
    more = len(positions) - 1
    is_one = more > 0 and list(positions) == list(range(positions[0], positions[0] + more + 1))
    lacking = width - len(filled)
    if not is_one or not 0 < lacking <= more:
        return tuple(names)
    first = positions[0] + 1 + more - lacking
    if first < len(filled) and _TIME_NAME.search(filled[first]):
        return tuple(names)
    return (*filled[:first], *[""] * lacking, *filled[first:])


def _given_header(rows: Sequence[SampleRow], given: Given) -> SampleRow | None:
    """Return the header row given by its line, or by the names of its time columns."""
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
            if wanted <= {name.casefold() for name in column_names(row.cells)}:
                return row
    return None
