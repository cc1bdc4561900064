"""Detects the beginning of another table within a file: its rows have other columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.row_times import MALFORMED, MISSING, OK
from joulebook.telemetry.files.table import BLANKS, Table

OTHER_TABLE = "other_table"
HEADER_REPEATED = "header_repeated"

_NAME = re.compile(r"[^\W\d_][^\n]*|[_#(°%\[].*[^\W\d_].*")
_MOST_CANDIDATES = 2000
_SOON = 4
_REFUSED = np.int8(MALFORMED)


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
            code[begin:end] = _REFUSED
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
