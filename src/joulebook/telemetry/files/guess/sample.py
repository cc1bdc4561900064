"""The beginning of a file, and the findings about it from step to step of the guess."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from joulebook.telemetry.files.blocks import Block, line_ends
from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import UnclearFile
from joulebook.telemetry.files.guess.questions import Question, ReadingSetting
from joulebook.telemetry.files.numbers import CellUnits, NumberFormat, exact_units
from joulebook.telemetry.files.parser import most_lines
from joulebook.telemetry.files.profile import HourColumn
from joulebook.telemetry.files.records import RecordReader
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.split import Splitter
from joulebook.telemetry.files.table import BLANKS, Table, join_time_cells
from joulebook.telemetry.files.text import codec_name, utf8_chunks
from joulebook.telemetry.files.times import ParsedTimes

SAMPLE_LINES = 400
"""Number of lines for the guess of delimiter, header and columns; formats and marks need more lines."""

_MOST_CELLS = 1_000_000
"""Largest number of cells in a sample; short lines below a wide header have many, though empty."""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class SampleRow:
    """One row of the sample: stripped cells, and the number of its first line."""

    line: int
    cells: tuple[str, ...]


class Sample:
    """The beginning of a file: the settings given, its text, and the findings of each step of the guess.

    The steps of `guess_layout` set the attributes in the order below; each step reads those above.
    """

    given: Given
    device_tz: str
    settings: list[ReadingSetting]
    questions: list[Question]

    encoding: str
    line_end: str
    lines: Sequence[str]
    """The first lines without their ends; undecodable bytes are U+FFFD."""

    splitter: Splitter

    header_line: int | None
    first_data_line: int
    names: tuple[str, ...]
    """The header's cells, "" where it has none."""
    named_width: int
    """Number of columns up to the last with a name; all of them without a header."""
    columns: tuple[str, ...]
    """Distinct names of all columns."""
    skip_prefixes: tuple[str, ...]
    time_positions: tuple[int, ...]
    time_format: str
    """The format of the time columns if it follows from the kind of columns, else "" (see `time_formats`)."""
    hour_format: str
    """The format of a column of hours beside a column of dates, else ""."""

    table: Table
    """The data rows with their lines; behind `last_line`, the head's, lines have no meaning."""
    last_line: int
    cells: pl.DataFrame
    """The data rows as text: `c0`, `c1`, …"""
    time_text: pl.Series
    """The cells of the time columns, joined by one blank."""
    times: ParsedTimes
    """The times of these cells."""

    time_formats: tuple[str, ...]
    tz: str
    hours: tuple[HourColumn, ...]

    decimal: str
    thousands: str
    na_values: tuple[str, ...]
    affixes: dict[str, str]
    """Units and currencies beside numbers, by the name of the column of `cells`: the smallest of each."""

    is_plain_series: bool
    """Whether every row has a time, and no instant repeats."""
    begins_anew: bool
    """Whether the times of a file seen in part go back over most of their range."""

    def __init__(
        self,
        head: bytes,
        *,
        is_whole: bool,
        given: Given,
        device_tz: str,
        further: bytes = b"",
        name: str = "",
    ) -> None:
        """Find the encoding and the first lines. Raises `UnclearFile` and `UnusableProfile`.

        The arguments are those of `guess_layout`.
        """
        self.given, self.device_tz = given, device_tz
        self.settings, self.questions = [], []
        self.is_whole, self.name = is_whole, name
        self._further = further
        if given.encoding is not None:
            self.encoding, reason = codec_name(given.encoding), ""
        else:
            # ASCII says nothing about the letters behind the head.
            bytes_seen = head + further if head.isascii() else head
            self.encoding, reason = guess_encoding(bytes_seen, is_whole=is_whole)
        self.note("encoding", self.encoding, reason, is_given=given.encoding is not None)
        text = b"".join(utf8_chunks([head], encoding=self.encoding))
        self.line_end = "\n" if b"\n" in text or b"\r" not in text else "\r"
        self._text = self._with_lf(text)
        if not is_whole:
            self._text = self._text[: self._text.rfind(b"\n") + 1]
        if not self._text.strip():
            raise UnclearFile("the file has no lines of text; is it a logger's text file?")
        self.lines = sample_lines(self._text)

    def read_cells(self) -> None:
        """Read the cells of the data rows, once heading and time columns are known."""
        most = self.first_data_line + most_lines(len(self.columns), cells=_MOST_CELLS)
        text = _first_lines(self._text, most)
        self.last_line = text.count(b"\n") + 1
        if self._further:
            further = b"".join(utf8_chunks([self._further], encoding=self.encoding))
            text += _first_lines(self._with_lf(further), most)
        check_budget()
        begin = 0
        for _ in range(self.first_data_line - 1):
            begin = text.index(b"\n", begin) + 1
        block = Block(text[begin:], self.first_data_line, is_last=True)
        reader = RecordReader(self.splitter, width=len(self.columns), skip_prefixes=self.skip_prefixes)
        self.table = reader.read(block)
        self.cells = self.table.cells
        self.time_text = join_time_cells(self.cells, [f"c{position}" for position in self.time_positions])

    def line(self, number: int) -> str:
        """Return a line of the head without its end, counted from 1."""
        return self._text.split(b"\n", number)[number - 1].decode("utf-8", "replace").removesuffix("\r")

    def leave_out_row(self, index: int) -> None:
        """Drop a row from the cells; the profile must skip it, too."""
        kept = np.arange(len(self.cells)) != index
        self.table = replace(
            self.table, cells=self.table.cells.filter(pl.Series(kept)), line=self.table.line[kept]
        )
        self.cells, self.time_text = self.table.cells, self.time_text.filter(pl.Series(kept))

    @property
    def time_columns(self) -> tuple[str, ...]:
        """The names of the time columns."""
        return tuple(self.columns[position] for position in self.time_positions)

    @property
    def taken(self) -> tuple[int, ...]:
        """The positions of the columns of times and hours."""
        return (*self.time_positions, *(self.columns.index(hour.column) for hour in self.hours))

    @property
    def numbers(self) -> NumberFormat:
        """How numbers are written."""
        return NumberFormat(
            decimal=self.decimal,
            thousands=self.thousands,
            na_values=self.na_values,
            affixes=self.accepted_affixes,
        )

    @property
    def accepted_affixes(self) -> tuple[str, ...]:
        """The units and currencies accepted beside numbers: those found, and others that convert exactly."""
        return tuple(sorted({unit for found in self.affixes.values() for unit in exact_units(found)}))

    def units_of(self, cell_unit: str, unit_column: str, *, rows: int) -> CellUnits | None:
        """Return how the cells of the first rows are converted to a unit; None for no unit."""
        if not cell_unit:
            return None
        beside = self.cells[f"c{self.columns.index(unit_column)}"].head(rows) if unit_column else None
        return CellUnits(cell_unit, beside)

    def note(self, name: str, value: str, reason: str, *, is_given: bool = False) -> None:
        """Add a reading setting: given, or guessed for a reason."""
        self.settings.append(ReadingSetting(name, value, "given" if is_given else f"guessed: {reason}"))

    def ask(self, question: Question) -> None:
        """Add a question."""
        self.questions.append(question)

    def _with_lf(self, text: bytes) -> bytes:
        return text.replace(b"\r", b"\n") if self.line_end == "\r" else text


def guess_encoding(head: bytes, *, is_whole: bool) -> tuple[str, str]:
    """Return the encoding of a file beginning with `head`, and the reason; `is_whole`: nothing follows.

    A byte-order mark decides first, then zero bytes as in UTF-16, then whether the bytes are valid UTF-8.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding, "byte-order mark"
    pairs = head[: len(head) // 2 * 2]
    if pairs and b"\0" in pairs:
        low, high = pairs[0::2], pairs[1::2]
        if high.count(0) > len(high) * 0.9 and low.count(0) < len(low) * 0.1:
            return "utf-16-le", "every second byte is zero"
        if low.count(0) > len(low) * 0.9 and high.count(0) < len(high) * 0.1:
            return "utf-16-be", "every second byte is zero"
    if head.isascii():
        return "utf-8", "plain ASCII so far"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=is_whole)
    except UnicodeDecodeError:
        return "cp1252", "not valid UTF-8"
    return "utf-8", "valid UTF-8"


def sample_lines(text: bytes) -> list[str]:
    """Return the first lines of UTF-8 text without their ends; undecodable bytes become U+FFFD."""
    lines = text.split(b"\n", SAMPLE_LINES)[:SAMPLE_LINES]
    return [line.decode("utf-8", "replace").removesuffix("\r") for line in lines]


def sample_rows(
    lines: Sequence[str], splitter: Splitter, *, skip_prefixes: tuple[str, ...] = ()
) -> list[SampleRow]:
    """Return the rows of these lines, without blank rows and rows beginning with one of `skip_prefixes`."""
    text = "".join(line.replace("\0", "\ufffd") + "\n" for line in lines).encode("utf-8", "replace")
    prepared = splitter.prepare(Block(text, 1)).data.decode()
    reader = csv.reader([part + "\n" for part in prepared.split("\n")[:-1]], delimiter=splitter.delimiter)
    rows: list[SampleRow] = []
    line = 1
    try:
        for cells in reader:
            is_row = any(cell.strip(BLANKS) for cell in cells)
            if is_row and not (skip_prefixes and lines[line - 1].lstrip().startswith(skip_prefixes)):
                rows.append(SampleRow(line, tuple(cell.strip(BLANKS) for cell in cells)))
            line = reader.line_num + 1
    except csv.Error:
        pass  # A cell of more than 128 KiB: the rows before it have to be enough.
    return rows


def _first_lines(text: bytes, most: int) -> bytes:
    ends = line_ends(text)
    return text if len(ends) <= most else text[: int(ends[most - 1])]
