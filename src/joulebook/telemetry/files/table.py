"""Results of the steps of reading a file: a table of cells, a block of readings, problems, a checkpoint."""

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
"""Characters stripped from the ends of a cell."""

MAX_RAW_TEXT = 200
"""Most characters of a rejected line or cell in the report."""

MAX_RAW_ROW = 4000
"""Most bytes of a rejected line in the list of rejected rows."""


@dataclass(frozen=True)
class Problem:
    """A rejected row (`column` is None) or cell: its line and column, the reason, and its text.

    `row` is the whole line from the file, where it was requested. `file` is the name of the file if the
    import has several.
    """

    line: int
    column: str | None
    code: str
    text: str
    row: str = ""
    file: str = ""


@dataclass(frozen=True)
class Table:
    """Data rows as text: one String column a column of the file (`c0`, `c1`, …), "" for a missing cell.

    `line` is the physical line at the beginning of each row. `rejected` are rows that could not be split
    into cells. Blank lines, and lines skipped by the profile, are neither.
    """

    cells: pl.DataFrame
    line: NDArray[np.int64]
    rejected: list[Problem]
    blank_lines: int
    skipped_lines: int = 0


def shown(raw: bytes | str) -> str:
    """Return a line or cell for a report: short, one line, bad bytes as `\\xff`."""
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
    """Return a line of the file without its end, bad bytes as `\\xff`; a long line is cut."""
    return line[:MAX_RAW_ROW].decode("utf-8", "backslashreplace").rstrip("\r\n")


FILE_LEFT_OUT = "file_left_out"
"""The code of a file of which no readings, or no more, are imported."""

MOST_PROBLEMS = 1000
"""Problems of a block, and of a report, listed with their text; all are counted."""


@dataclass
class CellCounts:
    """Counts of the cells of one entry of the values; `na` by text, `malformed` by code."""

    readable: int = 0
    na: Counter[str] = field(default_factory=Counter)
    malformed: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Checkpoint:
    """Where an import can continue after everything before it was committed.

    `line` is the physical line of the next row, and `offset` the first byte of that line in the text (as
    UTF-8, unpacked, without byte-order mark). `state` is the parser's state after the lines before, a JSON
    object. `file` is the index of the file if the import has several; line 0 is its beginning.
    """

    line: int
    offset: int
    state: dict[str, Any]
    file: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the checkpoint as a JSON object."""
        return {"line": self.line, "offset": self.offset, "state": self.state, "file": self.file}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Checkpoint:
        """Return the checkpoint of an object from `as_json`."""
        return cls(
            int(stored["line"]), int(stored["offset"]), dict(stored["state"]), int(stored.get("file", 0))
        )


def _none() -> NDArray[np.int64]:
    return np.empty(0, np.int64)


@dataclass(frozen=True)
class Repeats:
    """Readings of a block by index (`rows`) whose instant was in the file before with another value.

    The value and the line of the first reading at the instant are beside them.
    """

    rows: NDArray[np.int64] = field(default_factory=_none)
    first_line: NDArray[np.int64] = field(default_factory=_none)
    first_value: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class ParsedBlock:
    """The readings of some rows, and the counts of everything else in them.

    The four arrays are of equal length: index into the values, microseconds since 1970 UTC, finite value,
    physical line. They are ordered by index, and for one index as in the file. The values are those of the
    profile, then those added by a long file's keys so far (`added`). `cells` has one entry for each.
    `problems` are the first `MOST_PROBLEMS` in the order of their lines.
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
    repeats: Repeats = field(default_factory=Repeats)
    file: str = ""
    """The name of the file if the import has several."""
    left_out: str = ""
    """The reason if no more of this file is read."""


def first_problems(problems: list[Problem], most: int = MOST_PROBLEMS) -> list[Problem]:
    """Return the first problems in the order of their lines."""
    return sorted(problems, key=lambda problem: problem.line)[:most]
