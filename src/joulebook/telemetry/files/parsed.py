"""What reading some rows gives: columns of readings, the account of everything else, and where to go on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.files.profile import ValueColumn
from joulebook.telemetry.files.table import Problem

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
