"""Tables of text to readings, by layout: wide, long, or with the hours across.

In the wide layout each row is a time and one value a column; in the others a key in each row names the
series of its values. Rows of another table within the file are rejected.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.files.numbers import CellUnits, NumberFormat, Numbers
from joulebook.telemetry.files.profile import COUNTED, ImportProfile
from joulebook.telemetry.files.row_times import MALFORMED, MISSING, OK, TIME_CODES, RowTimes
from joulebook.telemetry.files.series_table import (
    KEY_LIMIT,
    KEY_MARK,
    KEY_MISSING,
    NO_SERIES,
    REFUSED,
    SeriesTable,
)
from joulebook.telemetry.files.table import (
    BLANKS,
    CellCounts,
    ParsedBlock,
    Problem,
    Table,
    first_problems,
    join_time_cells,
    shown,
)
from joulebook.telemetry.files.times import NO_OFFSET, ParsedTimes


class WideParser:
    """Converts the tables of one wide file, in the file's order, to readings."""

    def __init__(
        self, profile: ImportProfile, columns: Sequence[str], *, now: int, most_problems: int
    ) -> None:
        """Take the profile, the file's column names by position, and the present in microseconds.

        Every column named in the profile must be in `columns`. Raises `UnusableProfile`.
        """
        position = {name: f"c{index}" for index, name in enumerate(columns)}
        self._time_columns = [position[name] for name in profile.time_columns]
        self._value_columns = [position[value.column] for value in profile.values]
        self._units = [
            (value.cell_unit, position.get(value.unit_column)) if value.cell_unit else None
            for value in profile.values
        ]
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
        units = [
            each and CellUnits(each[0], None if each[1] is None else cells[each[1]]) for each in self._units
        ]
        numbers = self._numbers.parse([cells[name] for name in self._value_columns], units)
        found = [np.flatnonzero(~np.isnan(column.value)) for column in numbers]
        which = np.repeat(np.arange(len(found), dtype=np.int32), [len(rows) for rows in found])
        row = np.concatenate([np.empty(0, np.intp), *found])
        values = [
            column.value[rows] if factor == 1 else column.value[rows] * factor
            for column, rows, factor in zip(numbers, found, self._factors, strict=True)
        ]
        return ParsedBlock(
            column=which,
            time=time[row],
            value=np.concatenate([np.empty(0), *values]),
            line=line[row],
            rows_imported=len(line),
            rows_rejected=rejected,
            blank_lines=table.blank_lines,
            skipped_lines=table.skipped_lines,
            doubled=doubled,
            cells=[
                CellCounts(len(rows), Counter(column.na), Counter(column.malformed_code.tolist()))
                for column, rows in zip(numbers, found, strict=True)
            ],
            problems=self._problems(
                table, row_problems(table, text, code, reason, self._most_problems), numbers, line
            ),
        )

    def state(self) -> dict[str, Any]:
        """Return the parser's state after the rows so far, as a JSON object."""
        return {"clocks": self._times.as_json(), "table": self._watch.as_json()}

    def restore(self, state: dict[str, Any]) -> None:
        """Set the state returned by `state`."""
        self._times.restore(state["clocks"])
        self._watch.restore(state["table"])

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
    """Return the problems of rows rejected for their time, or for another reason."""
    return [
        Problem(int(table.line[row]), None, reason.get(row) or TIME_CODES[code[row]], shown(text[row] or ""))
        for row in np.flatnonzero(code)[:most].tolist()
    ]


_MINUTE = 60_000_000


@dataclass(frozen=True)
class _Cells:
    """All value cells of some rows, row by row: instants and codes, series, numbers, lines and columns.

    `na_text` is the text of NA cells with text, `bad` the code and text of malformed cells.
    """

    time: NDArray[np.int64]
    code: NDArray[np.int8]
    entry: NDArray[np.int64]
    value: NDArray[np.float64]
    line: NDArray[np.int64]
    column: NDArray[np.int64]
    na: NDArray[np.bool_]
    na_text: dict[int, str]
    bad: dict[int, tuple[str, str]]


def _stripped(cells: pl.DataFrame, name: str | None) -> pl.Series:
    """Return the stripped cells of a column, "" in each row without one."""
    if name is None:
        return pl.repeat("", len(cells), dtype=pl.String, eager=True)
    return cells[name].str.strip_chars(BLANKS)


class LongParser:
    """Converts the tables of one file with keys, in the file's order, to readings."""

    def __init__(
        self, profile: ImportProfile, columns: Sequence[str], *, now: int, most_problems: int
    ) -> None:
        """Take the profile, the file's column names by position, and the present in microseconds.

        Every column named in the profile must be in `columns`. Raises `UnusableProfile`.
        """
        position = {name: f"c{index}" for index, name in enumerate(columns)}
        self._time_columns = [position[name] for name in profile.time_columns]
        self._key_columns = [position[name] for name in profile.key_columns]
        self._unit_column = position.get(profile.unit_column)
        self._kind_column = position.get(profile.kind_column)
        self._hours = profile.hour_columns
        names = [hour.column for hour in self._hours] or value_columns(profile)
        self._names = names
        self._value_columns = [position[name] for name in names]
        self._times = RowTimes(profile, now=now)
        self._numbers = NumberFormat.of(profile)
        self._watch = TableWatch(profile, columns)
        self._series = SeriesTable(profile, [""] if self._hours else names)
        self._most_problems = most_problems

    def parse(self, table: Table) -> ParsedBlock:
        """Return the readings of a table."""
        text = join_time_cells(table.cells, self._time_columns)
        if self._key_columns:
            parts = [pl.col(name).str.strip_chars(BLANKS) for name in self._key_columns]
            key = table.cells.select(pl.concat_str(parts, separator=KEY_MARK).alias("key")).to_series()
        else:
            key = pl.Series("key", [""] * len(table.cells), dtype=pl.String)
        if self._hours:
            time, code = self._times.dates(text)
            doubled = (0, 0)
        else:
            time, code, doubled = self._times.read(text, key)
        reason = self._watch.reasons(table, code)
        if self._key_columns:
            keyless = np.flatnonzero((code == OK) & (key.str.strip_chars(KEY_MARK) == "").to_numpy())
            code[keyless] = len(TIME_CODES)
            reason |= dict.fromkeys(keyless.tolist(), KEY_MISSING)
        entry = self._entries(table.cells, key, code, reason)
        refused = np.flatnonzero(code)
        rejected = Counter(problem.code for problem in table.rejected)
        rejected.update(reason.get(row) or TIME_CODES[code[row]] for row in refused.tolist())
        rows = np.flatnonzero(code == OK)
        cells, more = self._cells(table.cells[rows], time[rows], table.line[rows], key[rows], entry[rows])
        rejects = table.rejected[: self._most_problems]
        rejects = rejects + row_problems(table, text, code, reason, self._most_problems)
        return self._block(
            cells, rejects, rows_imported=len(rows), rows_rejected=rejected, blank_lines=table.blank_lines,
            skipped_lines=table.skipped_lines, doubled=(doubled[0] + more[0], doubled[1] + more[1]),
        )  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Return the parser's state after the rows so far, as a JSON object."""
        return {
            "clocks": self._times.as_json(),
            "table": self._watch.as_json(),
            "added": self._series.as_json(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Set the state returned by `state`."""
        self._times.restore(state["clocks"])
        self._watch.restore(state["table"])
        self._series.restore(state["added"])

    def _entries(
        self, cells: pl.DataFrame, key: pl.Series, code: NDArray[np.int8], reason: dict[int, str]
    ) -> NDArray[np.int64]:
        """Return the entries of all rows; set `code` and `reason` of rows with a key beyond the limit."""
        rows = np.flatnonzero(code == OK)
        unit, kind = (_stripped(cells, name) for name in (self._unit_column, self._kind_column))
        entry = np.full((len(cells), len(self._series.columns)), NO_SERIES, np.int64)
        entry[rows] = self._series.entries(key[rows], unit[rows], kind[rows])
        full = np.flatnonzero((entry == REFUSED).any(axis=1))
        code[full] = len(TIME_CODES)
        reason |= dict.fromkeys(full.tolist(), KEY_LIMIT)
        return entry

    def _cells(
        self,
        cells: pl.DataFrame,
        time: NDArray[np.int64],
        line: NDArray[np.int64],
        key: pl.Series,
        entry: NDArray[np.int64],
    ) -> tuple[_Cells, tuple[int, int]]:
        """Return the value cells of accepted rows, and the number of hours across in each doubled pass."""
        count = len(self._value_columns)
        units = self._cell_units(cells, entry)
        numbers = self._numbers.parse([cells[name] for name in self._value_columns], units)
        value = np.column_stack([n.value for n in numbers]).ravel() if numbers else np.empty(0)
        if self._hours:
            entry = np.repeat(entry, count, axis=1)
            times, codes, doubled = self._hour_times(time, key, value)
        else:
            times, codes, doubled = np.repeat(time, count), np.zeros(len(value), np.int8), (0, 0)
        na = np.zeros(len(value), np.bool_)
        na_text: dict[int, str] = {}
        bad: dict[int, tuple[str, str]] = {}
        for at, column in enumerate(numbers):
            na[column.na_rows * count + at] = True
            for row in np.flatnonzero((column.na_text != "").to_numpy()).tolist():
                na_text[int(column.na_rows[row]) * count + at] = str(column.na_text[row])
            for row, index in enumerate(column.malformed.tolist()):
                bad[index * count + at] = (str(column.malformed_code[row]), str(column.malformed_text[row]))
        return _Cells(
            time=times, code=codes, entry=entry.ravel(), value=value, line=np.repeat(line, count),
            column=np.tile(np.arange(count), len(line)), na=na, na_text=na_text, bad=bad,
        ), doubled  # fmt: skip

    def _cell_units(self, cells: pl.DataFrame, entry: NDArray[np.int64]) -> list[CellUnits] | None:
        """Return the units of each value column, wanted by each row's entry; None if none is converted."""
        wanted = pl.Series([*(value.cell_unit for value in self._series.values), ""], dtype=pl.String)
        if not (wanted != "").any():
            return None
        beside = None if self._unit_column is None else cells[self._unit_column]
        of_entry = np.where(entry < 0, len(wanted) - 1, entry)
        columns = range(1) if self._hours else range(entry.shape[1])
        units = [CellUnits(wanted[of_entry[:, at]], beside) for at in columns]
        return units * len(self._value_columns) if self._hours else units

    def _hour_times(
        self, day: NDArray[np.int64], key: pl.Series, value: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int8], tuple[int, int]]:
        """Return the instants of hours across; only cells with a value pass the clock."""
        minutes = np.array([hour.minutes for hour in self._hours], np.int64)
        passes = np.array([hour.pass_ for hour in self._hours], np.int8)
        is_counted = passes == COUNTED
        marked = np.tile(np.where(is_counted, np.int8(0), passes), len(day))
        passed = np.tile(np.where(is_counted, minutes, 0) * _MINUTE, len(day))
        wall = (day[:, None] + np.where(is_counted, 0, minutes) * _MINUTE).ravel()
        there = np.flatnonzero(~np.isnan(value))
        parsed = ParsedTimes(
            wall[there],
            np.full(len(there), NO_OFFSET),
            np.ones(len(there), np.bool_),
            marked[there],
            passed[there] if is_counted.any() else None,
        )
        series = key[np.repeat(np.arange(len(day)), len(minutes))[there]]
        code = np.zeros(len(value), np.int8)
        time = wall.copy()
        time[there], code[there], doubled = self._times.to_utc(parsed, code[there], series)
        return time, code, doubled

    def _block(self, cells: _Cells, rejects: list[Problem], **row_counts: Any) -> ParsedBlock:
        counts = [CellCounts() for _ in self._series.values]
        readable = ~np.isnan(cells.value) & (cells.code == OK) & (cells.entry >= 0)
        chosen = np.flatnonzero(readable)
        chosen = chosen[np.argsort(cells.entry[chosen], kind="stable")]
        entry = cells.entry[chosen]
        for count, number in zip(counts, np.bincount(entry, minlength=len(counts)).tolist(), strict=True):
            count.readable = number
        problems = rejects + self._count_rest(cells, counts)
        factor = np.array([value.factor for value in self._series.values])
        return ParsedBlock(
            column=entry.astype(np.int32),
            time=cells.time[chosen],
            value=cells.value[chosen] * factor[entry] if len(entry) else cells.value[chosen],
            line=cells.line[chosen],
            cells=counts,
            problems=first_problems(problems, self._most_problems),
            added=self._series.added,
            **row_counts,
        )

    def _count_rest(self, cells: _Cells, counts: list[CellCounts]) -> list[Problem]:
        """Count the cells without a reading; return the problems among them."""
        empty = cells.na & (cells.entry >= 0)
        empty[list(cells.na_text)] = False
        for at, number in enumerate(np.bincount(cells.entry[empty], minlength=len(counts)).tolist()):
            if number:
                counts[at].na[""] += number
        for at, text in cells.na_text.items():
            if cells.entry[at] >= 0:
                counts[cells.entry[at]].na[text] += 1
        bad = dict(cells.bad)
        for at in np.flatnonzero((cells.code != OK) & ~np.isnan(cells.value)).tolist():
            bad[at] = (TIME_CODES[cells.code[at]], repr(float(cells.value[at])))
        problems = []
        for at, (code, text) in sorted(bad.items()):
            if cells.entry[at] < 0:
                continue
            counts[cells.entry[at]].malformed[code] += 1
            problems.append(
                Problem(int(cells.line[at]), self._names[int(cells.column[at])], code, shown(text))
            )
        return problems


def value_columns(profile: ImportProfile) -> list[str]:
    """Return the value columns of a long file, each once."""
    return list(dict.fromkeys(value.column for value in profile.values))


OTHER_TABLE = "other_table"
HEADER_REPEATED = "header_repeated"

_NAME = re.compile(r"[^\W\d_][^\n]*|[_#(°%\[].*[^\W\d_].*")
_MOST_CANDIDATES = 2000
_SOON = 4


class TableWatch:
    """Follows the rows of one file: its own header may repeat, and another header ends the table.

    Another header is a row of two or more different names and nothing else; only its first cell may be empty.
    Soon below it there is a row of data. Above it there is a blank line, or the time column has its own name
    in it. From another header on, all rows are rejected until the file's own header repeats.
    """

    def __init__(self, profile: ImportProfile, columns: Sequence[str]) -> None:
        self._own = [column.casefold() for column in columns]
        self._times = [self._own.index(name.casefold()) for name in profile.time_columns]
        self._na_values = set(profile.na_values)
        self._is_other = False

    def reasons(self, table: Table, code: NDArray[np.int8]) -> dict[int, str]:
        """Reject the rows outside the table in `code`, in place; return their reasons by the row's index."""
        candidates = np.flatnonzero((code == MALFORMED) | (code == MISSING))
        if not len(candidates) and not self._is_other:
            return {}
        reasons: dict[int, str] = {}
        begin = 0 if self._is_other else None
        fits = code == OK
        for row in candidates[:_MOST_CANDIDATES].tolist():
            kind = self._kind(table, row, fits)
            if kind == HEADER_REPEATED:
                self._reject(reasons, code, begin, row)
                begin, self._is_other = None, False
                reasons[row] = HEADER_REPEATED
            elif kind == OTHER_TABLE and begin is None:
                begin, self._is_other = row, True
        self._reject(reasons, code, begin, len(code))
        return reasons

    def as_json(self) -> bool:
        """Return whether the last rows were those of another table."""
        return self._is_other

    def restore(self, state: bool) -> None:
        """Set the state returned by `as_json`."""
        self._is_other = state

    def _reject(self, reasons: dict[int, str], code: NDArray[np.int8], begin: int | None, end: int) -> None:
        """Reject the rows [begin, end) as those of another table; do nothing if `begin` is None."""
        if begin is not None:
            code[begin:end] = MALFORMED
            reasons.update(dict.fromkeys(range(begin, end), OTHER_TABLE))

    def _kind(self, table: Table, row: int, fits: NDArray[np.bool_]) -> str | None:
        """Return `HEADER_REPEATED` or `OTHER_TABLE` if the row is such a header, else None."""
        cells = [cell.strip(BLANKS) for cell in table.cells.row(row)]
        while cells and not cells[-1]:
            cells.pop()
        names = cells if cells and cells[0] else cells[1:]
        if len(names) < 2 or not all(_NAME.fullmatch(name) and name not in self._na_values for name in names):
            return None
        folded = [cell.casefold() for cell in cells]
        if folded == self._own[: len(folded)] and len(folded) * 2 > len(self._own):
            return HEADER_REPEATED
        below = fits[row + 1 : row + _SOON]
        if len(set(folded)) < len(folded) or (len(below) and not below.any()):
            return None
        is_apart = row > 0 and int(table.line[row]) != int(table.line[row - 1]) + 1
        names_time = any(at < len(folded) and folded[at] == self._own[at] for at in self._times)
        return OTHER_TABLE if is_apart or names_time else None
