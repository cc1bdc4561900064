"""Notices where another table begins within a file, so that its rows are not read under the wrong names."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.files.row_times import MALFORMED, MISSING
from joulebook.telemetry.files.table import BLANKS, Table

OTHER_TABLE = "other_table"
HEADER_REPEATED = "header_repeated"

_NOT_A_NAME = re.compile(r"[\s\d.,:;/+\-_*#=|']*")
_MOST_CANDIDATES = 2000
_REFUSED = np.int8(MALFORMED)


class TableWatch:
    """Follows the rows of one file: its own header may come again, and another one ends the table.

    Another header is a row of at least two different names where a time should be, under a blank line or
    a rejected one, or with a name of our own header in it, and not narrower than the row below it.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._own = [column.casefold() for column in columns]
        self._is_other = False

    def reasons(self, table: Table, code: NDArray[np.int8]) -> dict[int, str]:
        """Return why rows are refused that are no rows of the table, by index; `code` is changed in place."""
        candidates = np.flatnonzero((code == MALFORMED) | (code == MISSING))
        if not len(candidates) and not self._is_other:
            return {}
        reasons: dict[int, str] = {}
        begins = 0 if self._is_other else None
        for row in candidates[:_MOST_CANDIDATES].tolist():
            kind = self._kind(table, row)
            if kind == HEADER_REPEATED:
                self._refuse(reasons, code, begins, row)
                begins, self._is_other = None, False
                reasons[row] = HEADER_REPEATED
            elif kind == OTHER_TABLE and begins is None:
                begins, self._is_other = row, True
        self._refuse(reasons, code, begins, len(code))
        return reasons

    def as_json(self) -> bool:
        """Return whether the rows read last were those of another table."""
        return self._is_other

    def restore(self, state: bool) -> None:
        """Take over what `as_json` returned."""
        self._is_other = state

    def _refuse(self, reasons: dict[int, str], code: NDArray[np.int8], begin: int | None, end: int) -> None:
        if begin is not None:
            code[begin:end] = _REFUSED
            reasons.update(dict.fromkeys(range(begin, end), OTHER_TABLE))

    def _kind(self, table: Table, row: int) -> str | None:
        cells = [cell.strip(BLANKS) for cell in table.cells.row(row)]
        filled = [cell for cell in cells if cell]
        if len(filled) < 2 or any(_NOT_A_NAME.fullmatch(cell) for cell in filled):
            return None
        own = [name for cell, name in zip(cells, self._own, strict=True) if cell]
        if [cell.casefold() for cell in filled] == own and len(filled) * 2 > len(self._own):
            return HEADER_REPEATED
        if len({cell.casefold() for cell in filled}) < len(filled):
            return None
        is_apart = row > 0 and int(table.line[row]) != int(table.line[row - 1]) + 1
        shares_names = any(cell.casefold() in self._own for cell in filled)
        if not (is_apart or shares_names) or row + 1 == len(table.line):
            return None
        return OTHER_TABLE if _extent(table.cells.row(row + 1)) <= _extent(cells) else None


def _extent(cells: Sequence[str]) -> int:
    return max((at for at, cell in enumerate(cells, 1) if cell.strip(BLANKS)), default=0)
