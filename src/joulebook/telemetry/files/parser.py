"""A file and its profile to blocks of readings: the steps of reading put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from joulebook.telemetry.files.blocks import cut_blocks
from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.records import RecordReader
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.text import utf8_chunks
from joulebook.telemetry.files.wide import ParsedBlock, WideParser

BLOCK_READINGS = 50_000
"""Most readings in one block, give or take the lines of a quoted cell; a block is one transaction."""


def parse_file(
    source: FileSource,
    profile: ImportProfile,
    columns: Sequence[str],
    *,
    now: int,
    block_readings: int = BLOCK_READINGS,
) -> Iterator[ParsedBlock]:
    """Yield the readings of a file block by block, in the file's order; memory does not grow with it.

    `columns` are the file's column names by position, `now` is the present in microseconds since 1970 UTC.
    Raises `UnusableProfile` where profile and columns do not fit, and `UnreadableFile` where the bytes
    end in damage; what was readable before it has been yielded by then.
    """
    check_columns(profile, columns)
    chunks = utf8_chunks(source.chunks(), encoding=profile.encoding, line_end=profile.line_end)
    lines = max(1, block_readings // max(1, len(profile.values)))
    records = RecordReader(delimiter=profile.delimiter, quote=profile.quote, width=len(columns))
    parser = WideParser(profile, columns, now=now)
    for block in cut_blocks(chunks, max_lines=lines, start_line=profile.first_data_line):
        yield parser.parse(records.read(block))


def check_columns(profile: ImportProfile, columns: Sequence[str]) -> None:
    """Raise `UnusableProfile` where the profile names a column that the file does not have."""
    for name in (*profile.time_columns, *(value.column for value in profile.values)):
        if name not in columns:
            listed = ", ".join(repr(column) for column in columns[:20])
            raise UnusableProfile(f"the file has no column {name!r}; it has {listed}")
