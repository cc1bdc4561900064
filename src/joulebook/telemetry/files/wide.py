"""The wide layout: each row is a time and then one value a column. Tables of text to readings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.files.numbers import NumberFormat, Numbers
from joulebook.telemetry.files.parsed import CellCounts, ParsedBlock, first_problems
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.row_times import OK, TIME_CODES, RowTimes
from joulebook.telemetry.files.second_table import TableWatch
from joulebook.telemetry.files.table import Problem, Table, join_time_cells, shown


class WideParser:
    """Turns the tables of one file, in the file's order, into readings."""

    def __init__(
        self, profile: ImportProfile, columns: Sequence[str], *, now: int, most_problems: int
    ) -> None:
        """Take the profile, the file's column names by position, and the present in microseconds.

        Every column that the profile names must be among `columns`. Raises `UnusableProfile`.
        """
        position = {name: f"c{index}" for index, name in enumerate(columns)}
        self._time_columns = [position[name] for name in profile.time_columns]
        self._value_columns = [position[value.column] for value in profile.values]
        self._names = [value.column for value in profile.values]
        self._factors = [value.factor for value in profile.values]
        self._times = RowTimes(profile, now=now)
        self._numbers = NumberFormat.of(profile)
        self._watch = TableWatch(profile, columns)
        self._most_problems = most_problems

    def parse(self, table: Table) -> ParsedBlock:
        """Return the readings of a table."""
        text = join_time_cells(table.cells, self._time_columns)
        time, code, doubled = self._times.read(text)
        reason = self._watch.reasons(table, code)
        refused = np.flatnonzero(code)
        rejected = Counter(problem.code for problem in table.rejected)
        rejected.update(reason.get(row) or TIME_CODES[code[row]] for row in refused.tolist())
        cells, line = table.cells, table.line
        if len(refused):
            accepted = code == OK
            cells, time, line = cells.filter(pl.Series(accepted)), time[accepted], line[accepted]
        numbers = self._numbers.parse([cells[name] for name in self._value_columns])
        found = [np.flatnonzero(~np.isnan(column.value)) for column in numbers]
        which = np.repeat(np.arange(len(found), dtype=np.int32), [len(rows) for rows in found])
        row = np.concatenate([np.empty(0, np.intp), *found])
        return ParsedBlock(
            column=which,
            time=time[row],
            value=self._values(numbers, found),
            line=line[row],
            rows_imported=len(line),
            rows_rejected=rejected,
            blank_lines=table.blank_lines,
            skipped_lines=table.skipped_lines,
            doubled=doubled,
            cells=[_count(column, len(rows)) for column, rows in zip(numbers, found, strict=True)],
            problems=self._problems(
                table, row_problems(table, text, code, reason, self._most_problems), numbers, line
            ),
        )

    def state(self) -> dict[str, Any]:
        """Return what has to be remembered of the rows so far, as a JSON object."""
        return {"clocks": self._times.as_json(), "table": self._watch.as_json()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self._times.restore(state["clocks"])
        self._watch.restore(state["table"])

    def _values(self, numbers: Sequence[Numbers], found: Sequence[NDArray[np.intp]]) -> NDArray[np.float64]:
        values = [
            n.value[rows] if factor == 1 else n.value[rows] * factor
            for n, rows, factor in zip(numbers, found, self._factors, strict=True)
        ]
        return np.concatenate([np.empty(0), *values])

    def _problems(
        self, table: Table, rows: list[Problem], numbers: Sequence[Numbers], line: NDArray[np.int64]
    ) -> list[Problem]:
        problems = table.rejected[: self._most_problems] + rows
        for name, column in zip(self._names, numbers, strict=True):
            listed = column.malformed[: self._most_problems].tolist()
            problems += [
                Problem(
                    int(line[row]), name, str(column.malformed_code[at]), shown(column.malformed_text[at])
                )
                for at, row in enumerate(listed)
            ]
        return first_problems(problems, self._most_problems)


def row_problems(
    table: Table, text: pl.Series, code: NDArray[np.int8], reason: dict[int, str], most: int
) -> list[Problem]:
    """Return the problems of the rows whose time has a code, or which are refused for another reason."""
    return [
        Problem(int(table.line[row]), None, reason.get(row) or TIME_CODES[code[row]], shown(text[row] or ""))
        for row in np.flatnonzero(code)[:most].tolist()
    ]


def _count(numbers: Numbers, readable: int) -> CellCounts:
    return CellCounts(readable, Counter(numbers.na), Counter(numbers.malformed_code.tolist()))
