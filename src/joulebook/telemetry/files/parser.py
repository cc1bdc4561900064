"""Reads a file by its profile: all steps from bytes to blocks of readings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.files.blocks import Block, cut_blocks, line_ends
from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.layouts import LongParser, WideParser
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.records import RecordReader
from joulebook.telemetry.files.repeats import RepeatWatch
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.split import Splitter
from joulebook.telemetry.files.table import MOST_PROBLEMS, Checkpoint, ParsedBlock, Problem, Table, shown_row
from joulebook.telemetry.files.text import utf8_chunks

BLOCK_READINGS = 50_000
"""Most readings in one block, apart from the lines of a quoted cell; a block is one transaction."""

MOST_CELLS = 4_000_000
"""Most cells in one table of text, empty ones included: 16 bytes each."""


def parse_file(
    source: FileSource,
    profile: ImportProfile,
    columns: Sequence[str],
    *,
    now: int,
    block_readings: int = BLOCK_READINGS,
    most_problems: int = MOST_PROBLEMS,
    checkpoint: Checkpoint | None = None,
) -> Iterator[ParsedBlock]:
    """Yield the readings of a file block by block, in the file's order and in bounded memory.

    `columns` are the file's column names by position, `now` is the present in microseconds since 1970 UTC.
    With the `checkpoint` of a block, reading begins behind that block. A block lists at most
    `most_problems`. Raises `UnusableProfile` if profile and columns do not fit, and `UnreadableFile` at
    damaged bytes, after the readings before them.
    """
    chunks = utf8_chunks(source.chunks(), encoding=profile.encoding, line_end=profile.line_end)
    lines = min(max(1, block_readings // cells_in_a_row(profile)), most_lines(len(columns)))
    start_line = profile.first_data_line if checkpoint is None else checkpoint.line
    blocks = cut_blocks(chunks, max_lines=lines, start_line=start_line)
    return parse_blocks(blocks, profile, columns, now=now, most_problems=most_problems, checkpoint=checkpoint)


def parse_blocks(
    blocks: Iterable[Block],
    profile: ImportProfile,
    columns: Sequence[str],
    *,
    now: int,
    most_problems: int = MOST_PROBLEMS,
    checkpoint: Checkpoint | None = None,
) -> Iterator[ParsedBlock]:
    """Yield the readings of blocks of lines; the first block begins with the data, or at the checkpoint.

    Arguments and errors are those of `parse_file`.
    """
    check_columns(profile, columns)
    records = RecordReader(Splitter.of(profile), width=len(columns), skip_prefixes=profile.skip_prefixes)
    kind = WideParser if profile.layout == "wide" else LongParser
    parser = kind(profile, columns, now=now, most_problems=most_problems)
    if checkpoint is not None:
        parser.restore(checkpoint.state)
    repeats = RepeatWatch()
    line_cells = f"c{columns.index(profile.line_column)}" if profile.line_column else ""
    for block in blocks:
        check_budget()
        table = records.read(block)
        parsed = parser.parse(table)
        held = records.held
        if held is not None:
            # The checkpoint is before a row cut in two by the block's end.
            behind = Checkpoint(held.first_line, held.offset, parser.state())
        else:
            count = block.data.count(b"\n") + (not block.data.endswith(b"\n") and bool(block.data))
            end = block.offset + len(block.data)
            behind = Checkpoint(block.first_line + count, end, parser.state())
        parsed = replace(parsed, problems=_with_rows(parsed.problems, block), checkpoint=behind)
        if line_cells:
            parsed = with_original_lines(parsed, table, line_cells)
        yield replace(parsed, repeats=repeats.find(parsed))


def most_lines(width: int, *, cells: int = MOST_CELLS) -> int:
    """Return the most lines of a file with `width` columns in a table of at most `cells` cells.

    Short lines have as many cells as the header: a small file could fill the memory with empty cells.
    """
    return max(1, cells // max(width, 1))


def cells_in_a_row(profile: ImportProfile) -> int:
    """Return the most readings in one row of a file; at least 1."""
    if profile.layout == "wide":
        return max(1, len(profile.values))
    return max(1, len(profile.hour_columns) or len({value.column for value in profile.values}))


def check_columns(profile: ImportProfile, columns: Sequence[str]) -> None:
    """Raise `UnusableProfile` if the profile names a column missing in the file."""
    for name in profile.columns:
        if name not in columns:
            listed = ", ".join(repr(column) for column in columns[:20])
            raise UnusableProfile(f"the file has no column {name!r}; it has {listed}")
    if (profile.layout == "across") != bool(profile.hour_columns):
        raise UnusableProfile("a profile has hour_columns where its layout is across, and only there")


def with_original_lines(parsed: ParsedBlock, table: Table, line_cells: str) -> ParsedBlock:
    """Return the block with the lines of the original file, named in a column of the table's cells."""
    original = original_lines(table, line_cells)
    line = parsed.line.copy()
    if len(line):
        line = original[np.searchsorted(table.line, line)]
    by_line = dict(zip(table.line.tolist(), original.tolist(), strict=True))
    problems = [replace(each, line=by_line.get(each.line, each.line)) for each in parsed.problems]
    return replace(parsed, line=line, problems=problems)


def original_lines(table: Table, line_cells: str) -> NDArray[np.int64]:
    """Return the line of the original file for each row of a table, its own where the cell is no number."""
    named = table.cells[line_cells].cast(pl.Int64, strict=False)
    own = pl.Series(table.line)
    return named.fill_null(own).to_numpy()


def _with_rows(problems: list[Problem], block: Block) -> list[Problem]:
    """Add to rejected rows their whole line, where it is in this block."""
    if not any(problem.column is None for problem in problems):
        return problems
    ends = line_ends(block.data)
    rows = []
    for problem in problems:
        at = problem.line - block.first_line
        if problem.column is None and 0 <= at < len(ends):
            begin = int(ends[at - 1]) if at else 0
            row = shown_row(block.data[begin : int(ends[at])])
            rows.append(replace(problem, row=row))
        else:
            rows.append(problem)
    return rows
