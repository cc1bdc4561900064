"""How a foreign format is read: recognised by its first bytes, then converted to CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

RECOGNISED_BY = 65_536
"""Bytes at the beginning of a file, unpacked, that its format is recognised by."""

READINGS_HEADER = '"line","time","metric","unit","kind","value"'
"""The first line of the CSV of a format that leaves nothing open.

`line` is the line or record of the original file, `time` RFC 3339 with an offset, `unit` as in the file or
empty, and `kind` gauge, counter, amount, state, or empty where the metric's name decides. Such a CSV is read
without a guess. A damaged record is a row with its text as the time or the value: it is counted as malformed.
"""

READINGS_LINE = READINGS_HEADER.encode() + b"\n"


@dataclass(frozen=True)
class Content:
    """The content of a file being converted.

    `chunks` opens its bytes, unpacked, from the beginning; a format that `needs_file` reads `path`, which is
    then neither gzip nor in a zip archive. `part` is the sheet, list or table to be read, empty for the
    format's own choice. Messages call the file `name`.
    """

    path: Path
    chunks: Callable[[], Iterator[bytes]]
    part: str
    name: str


def no_parts(_content: Content) -> tuple[str, ...]:
    """Return nothing: the format has one table a file."""
    return ()


def no_notes(_content: Content) -> tuple[tuple[str, str, str], ...]:
    """Return nothing: the whole content becomes readings."""
    return ()


def no_set(_names: Sequence[str]) -> bool:
    """Return False: the format is one of single files."""
    return False


@dataclass(frozen=True)
class Format:
    """A format that is no text table.

    `recognises` tells from the first `RECOGNISED_BY` bytes. `convert` yields UTF-8 CSV with a header in
    chunks, in bounded memory, and the same for the same bytes: an interrupted import continues in it. Either
    the CSV has `READINGS_HEADER`, or it is read as any table of text. It raises `UnreadableFile` at damage,
    after everything before it. `parts` are the names of the tables to choose from, in their order.
    `needs_file` formats read the stored file in any order, not its bytes one after another. `notes` are
    settings to be shown, each with its name, value and reason: what of the content is read. `is_set` tells
    from the names in a folder or a zip archive whether these files are one content together; `path` is then
    that of all.
    """

    name: str
    recognises: Callable[[bytes], bool]
    convert: Callable[[Content], Iterator[bytes]]
    parts: Callable[[Content], tuple[str, ...]] = no_parts
    needs_file: bool = False
    notes: Callable[[Content], tuple[tuple[str, str, str], ...]] = no_notes
    is_set: Callable[[Sequence[str]], bool] = no_set
