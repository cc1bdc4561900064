"""What the steps of reading hand to each other: a table of cells as text, and what was refused on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

BLANKS = " \t\r\n\v\f\u00a0"
"""What is stripped from the ends of a cell."""

MAX_RAW_TEXT = 200
"""Characters of a rejected line or cell that are kept for the report."""

MAX_RAW_ROW = 4000
"""Bytes of a rejected line that are kept for the list of rejected rows."""


@dataclass(frozen=True)
class Problem:
    """A rejected row (`column` is None) or cell: where it stands, why, and what stands there.

    `row` is the line as it stands in the file, where it was asked for.
    """

    line: int
    column: str | None
    code: str
    text: str
    row: str = ""


@dataclass(frozen=True)
class Table:
    """Data rows as text: one String column a column of the file (`c0`, `c1`, …), "" where a cell lacks.

    `line` is the physical line on which each row begins. `rejected` are rows that could not be split
    into cells; blank lines, and lines that the profile says to skip, are neither.
    """

    cells: pl.DataFrame
    line: NDArray[np.int64]
    rejected: list[Problem]
    blank_lines: int
    skipped_lines: int = 0


def shown(raw: bytes | str) -> str:
    """Return a line or cell as it is shown in a report: short, one line, bad bytes as `\\xff`."""
    if isinstance(raw, bytes):
        raw = raw[: 4 * MAX_RAW_TEXT].decode("utf-8", "backslashreplace")
    text = raw.strip(BLANKS)
    if len(text) > MAX_RAW_TEXT:
        text = text[: MAX_RAW_TEXT - 1] + "…"
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def join_time_cells(cells: pl.DataFrame, names: Sequence[str]) -> pl.Series:
    """Return the cells of the time columns, stripped and joined by one blank."""
    stripped = [pl.col(name).str.strip_chars(BLANKS) for name in names]
    text = stripped[0] if len(stripped) == 1 else pl.concat_str(stripped, separator=" ")
    return cells.select(text.str.strip_chars(BLANKS)).to_series()


def shown_row(line: bytes) -> str:
    """Return a line as it stands in the file, without its end; bad bytes as `\\xff`, cut where it is long."""
    return line[:MAX_RAW_ROW].decode("utf-8", "backslashreplace").rstrip("\r\n")
