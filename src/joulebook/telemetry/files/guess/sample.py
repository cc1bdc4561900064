"""The first lines of a file as rows of cells, each with its physical line number."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Sequence
from dataclasses import dataclass

from joulebook.telemetry.files.blocks import Block
from joulebook.telemetry.files.split import Splitter
from joulebook.telemetry.files.table import BLANKS

SAMPLE_LINES = 400
"""Lines from which delimiter, header and columns are told; formats and marks are told from more."""


@dataclass(frozen=True)
class SampleRow:
    """One row of the sample: stripped cells, and the line on which it begins."""

    line: int
    cells: tuple[str, ...]


def sample_lines(text: bytes) -> list[str]:
    """Return the first lines of UTF-8 text without their ends; damage shows as U+FFFD."""
    lines = text.split(b"\n", SAMPLE_LINES)[:SAMPLE_LINES]
    return [line.decode("utf-8", "replace").removesuffix("\r") for line in lines]


def sample_rows(
    lines: Sequence[str], splitter: Splitter, *, skip_prefixes: tuple[str, ...] = ()
) -> list[SampleRow]:
    """Return the rows of the sample that are not blank, nor begin with one of `skip_prefixes`."""
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
        pass  # A cell of more than 128 KiB: what came before it has to do.
    return rows


_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def guess_encoding(head: bytes, *, is_whole: bool) -> tuple[str, str]:
    """Return the encoding of a file that begins with `head`, and the reason; `is_whole`: nothing follows."""
    for mark, encoding in _MARKS:
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
