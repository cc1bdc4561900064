"""Puts the guesses together: the beginning of a file and what a person has given make an import profile."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from joulebook.telemetry.files.blocks import Block
from joulebook.telemetry.files.errors import UnclearFile, UnusableProfile
from joulebook.telemetry.files.guess.columns import column_names, find_column
from joulebook.telemetry.files.guess.delimiter import delimiter_name, guess_delimiter, named_delimiter
from joulebook.telemetry.files.guess.encoding import guess_encoding
from joulebook.telemetry.files.guess.header import Heading, find_first_data_row, find_heading
from joulebook.telemetry.files.guess.numbers import guess_marks
from joulebook.telemetry.files.guess.sample import SampleRow, sample_lines, sample_rows
from joulebook.telemetry.files.guess.time_columns import data_flags, guess_time_positions
from joulebook.telemetry.files.guess.times import guess_time_formats
from joulebook.telemetry.files.guess.values import choose_values
from joulebook.telemetry.files.numbers import NumberFormat
from joulebook.telemetry.files.profile import DEFAULT_NA_VALUES, Given, ImportProfile
from joulebook.telemetry.files.records import RecordReader
from joulebook.telemetry.files.table import join_time_cells
from joulebook.telemetry.files.text import codec_name, utf8_chunks
from joulebook.telemetry.files.times import TimeFormat
from joulebook.telemetry.files.zones import find_zone

HEAD_BYTES = 4 * 1024 * 1024
"""How much of a file, after inflating, is looked at before it is read."""

_QUOTE = '"'
_ZONE_IN_NAME = re.compile(
    r"(?<![A-Za-z])(?:UTC|GMT)\s*(?P<offset>[+-][0-9]{1,2}(?::?[0-9]{2})?)?(?![A-Za-z0-9])", re.IGNORECASE
)


@dataclass(frozen=True)
class Setting:
    """One setting of the profile in words, and where it comes from: given, or guessed and why."""

    name: str
    value: str
    source: str


@dataclass(frozen=True)
class FileLayout:
    """How one file will be read: the profile, the file's column names by position, and an account of both."""

    profile: ImportProfile
    columns: tuple[str, ...]
    settings: tuple[Setting, ...]


class _Account:
    """Collects the settings with their sources."""

    def __init__(self) -> None:
        self.settings: list[Setting] = []

    def note(self, name: str, value: str, reason: str, *, is_given: bool = False) -> None:
        self.settings.append(Setting(name, value, "given" if is_given else f"guessed: {reason}"))


def guess_layout(head: bytes, *, is_whole: bool, given: Given, device_tz: str) -> FileLayout:
    """Return how to read the file that begins with `head` (or is it, where `is_whole`).

    What was given is used, everything else is guessed; times without an offset are local to the zone
    given, or named in the header, or to `device_tz`. Raises `UnclearFile` for what has to be asked, and
    `UnusableProfile` for what was given and does not fit.
    """
    account = _Account()
    encoding = _encoding(head, given, account, is_whole=is_whole)
    text = b"".join(utf8_chunks([head], encoding=encoding))
    line_end = "\n" if b"\n" in text or b"\r" not in text else "\r"
    text = _whole_lines(text.replace(b"\r", b"\n") if line_end == "\r" else text, is_whole=is_whole)
    lines = sample_lines(text)
    delimiter = _delimiter(lines, given, account)
    heading, positions = _heading(sample_rows(lines, delimiter), given, account)
    columns = column_names(heading.names)
    times = tuple(columns[position] for position in positions)
    cells = _cells(text, heading, delimiter=delimiter, width=len(columns))
    formats = _time_formats(cells, positions, times, given, account)
    tz = _time_zone(times, formats, given, account, device_tz=device_tz)
    numbers, decimal, thousands, na_values = _numbers(cells, positions, given, account)
    choice = choose_values(cells, columns, times, named=heading.names, numbers=numbers, mapping=given.mapping)
    for name, reason in choice.left_out:
        account.settings.append(Setting("left out", name, reason))
    profile = ImportProfile(
        encoding=encoding,
        line_end=line_end,
        delimiter=delimiter,
        quote=_QUOTE,
        header_line=heading.header_line,
        first_data_line=heading.first_data_line,
        time_columns=times,
        time_formats=formats,
        tz=tz,
        decimal=decimal,
        thousands=thousands,
        na_values=na_values,
        values=choice.values,
    )
    return FileLayout(profile, columns, tuple(account.settings))


def _encoding(head: bytes, given: Given, account: _Account, *, is_whole: bool) -> str:
    if given.encoding is not None:
        encoding, reason = codec_name(given.encoding), ""
    else:
        encoding, reason = guess_encoding(head, is_whole=is_whole)
    account.note("encoding", encoding, reason, is_given=given.encoding is not None)
    return encoding


def _whole_lines(text: bytes, *, is_whole: bool) -> bytes:
    if not is_whole:
        text = text[: text.rfind(b"\n") + 1]
    if not text.strip():
        raise UnclearFile(
            "the file has no lines of text; is it a logger's text file, and in this --encoding?"
        )
    return text


def _delimiter(lines: Sequence[str], given: Given, account: _Account) -> str:
    if given.delimiter is not None:
        delimiter, reason = named_delimiter(given.delimiter), ""
    else:
        delimiter, reason = guess_delimiter(lines)
    account.note("delimiter", delimiter_name(delimiter), reason, is_given=given.delimiter is not None)
    return delimiter


def _heading(rows: Sequence[SampleRow], given: Given, account: _Account) -> tuple[Heading, tuple[int, ...]]:
    """Return where header and data begin, and the positions of the time columns."""
    header = _given_header(rows, given)
    body = [row for row in rows if header is None or row.line > header.line]
    if given.time_columns:
        positions = _given_positions(header, body, given)
    else:
        positions = guess_time_positions(body, given.time_formats)
    first = find_first_data_row(data_flags(body, positions, given.time_formats))
    if first is None:
        raise UnclearFile(
            "no line of the file holds a time where it should; "
            "check --time-column, --time-format and --delimiter"
        )
    heading = find_heading(rows, rows.index(body[first]), header=header, is_without=given.header_line == 0)
    where = "none" if heading.header_line is None else f"line {heading.header_line}"
    reason = "no names above the data" if heading.header_line is None else "names above the data"
    account.note("header", where, reason, is_given=given.header_line is not None)
    account.note("first data", f"line {heading.first_data_line}", "the first times stand there")
    return heading, positions


def _given_header(rows: Sequence[SampleRow], given: Given) -> SampleRow | None:
    """Return the header row that was given by its line, or by the names of its time columns."""
    if given.header_line:
        for row in rows:
            if row.line == given.header_line:
                return row
        raise UnusableProfile(
            f"--header-line {given.header_line}: there is no such row among the first lines; "
            "lines count from 1, and 0 means that there is no header"
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
    return tuple(names.index(find_column(name, names, option="--time-column")) for name in given.time_columns)


def _cells(text: bytes, heading: Heading, *, delimiter: str, width: int) -> pl.DataFrame:
    """Return the data rows of the head as text."""
    begin = 0
    for _ in range(heading.first_data_line - 1):
        begin = text.index(b"\n", begin) + 1
    block = Block(text[begin:], heading.first_data_line, is_last=True)
    return RecordReader(delimiter=delimiter, quote=_QUOTE, width=width).read(block).cells


def _time_formats(
    cells: pl.DataFrame, positions: Sequence[int], names: Sequence[str], given: Given, account: _Account
) -> tuple[str, ...]:
    if given.time_formats:
        formats = given.time_formats
    else:
        text = join_time_cells(cells, [f"c{position}" for position in positions])
        formats = guess_time_formats(text, column=" + ".join(names))
    for text_format in formats:
        TimeFormat(text_format)
    account.note("time", " + ".join(names), "its cells look like times", is_given=bool(given.time_columns))
    account.note(
        "time format", " or ".join(formats), "fits the first lines", is_given=bool(given.time_formats)
    )
    return formats


def _time_zone(
    names: Sequence[str], formats: Sequence[str], given: Given, account: _Account, *, device_tz: str
) -> str:
    in_name = next((match for name in names if (match := _ZONE_IN_NAME.search(name))), None)
    if given.tz is not None:
        tz = given.tz
        account.note("time zone", tz, "", is_given=True)
    elif all("%z" in text for text in formats):
        tz = "UTC"
        account.note("time zone", "in each time", "the times carry their offset")
    elif in_name is not None:
        tz = in_name["offset"] or "UTC"
        account.note("time zone", tz, f"named in the header {in_name.string!r}")
    else:
        tz = device_tz
        account.note("time zone", tz, "the device's zone")
    find_zone(tz)
    return tz


def _numbers(
    cells: pl.DataFrame, positions: Sequence[int], given: Given, account: _Account
) -> tuple[NumberFormat, str, str, tuple[str, ...]]:
    """Return the number format, and its decimal mark, thousands mark and NA values."""
    times = {f"c{position}" for position in positions}
    columns = [column for column in cells.get_columns() if column.name not in times]
    decimal, thousands, reason = guess_marks(columns, decimal=given.decimal, thousands=given.thousands)
    account.note("decimal mark", decimal, reason, is_given=given.decimal is not None)
    account.note(
        "thousands mark", thousands or "none", "as the numbers stand", is_given=given.thousands is not None
    )
    na_values = DEFAULT_NA_VALUES if given.na_values is None else given.na_values
    account.note(
        "missing values",
        " ".join(("(empty)", *na_values)),
        "the usual ones",
        is_given=given.na_values is not None,
    )
    return (
        NumberFormat(decimal=decimal, thousands=thousands, na_values=na_values), decimal, thousands, na_values
    )  # fmt: skip
