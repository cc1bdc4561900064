"""Blocks of lines to tables of cells: polars splits ordinary lines, the standard library's csv the rest.

Ordinary lines are valid UTF-8 without NUL, not too long, with balanced quotes and not too many cells.
All others are read one by one: a problem gets its line number and never affects another line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.files.blocks import MAX_LINE_BYTES, Block, is_utf8, line_ends
from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.split import Splitter
from joulebook.telemetry.files.table import BLANKS, Problem, Table, shown

_LF, _CR = 10, 13


def lines_with_odd_quotes(
    data: bytes, ends: NDArray[np.intp], *, quote: str, delimiter: str
) -> NDArray[np.bool_]:
    """Return for each line whether its quotes do anything else than enclose cells of that line.

    In an ordinary line every quoted cell opens after a delimiter, closes before one on the same line, and
    doubles the quotes inside. Counting a line's quotes from 0, the even ones must open a cell or follow a
    quote directly (the second of a doubled pair), and the odd ones must close a cell or precede a quote.
    """
    odd = np.zeros(len(ends), np.bool_)
    text = np.frombuffer(data, np.uint8)
    at = np.flatnonzero(text == ord(quote))
    if not len(at):
        return odd
    line = np.searchsorted(ends, at, side="right")
    first_of_line = np.searchsorted(line, line, side="left")
    is_even = (np.arange(len(at)) - first_of_line) % 2 == 0
    before = np.where(at > 0, text[at - 1], _LF)
    after = _byte_after(text, at)
    may_open = (before == _LF) | (before == ord(delimiter)) | (before == ord(quote))
    ends_line = (after == _LF) | ((after == _CR) & (_byte_after(text, at + 1) == _LF))
    may_close = ends_line | (after == ord(delimiter)) | (after == ord(quote))
    odd[line[np.where(is_even, ~may_open, ~may_close)]] = True
    last_of_line = np.append(line[1:] != line[:-1], True)
    odd[line[last_of_line & is_even]] = True
    return odd


def _byte_after(text: NDArray[np.uint8], at: NDArray[np.intp]) -> NDArray[np.uint8]:
    following = np.minimum(at + 1, len(text) - 1)
    return np.where(at + 1 < len(text), text[following], _LF).astype(np.uint8)


MAX_RECORD_LINES = 100
"""A quoted cell still open after this many lines is damage: its first line is rejected."""

_BLANK_BYTES = b" \t\r"


class RecordReader:
    """Splits blocks of one file into cells; keeps the beginning of a record cut by a block's end."""

    def __init__(
        self,
        splitter: Splitter,
        *,
        width: int,
        skip_prefixes: Sequence[str] = (),
        always_carefully: bool = False,
    ) -> None:
        """Set the splitter, the number of columns, and the prefixes of lines to skip.

        With `always_carefully` the standard library reads every line; the result is the same.
        """
        delimiter = splitter.delimiter
        self._splitter = splitter
        self._delimiter = delimiter
        self._quote = splitter.quote
        self._width = width
        self._skip_prefixes = tuple(prefix.encode() for prefix in skip_prefixes if prefix)
        self._always_carefully = always_carefully
        self._schema = {f"c{index}": pl.String for index in range(width)}
        # polars takes the number of columns from the first line: this one has them all.
        self._first_line = delimiter.join(["-"] * width).encode() + b"\n"
        self._held: Block | None = None

    @property
    def held(self) -> Block | None:
        """The beginning of a row with its end in the next block."""
        return self._held

    def read(self, block: Block) -> Table:
        """Return the rows beginning in `block`, except a last row with its end in the next block."""
        if not self._splitter.is_prepared:
            return self._read(self._splitter.prepare(block))
        table = self._read(self._splitter.prepare(block))
        if not table.rejected:
            return table
        original = _Lines(block)
        rejected = [
            replace(problem, text=shown(original[problem.line - block.first_line]))
            for problem in table.rejected
        ]
        return replace(table, rejected=rejected)

    def _read(self, block: Block) -> Table:
        if self._held is not None:
            held = self._held
            block = Block(held.data + block.data, held.first_line, block.is_last, held.offset)
            self._held = None
        lines = _Lines(block)
        blank = lines.blank()
        skipped = lines.beginning_with(self._skip_prefixes) & ~blank
        no_rows = blank | skipped
        odd = ~no_rows if self._always_carefully else self._find_odd_lines(lines) & ~no_rows
        table = self._assemble(lines, odd, blank, skipped)
        if table is None:
            odd |= (lines.count(ord(self._delimiter)) >= self._width) & ~no_rows
            table = self._assemble(lines, odd, blank, skipped)
        if table is None:
            # polars failed for another reason: reading all lines one by one is slow, but right.
            table = self._assemble(lines, ~no_rows, blank, skipped)
        if table is None:
            raise AssertionError("a block without ordinary lines cannot fail to be split")
        return table

    def _find_odd_lines(self, lines: _Lines) -> NDArray[np.bool_]:
        odd: NDArray[np.bool_] = lines.length > MAX_LINE_BYTES
        data = lines.data
        if b"\0" in data:
            odd |= lines.holding(0)
        if not data.isascii():
            odd |= lines.undecodable()
        if self._quote.encode() in data:
            odd |= lines_with_odd_quotes(data, lines.ends, quote=self._quote, delimiter=self._delimiter)
        if lines.is_last and data and not data.endswith(b"\n"):
            odd[-1] = True
        return odd

    def _assemble(
        self,
        lines: _Lines,
        odd: NDArray[np.bool_],
        blank: NDArray[np.bool_],
        skipped: NDArray[np.bool_],
    ) -> Table | None:
        """Read odd lines one by one and the others at once; None where those turn out not to be ordinary."""
        records = [*self._odd_records(lines, odd)]
        blank, skipped = blank.copy(), skipped.copy()
        held = records.pop() if records and records[-1].is_cut else None
        chosen = ~(blank | skipped)
        chosen[len(lines) if held is None else held.index :] = False
        for record in records:
            chosen[record.index : record.index + record.line_count] = False
            blank[record.index : record.index + record.line_count] = False
            skipped[record.index : record.index + record.line_count] = False
        plain = self._split(lines, chosen)
        if plain is None:
            return None
        self._held = None if held is None else lines.rest(held.index)
        rejected = [
            Problem(lines.first_line + record.index, None, record.problem, shown(lines[record.index]))
            for record in records
            if record.problem is not None
        ]
        end = len(lines) if held is None else held.index
        cells, line = plain, lines.number(chosen)
        if whole := [record for record in records if record.problem is None]:
            # The rows of odd records go between the ordinary ones, in the order of their lines.
            extra = pl.DataFrame([record.cells for record in whole], schema=self._schema, orient="row")
            extra_line = np.array([lines.first_line + record.index for record in whole], np.int64)
            line = np.concatenate([line, extra_line])
            order = np.argsort(line, kind="stable")
            cells, line = pl.concat([cells, extra])[order], line[order]
        return Table(cells, line, rejected, int(blank[:end].sum()), int(skipped[:end].sum()))

    def _odd_records(self, lines: _Lines, odd: NDArray[np.bool_]) -> Iterator[_Record]:
        behind = 0
        most = 1 if self._splitter.is_prepared else MAX_RECORD_LINES
        for index in np.flatnonzero(odd).tolist():
            if index < behind:
                continue
            check_budget()
            record = _Record(
                lines,
                index,
                delimiter=self._delimiter,
                quote=self._quote,
                width=self._width,
                most_lines=most,
            )
            yield record
            if record.is_cut:
                return
            behind = index + record.line_count

    def _split(self, lines: _Lines, chosen: NDArray[np.bool_]) -> pl.DataFrame | None:
        """Return the cells of the chosen lines, or None where polars would not say one row a line."""
        data = lines.data if chosen.all() else lines.joined(chosen)
        try:
            frame = pl.read_csv(
                self._first_line + data,
                has_header=False,
                schema=self._schema,
                separator=self._delimiter,
                quote_char=self._quote if self._quote.encode() in data else None,
                empty_string_is_null=False,
                missing_columns="insert",
                glob=False,
            )
        except pl.exceptions.PolarsError:
            return None
        return frame[1:] if frame.height == int(chosen.sum()) + 1 else None


class _Lines:
    """The lines of a block, by index from 0."""

    def __init__(self, block: Block) -> None:
        self.data = block.data
        self.first_line = block.first_line
        self.is_last = block.is_last
        self._offset = block.offset
        self.ends = line_ends(block.data)
        self.begins = np.concatenate([np.zeros(1, np.intp), self.ends[:-1]])[: len(self.ends)]
        self.length = self.ends - self.begins

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> bytes:
        """Return a line without its LF, CRLF."""
        return (
            self.data[int(self.begins[index]) : int(self.ends[index])].removesuffix(b"\n").removesuffix(b"\r")
        )

    def number(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the physical numbers of the chosen lines."""
        return np.flatnonzero(chosen).astype(np.int64) + self.first_line

    def count(self, byte: int) -> NDArray[np.intp]:
        """Return for each line how often it holds a byte."""
        at = np.flatnonzero(np.frombuffer(self.data, np.uint8) == byte)
        return np.bincount(np.searchsorted(self.ends, at, side="right"), minlength=len(self))

    def holding(self, byte: int) -> NDArray[np.bool_]:
        """Return for each line whether it holds a byte."""
        return self.count(byte) > 0

    def undecodable(self) -> NDArray[np.bool_]:
        """Return for each line whether it is not UTF-8."""
        bad = np.zeros(len(self), np.bool_)
        if not is_utf8(self.data):
            bad[:] = [not is_utf8(self[index]) for index in range(len(self))]
        return bad

    def blank(self) -> NDArray[np.bool_]:
        """Return for each line whether it holds nothing but blanks."""
        text = np.frombuffer(self.data, np.uint8)
        candidates = np.flatnonzero(np.isin(text[self.begins], (10, *_BLANK_BYTES)))
        blank = np.zeros(len(self), np.bool_)
        blank[candidates] = [not self[index].strip(_BLANK_BYTES) for index in candidates.tolist()]
        return blank

    def joined(self, chosen: NDArray[np.bool_]) -> bytes:
        """Return the bytes of the chosen lines, one after the other."""
        edges = np.flatnonzero(np.diff(np.concatenate(([False], chosen, [False])).astype(np.int8)))
        return b"".join(
            self.data[int(self.begins[begin]) : int(self.ends[end - 1])]
            for begin, end in edges.reshape(-1, 2).tolist()
        )

    def rest(self, index: int) -> Block:
        """Return the block beginning with the line `index`."""
        begin = int(self.begins[index])
        return Block(self.data[begin:], self.first_line + index, offset=self._offset + begin)

    def beginning_with(self, prefixes: tuple[bytes, ...]) -> NDArray[np.bool_]:
        """Return for each line whether it begins with one of `prefixes`, blanks before it aside."""
        found = np.zeros(len(self), np.bool_)
        first = {prefix[0] for prefix in prefixes} | set(_BLANK_BYTES)
        if prefixes:
            candidates = np.flatnonzero(np.isin(np.frombuffer(self.data, np.uint8)[self.begins], list(first)))
            found[candidates] = [
                self[index].lstrip(_BLANK_BYTES).startswith(prefixes) for index in candidates.tolist()
            ]
        return found


class _Record:
    """One record read by the standard library from the line `index` on: its cells, or its problem.

    It has `line_count` lines. `is_cut` means its end is in the next block.
    """

    def __init__(
        self, lines: _Lines, index: int, *, delimiter: str, quote: str, width: int, most_lines: int
    ) -> None:
        self.cells: list[str] = []
        self.line_count = 1
        self.is_cut = False
        self._lines = lines
        self.index = index
        self._ran_out = False
        self._most_lines = most_lines
        self.problem = self._line_problem(index) or self._read(delimiter=delimiter, quote=quote, width=width)

    def _line_problem(self, index: int) -> str | None:
        line = self._lines[index]
        if self._lines.length[index] > MAX_LINE_BYTES:
            return "line_too_long"
        if b"\0" in line:
            return "nul_byte"
        return None if is_utf8(line) else "encoding"

    def _read(self, *, delimiter: str, quote: str, width: int) -> str | None:
        reader = csv.reader(self._texts(), delimiter=delimiter, quotechar=quote, strict=True)
        try:
            cells = next(reader)
        except csv.Error:
            self.is_cut = self._ran_out and not self._lines.is_last
            return None if self.is_cut else "unsplittable"
        self.line_count = reader.line_num
        if any(cell.strip(BLANKS) for cell in cells[width:]):
            return "too_many_cells"
        is_whole = self._lines.data.endswith(b"\n") or self.index + self.line_count < len(self._lines)
        if not is_whole and len(cells) < width:
            return "line_cut_off"
        self.cells = cells[:width] + [""] * (width - len(cells))
        return None

    def _texts(self) -> Iterator[str]:
        """Yield the lines from the first on for as long as one record may go on."""
        size = 0
        for index in range(self.index, min(self.index + self._most_lines, len(self._lines))):
            size += int(self._lines.length[index])
            if size > MAX_LINE_BYTES or self._line_problem(index):
                return
            yield self._lines[index].decode() + "\n"
        self._ran_out = self.index + self._most_lines > len(self._lines)
