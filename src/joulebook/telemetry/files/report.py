"""The report of an import: complete counts of rows and cells, and the first problems with their text.

Rows read are rows imported plus rows rejected. The cells of the value columns in imported rows are
stored, replaced, duplicate, in conflict, NA or malformed; in a dry run they are readable, NA or malformed.
Cells whose instant was in the file before, in the same series and with another value, are counted once
more as repeated: they show a misread file before anything is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.files.profile import ShownMeaning, ValueColumn
from joulebook.telemetry.files.table import MOST_PROBLEMS, ParsedBlock, Problem
from joulebook.telemetry.readings import from_microseconds


@dataclass
class ColumnReport(ShownMeaning):
    """The counts of one column's cells; `na` counts by their text ("" for an empty cell)."""

    column: str
    metric: str
    unit: str
    readable: int = 0
    stored: int = 0
    replaced: int = 0
    duplicate: int = 0
    conflict: int = 0
    repeated: int = 0
    """Readable cells whose instant was in the file before with another value; in an import, conflicts too."""
    na: Counter[str] = field(default_factory=Counter)
    malformed: Counter[str] = field(default_factory=Counter)
    device: str = ""
    """The device, if other than that of the import."""
    kind: str = ""
    """The metric's kind, if the file shows it."""

    def as_json(self) -> dict[str, Any]:
        """Return the counts as a JSON object."""
        return {
            "column": self.column,
            "metric": self.metric,
            "unit": self.shown_unit,
            "kind": self.shown_kind,
            "stored": self.stored,
            "replaced": self.replaced,
            "duplicate": self.duplicate,
            "conflict": self.conflict,
            "repeated": self.repeated,
            "na": self.na.total(),
            "na_by_text": dict(self.na),
            "malformed": self.malformed.total(),
        }

    def state(self) -> dict[str, Any]:
        """Return everything as a JSON object for `from_state`."""
        return {**vars(self), "na": dict(self.na), "malformed": dict(self.malformed)}

    @classmethod
    def of(cls, value: ValueColumn) -> ColumnReport:
        """Return empty counts for a column, or for one of its keys."""
        name = " ".join((value.column, *value.key)).strip()
        return cls(name or value.metric, value.metric, value.unit, device=value.device, kind=value.kind)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ColumnReport:
        """Return the column of an object from `state`."""
        return cls(**{**state, "na": Counter(state["na"]), "malformed": Counter(state["malformed"])})


METRIC_LIMIT = "metric_limit"
HOLDS_TEXT = "holds_text"
"""The code of numbers for a metric whose readings are text."""
NOT_KEPT = "time_past"
"""The code of readable cells refused by the database; the parser never gives it to cells."""
CONFLICT = "conflict"
REPEATED = "repeated"
"""The code of cells, in a dry run, whose instant was in the file before with another value."""

_COUNTS = (
    "rows_imported", "blank_lines", "skipped_lines", "doubled_first", "doubled_second", "first_time",
    "last_time", "file_count", "files_left_out", "last_file",
)  # fmt: skip


class ImportReport:
    """The counts of one import from one file, added block by block.

    `readable` cells of a column hold a number. Unless the run is dry, each of them is also counted as
    stored, replaced, duplicate or in conflict, or as malformed: beyond the limit of metrics, or older than
    the retention.
    """

    def __init__(
        self,
        values: Sequence[ValueColumn],
        *,
        is_dry_run: bool,
        on_problems: Callable[[Sequence[Problem]], None] | None = None,
    ) -> None:
        """Set the profile's values; `on_problems` is called with all problems, not only the first.

        For that the blocks must list all of their problems too: see `parse_file`.
        """
        self.is_dry_run = is_dry_run
        self._on_problems = on_problems
        self.columns = [ColumnReport.of(value) for value in values]
        self._given = len(values)
        self.rows_imported = 0
        self.rows_rejected: Counter[str] = Counter()
        self.blank_lines = 0
        self.skipped_lines = 0
        """Lines skipped by the profile, such as comments."""
        self.file_count = 0
        """Files so far of an import with several."""
        self.files_left_out = 0
        """Of these, damaged files and files of another shape."""
        self.last_file = ""
        self.doubled_first = 0
        """Rows in the first pass of a repeated hour."""
        self.doubled_second = 0
        self.first_time: int | None = None
        """Of the readings, microseconds since 1970 UTC."""
        self.last_time: int | None = None
        self._problems: list[Problem] = []

    def add_block(self, block: ParsedBlock) -> None:
        """Count the result of parsing a block; `add_outcomes` counts that of storing it."""
        self.rows_imported += block.rows_imported
        self.rows_rejected += block.rows_rejected
        self.blank_lines += block.blank_lines
        self.doubled_first += block.doubled[0]
        self.doubled_second += block.doubled[1]
        self.skipped_lines += block.skipped_lines
        if block.file != self.last_file:
            self.file_count, self.last_file = self.file_count + 1, block.file
        self.files_left_out += bool(block.left_out)
        self.columns += [ColumnReport.of(value) for value in block.added[len(self.columns) - self._given :]]
        for column, cells in zip(self.columns, block.cells, strict=True):
            column.readable += cells.readable
            column.na += cells.na
            column.malformed += cells.malformed
        if len(block.time):
            first, last = int(block.time.min()), int(block.time.max())
            self.first_time = first if self.first_time is None else min(self.first_time, first)
            self.last_time = last if self.last_time is None else max(self.last_time, last)
        self._list(block.problems)
        self._add_repeats(block)

    def _add_repeats(self, block: ParsedBlock) -> None:
        repeats = block.repeats
        if not len(repeats.rows):
            return
        counts = np.bincount(block.column[repeats.rows], minlength=len(self.columns))
        for column, count in zip(self.columns, counts.tolist(), strict=True):
            column.repeated += count
        if self.is_dry_run:
            # An import lists them among its conflicts.
            rows = zip(
                repeats.rows.tolist(), repeats.first_line.tolist(), repeats.first_value.tolist(), strict=True
            )
            self._list(
                [
                    Problem(
                        int(block.line[row]),
                        self.columns[int(block.column[row])].column,
                        REPEATED,
                        f"{float(block.value[row])!r}, and {value!r} in line {line}",
                    )
                    for row, line, value in islice(rows, MOST_PROBLEMS if self._on_problems is None else None)
                ]
            )

    def add_outcomes(
        self,
        block: ParsedBlock,
        *,
        stored: NDArray[np.bool_],
        duplicate: NDArray[np.bool_],
        conflict: NDArray[np.bool_],
        not_kept: NDArray[np.bool_],
        replaced: NDArray[np.bool_],
        holds_text: NDArray[np.bool_],
    ) -> None:
        """Count the outcomes of a block's readings; readings in no mask are beyond the limit of metrics.

        `not_kept` are readings older than the retention, `holds_text` numbers for metrics of text.
        """
        limited = ~(stored | replaced | duplicate | conflict | not_kept | holds_text)
        counts = [
            np.bincount(block.column[mask], minlength=len(self.columns)).tolist()
            for mask in (stored, replaced, duplicate, conflict, limited, not_kept, holds_text)
        ]
        for column, *count in zip(self.columns, *counts, strict=True):
            column.stored += count[0]
            column.replaced += count[1]
            column.duplicate += count[2]
            column.conflict += count[3]
            for code, refused in zip((METRIC_LIMIT, NOT_KEPT, HOLDS_TEXT), count[4:], strict=True):
                if refused:
                    column.malformed[code] += refused
        self._list(self._cell_problems(CONFLICT, block, conflict))
        self._list(self._cell_problems(METRIC_LIMIT, block, limited))
        self._list(self._cell_problems(NOT_KEPT, block, not_kept))
        self._list(self._cell_problems(HOLDS_TEXT, block, holds_text))

    def _cell_problems(self, code: str, block: ParsedBlock, chosen: NDArray[np.bool_]) -> list[Problem]:
        return [
            Problem(
                int(block.line[row]),
                self.columns[int(block.column[row])].column,
                code,
                repr(float(block.value[row])),
                file=block.file,
            )
            for row in np.flatnonzero(chosen)[: MOST_PROBLEMS if self._on_problems is None else None].tolist()
        ]

    def _list(self, problems: Sequence[Problem]) -> None:
        if self._on_problems is not None:
            self._on_problems(problems)
        self._problems += problems[: MOST_PROBLEMS - len(self._problems)]

    def state(self) -> dict[str, Any]:
        """Return all counts, and the number of problems listed, as a JSON object for `restore`."""
        return {
            "is_dry_run": self.is_dry_run,
            "given": self._given,
            **{name: getattr(self, name) for name in _COUNTS},
            "rows_rejected": dict(self.rows_rejected),
            "columns": [column.state() for column in self.columns],
            "listed": len(self._problems),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Set the counts returned by `state`, and drop the problems listed since."""
        self.is_dry_run = state["is_dry_run"]
        self._given = state["given"]
        for name in _COUNTS:
            if name in state:  # An earlier version counted less.
                setattr(self, name, state[name])
        self.rows_rejected = Counter(state["rows_rejected"])
        self.columns = [ColumnReport.from_state(column) for column in state["columns"]]
        del self._problems[state["listed"] :]

    @classmethod
    def from_state(
        cls,
        state: dict[str, Any],
        *,
        problems: Iterable[Problem] = (),
        on_problems: Callable[[Sequence[Problem]], None] | None = None,
    ) -> ImportReport:
        """Return a report continuing from a `state`; `problems` are the first problems up to it."""
        report = cls((), is_dry_run=False, on_problems=on_problems)
        report.list_again(problems)
        report.restore(state)
        return report

    def list_again(self, problems: Iterable[Problem]) -> None:
        """List the first of these problems, counted before."""
        self._problems = list(islice(problems, MOST_PROBLEMS))

    @property
    def problems(self) -> list[Problem]:
        """The first problems, by file and line."""
        return sorted(self._problems, key=lambda problem: (problem.file, problem.line))

    @property
    def problem_count(self) -> int:
        """Rows rejected, cells malformed or in conflict, and files left out.

        A dry run counts repeated cells in place of conflicts.
        """
        conflict = self.repeated if self.is_dry_run else self.conflict
        return self.rows_rejected.total() + self.malformed + conflict + self.files_left_out

    @property
    def rows_read(self) -> int:
        """Rows among the data, without blank lines."""
        return self.rows_imported + self.rows_rejected.total()

    @property
    def cells(self) -> int:
        """Cells of the value columns in imported rows, without those of keys left out."""
        return (
            self.readable
            + self.na
            + sum(
                c.malformed.total() - sum(c.malformed[code] for code in (METRIC_LIMIT, NOT_KEPT, HOLDS_TEXT))
                for c in self.columns
            )
        )

    @property
    def readable(self) -> int:
        """Cells with a number."""
        return sum(column.readable for column in self.columns)

    @property
    def stored(self) -> int:
        """Cells stored as new readings."""
        return sum(column.stored for column in self.columns)

    @property
    def replaced(self) -> int:
        """Cells stored in place of another value."""
        return sum(column.replaced for column in self.columns)

    @property
    def duplicate(self) -> int:
        """Cells of readings stored before with the same value."""
        return sum(column.duplicate for column in self.columns)

    @property
    def conflict(self) -> int:
        """Cells of readings stored before with another value; the stored value is unchanged."""
        return sum(column.conflict for column in self.columns)

    @property
    def repeated(self) -> int:
        """Cells whose instant was in the file before with another value."""
        return sum(column.repeated for column in self.columns)

    @property
    def na(self) -> int:
        """Cells without a value: empty, missing or marked."""
        return sum(column.na.total() for column in self.columns)

    @property
    def malformed(self) -> int:
        """Cells with text that is neither a number nor a missing value."""
        return sum(column.malformed.total() for column in self.columns)

    def as_json(self) -> dict[str, Any]:
        """Return the whole report as a JSON object; times are RFC 3339 in UTC."""
        cells = {"readable": self.readable} if self.is_dry_run else {}
        if not self.is_dry_run:
            kinds = ("stored", "replaced", "duplicate", "conflict")
            cells = {kind: getattr(self, kind) for kind in kinds}
        return {
            "dry_run": self.is_dry_run,
            "rows": {
                "read": self.rows_read,
                "imported": self.rows_imported,
                "rejected": self.rows_rejected.total(),
                "rejected_by_code": dict(self.rows_rejected),
            },
            **(
                {"files": {"all": self.file_count, "left_out": self.files_left_out}} if self.last_file else {}
            ),
            "blank_lines": self.blank_lines,
            "skipped_lines": self.skipped_lines,
            "doubled_hour": {"first_pass": self.doubled_first, "second_pass": self.doubled_second},
            "first_time": _rfc3339(self.first_time),
            "last_time": _rfc3339(self.last_time),
            "cells": {"all": self.cells, **cells, "na": self.na, "malformed": self.malformed},
            "repeated": self.repeated,
            "columns": [column.as_json() for column in self.columns],
            "problem_count": self.problem_count,
            "problems": [
                {
                    **({"file": p.file} if p.file else {}),
                    "line": p.line,
                    "column": p.column,
                    "code": p.code,
                    "text": p.text,
                }
                for p in self.problems
            ],
        }


def count_blocks(
    blocks: Iterable[ParsedBlock], report: ImportReport, *, after_block: Callable[[], None] = lambda: None
) -> None:
    """Fill the report of a dry run, calling `after_block` after each block."""
    for block in blocks:
        report.add_block(block)
        after_block()


def _rfc3339(time: int | None) -> str | None:
    return None if time is None else from_microseconds(time).isoformat().replace("+00:00", "Z")
