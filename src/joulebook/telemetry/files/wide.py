"""The wide layout: each row is a time and then one value a column. Tables of text to readings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.files.numbers import NumberFormat, Numbers
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.table import Problem, Table, join_time_cells, shown
from joulebook.telemetry.files.times import DAY, NO_OFFSET, TimeFormat, parse_times
from joulebook.telemetry.files.zones import LocalClock, find_zone
from joulebook.telemetry.readings import FUTURE_ALLOWANCE, OLDEST

MOST_PROBLEMS = 1000
"""Problems of a block that are listed with their text; all of them are counted."""

_TIME_CODES = ("", "time_missing", "time_malformed", "time_nonexistent", "time_past", "time_future")
_OK, _MISSING, _MALFORMED, _NONEXISTENT, _PAST, _FUTURE = range(len(_TIME_CODES))


@dataclass
class CellCounts:
    """What was in one column's cells of imported rows; `na` and `malformed` by text and by code."""

    readable: int = 0
    na: Counter[str] = field(default_factory=Counter)
    malformed: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class ParsedBlock:
    """The readings of some rows, and the account of everything else in them.

    The four arrays are of equal length: index into `ImportProfile.values`, microseconds since 1970 UTC,
    finite value, physical line. They are ordered by column, and within one as in the file. `cells` has
    one entry a value column. `problems` are the first `MOST_PROBLEMS` in the order of their lines.
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


class WideParser:
    """Turns the tables of one file, in the file's order, into readings."""

    def __init__(self, profile: ImportProfile, columns: Sequence[str], *, now: int) -> None:
        """Take the profile, the file's column names by position, and the present in microseconds.

        Every column that the profile names must be among `columns`. Raises `UnusableProfile`.
        """
        position = {name: f"c{index}" for index, name in enumerate(columns)}
        self._time_columns = [position[name] for name in profile.time_columns]
        self._value_columns = [position[value.column] for value in profile.values]
        self._names = [value.column for value in profile.values]
        self._formats = tuple(TimeFormat(text) for text in profile.time_formats)
        self._numbers = NumberFormat(
            decimal=profile.decimal, thousands=profile.thousands, na_values=profile.na_values
        )
        self._clock = LocalClock(find_zone(profile.tz))
        self._latest = now + FUTURE_ALLOWANCE

    def parse(self, table: Table) -> ParsedBlock:
        """Return the readings of a table."""
        text = join_time_cells(table.cells, self._time_columns)
        time, code, doubled = self._times(text)
        refused = np.flatnonzero(code)
        rejected = Counter(problem.code for problem in table.rejected)
        rejected.update(_TIME_CODES[number] for number in code[refused].tolist())
        cells, line = table.cells, table.line
        if len(refused):
            accepted = code == _OK
            cells, time, line = cells.filter(pl.Series(accepted)), time[accepted], line[accepted]
        numbers = self._numbers.parse([cells[name] for name in self._value_columns])
        found = [np.flatnonzero(~np.isnan(column.value)) for column in numbers]
        which = np.repeat(np.arange(len(found), dtype=np.int32), [len(rows) for rows in found])
        row = np.concatenate([np.empty(0, np.intp), *found])
        return ParsedBlock(
            column=which,
            time=time[row],
            value=np.concatenate(
                [np.empty(0), *(n.value[rows] for n, rows in zip(numbers, found, strict=True))]
            ),
            line=line[row],
            rows_imported=len(line),
            rows_rejected=rejected,
            blank_lines=table.blank_lines,
            doubled=doubled,
            cells=[_count(column, len(rows)) for column, rows in zip(numbers, found, strict=True)],
            problems=self._problems(table, text, code, numbers, line),
        )

    def _times(self, text: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.int8], tuple[int, int]]:
        """Return UTC microseconds, an index into `_TIME_CODES`, and how many rows each doubled pass has."""
        parsed = parse_times(text, self._formats)
        code = np.where(parsed.fits, _OK, _MALFORMED).astype(np.int8)
        code[(text == "").to_numpy()] = _MISSING
        time = parsed.wall.copy()
        has_offset = parsed.offset != NO_OFFSET
        time[has_offset] -= parsed.offset[has_offset]
        # Far from the present no zone has to be asked, and two days are more than any offset.
        code[(code == _OK) & (time < OLDEST - 2 * DAY)] = _PAST
        code[(code == _OK) & (time > self._latest + 2 * DAY)] = _FUTURE
        local = np.flatnonzero((code == _OK) & ~has_offset)
        utc, kind = self._clock.to_utc(parsed.wall[local])
        time[local] = utc
        code[local[kind == -1]] = _NONEXISTENT
        code[(code == _OK) & (time < OLDEST)] = _PAST
        code[(code == _OK) & (time > self._latest)] = _FUTURE
        return time, code, (int((kind == 1).sum()), int((kind == 2).sum()))

    def _problems(
        self,
        table: Table,
        text: pl.Series,
        code: NDArray[np.int8],
        numbers: Sequence[Numbers],
        line: NDArray[np.int64],
    ) -> list[Problem]:
        problems = table.rejected[:MOST_PROBLEMS]
        problems += [
            Problem(int(table.line[row]), None, _TIME_CODES[code[row]], shown(text[row] or ""))
            for row in np.flatnonzero(code)[:MOST_PROBLEMS].tolist()
        ]
        for name, column in zip(self._names, numbers, strict=True):
            listed = column.malformed[:MOST_PROBLEMS].tolist()
            problems += [
                Problem(
                    int(line[row]), name, str(column.malformed_code[at]), shown(column.malformed_text[at])
                )
                for at, row in enumerate(listed)
            ]
        return sorted(problems, key=lambda problem: problem.line)[:MOST_PROBLEMS]


def _count(numbers: Numbers, readable: int) -> CellCounts:
    return CellCounts(readable, Counter(numbers.na), Counter(numbers.malformed_code.tolist()))
