"""The first rows of a file and their readings, for a person to check before anything is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.files.blocks import cut_blocks, line_ends
from joulebook.telemetry.files.members import Member, parse_files
from joulebook.telemetry.files.parser import most_lines, original_lines, parse_blocks
from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
from joulebook.telemetry.files.read_ahead import read_ahead
from joulebook.telemetry.files.records import RecordReader
from joulebook.telemetry.files.report import ImportReport, count_blocks
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.split import Splitter
from joulebook.telemetry.files.table import MOST_PROBLEMS, Problem, shown
from joulebook.telemetry.files.text import utf8_chunks

PREVIEW_ROWS = 20

_LOOKED_THROUGH = 3000
"""Lines looked through for the first values: two days of minutes."""


@dataclass
class PreviewRow:
    """A row of the file: its line number, its text, and its readings.

    `readings` are (index into the preview's values, microseconds since 1970 UTC, value). `problems` are
    those of the row, or of its cells; a cell in neither list has no value.
    """

    line: int
    text: str
    readings: list[tuple[int, int, float]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Preview:
    """Rows of a file, the metrics of their readings (`values`), and the lines above the data.

    They are the first rows, unless those have no values but zeros: then `rows_before` are left out.
    """

    rows: list[PreviewRow]
    values: tuple[ValueColumn, ...]
    lines_above: list[str]
    rows_before: int = 0


def preview(
    head: bytes,
    profile: ImportProfile,
    columns: Sequence[str],
    *,
    is_whole: bool,
    now: int,
    most_rows: int = PREVIEW_ROWS,
) -> Preview:
    """Return the first rows of a file beginning with `head`, read by a profile, or its first with values.

    `columns` are the file's column names by position. `is_whole` means nothing follows the head. `now` is
    the present in microseconds since 1970 UTC. Raises `UnusableProfile`.
    """
    text = b"".join(utf8_chunks([head], encoding=profile.encoding, line_end=profile.line_end))
    if not is_whole:
        text = text[: text.rfind(b"\n") + 1]
    ends = line_ends(text)
    # Enough lines for the rows even if some are blank or comments; more if a night comes first.
    for most_lines_read in (3 * most_rows, _LOOKED_THROUGH):
        last = min(len(ends), profile.first_data_line + most_lines_read)
        beginning = text[: int(ends[last - 1])] if last else text
        (block,) = cut_blocks([beginning], max_lines=10**6, start_line=profile.first_data_line)
        (parsed,) = parse_blocks([block], replace(profile, line_column=""), columns, now=now)
        told = {*parsed.line[parsed.value != 0].tolist(), *(problem.line for problem in parsed.problems)}
        if told:
            break
    reader = RecordReader(Splitter.of(profile), width=len(columns), skip_prefixes=profile.skip_prefixes)
    table = reader.read(block)
    lines = sorted({*table.line.tolist(), *(problem.line for problem in table.rejected)})
    before = next((at for at, line in enumerate(lines) if line in told), 0)
    before = before if before >= most_rows // 2 else 0
    lines = lines[before : before + most_rows]
    rows = {line: PreviewRow(line, _line(text, ends, line)) for line in lines}
    cells = zip(
        parsed.line.tolist(), parsed.column.tolist(), parsed.time.tolist(), parsed.value.tolist(), strict=True
    )
    for line, column, time, value in cells:
        if line in rows:
            rows[line].readings.append((column, time, value))
    for problem in parsed.problems:
        if problem.line in rows:
            rows[problem.line].problems.append(problem)
    if profile.line_column:
        original = original_lines(table, f"c{columns.index(profile.line_column)}")
        for line, number in zip(table.line.tolist(), original.tolist(), strict=True):
            if line in rows:
                rows[line].line = number
    above = [_line(text, ends, line) for line in range(1, min(profile.first_data_line, last + 1))]
    return Preview(list(rows.values()), (*profile.values, *parsed.added), above, before)


def count_head(
    head: bytes, profile: ImportProfile, columns: Sequence[str], *, is_whole: bool, now: int
) -> ImportReport:
    """Return the report of a dry run over the rows in a file's `head`.

    Arguments and errors are those of `preview`.
    """
    text = b"".join(utf8_chunks([head], encoding=profile.encoding, line_end=profile.line_end))
    if not is_whole:
        text = text[: text.rfind(b"\n") + 1]
    report = ImportReport(profile.values, is_dry_run=True)
    blocks = cut_blocks([text], max_lines=most_lines(len(columns)), start_line=profile.first_data_line)
    count_blocks(parse_blocks(blocks, profile, columns, now=now), report)
    return report


def check_file(
    source: FileSource,
    profile: ImportProfile,
    columns: Sequence[str],
    members: Sequence[Member] = (),
    *,
    now: int,
    most_problems: int = MOST_PROBLEMS,
    on_block: Callable[[ImportReport, list[Problem]], None] = lambda _report, _problems: None,
) -> ImportReport:
    """Return the report of a dry run over the file, or over all `members` if it has several.

    `on_block` is called with the report so far and the problems of each block, at most `most_problems`.
    Raises `FileError`, and the exceptions of `on_block`.
    """
    problems: list[Problem] = []
    report = ImportReport(profile.values, is_dry_run=True, on_problems=problems.extend)
    with closing(
        read_ahead(parse_files(source, profile, columns, members, now=now, most_problems=most_problems))
    ) as blocks:
        for block in blocks:
            problems.clear()
            report.add_block(block)
            on_block(report, problems)
    return report


def _line(text: bytes, ends: NDArray[np.intp], line: int) -> str:
    """Return the text of a line, counted from 1; `ends` are the offsets behind the lines."""
    begin = int(ends[line - 2]) if line > 1 else 0
    return shown(text[begin : int(ends[line - 1])])
