"""What the steps of reading hand to each other: a table of cells as text, and what was refused on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.files.profile import ValueColumn

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


MOST_PROBLEMS = 1000
"""Problems of a block that are listed with their text; all of them are counted."""


@dataclass
class CellCounts:
    """What was in the cells of one entry of the values; `na` and `malformed` by text and by code."""

    readable: int = 0
    na: Counter[str] = field(default_factory=Counter)
    malformed: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Checkpoint:
    """Where an import may go on after everything before it was committed.

    `line` is the physical line of the file with which the next rows begin, and `offset` the byte of its
    text at which that line begins (the text as UTF-8, inflated, without byte-order mark). `state` is what
    the parser has to remember of the lines before: a JSON object that `parse_file` takes back.
    """

    line: int
    offset: int
    state: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return the checkpoint as a JSON object."""
        return {"line": self.line, "offset": self.offset, "state": self.state}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Checkpoint:
        """Return the checkpoint that `as_json` described."""
        return cls(int(stored["line"]), int(stored["offset"]), dict(stored["state"]))


@dataclass(frozen=True)
class ParsedBlock:
    """The readings of some rows, and the account of everything else in them.

    The four arrays are of equal length: index into the values, microseconds since 1970 UTC, finite value,
    physical line. They are ordered by index, and within one as in the file. The values are those of the
    profile and, behind them, the ones that a long file's keys have added so far (`added`). `cells` has
    one entry for each. `problems` are the first `MOST_PROBLEMS` in the order of their lines.
    """

    column: NDArray[np.int32]
    time: NDArray[np.int64]
    value: NDArray[np.float64]
    line: NDArray[np.int64]
    rows_imported: int
    rows_rejected: Counter[str]
    blank_lines: int
    doubled: tuple[int, int]
    cells: list[CellCounts]
    problems: list[Problem]
    skipped_lines: int = 0
    added: tuple[ValueColumn, ...] = ()
    checkpoint: Checkpoint | None = None


def first_problems(problems: list[Problem], most: int = MOST_PROBLEMS) -> list[Problem]:
    """Return the first problems in the order of their lines."""
    return sorted(problems, key=lambda problem: problem.line)[:most]
