"""Readings whose instant repeats with another value, in one series and within one file.

A series has one value for an instant. A file with two of them was probably misread: rows of several series,
a column of the time left out, a row of totals, or a second table.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.files.table import ParsedBlock, Repeats

MOST_REMEMBERED = 500_000
"""Readings remembered for a series whose times step back; 28 bytes each."""


@dataclass(frozen=True)
class _Readings:
    column: NDArray[np.int32]
    time: NDArray[np.int64]
    value: NDArray[np.float64]
    line: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.time)

    def take(self, chosen: NDArray[np.bool_]) -> _Readings:
        return _Readings(self.column[chosen], self.time[chosen], self.value[chosen], self.line[chosen])


class RepeatWatch:
    """Finds the repeats of one file, block by block, in bounded memory.

    The result is exact for each series whose times only rise, or only fall. Elsewhere a repeat is found if
    at most `most` readings of the file are between it and the first.
    """

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._remembered: deque[_Readings] = deque()
        self._count = 0
        self._low, self._high = np.empty(0, np.int64), np.empty(0, np.int64)

    def find(self, block: ParsedBlock) -> Repeats:
        """Return the repeats of a block; identical readings are none."""
        if not len(block.time):
            return Repeats()
        new = _Readings(block.column, block.time, block.value, block.line)
        changes = np.flatnonzero(np.diff(new.column))
        begins = np.concatenate([[0], changes + 1])
        low, high = np.minimum.reduceat(new.time, begins), np.maximum.reduceat(new.time, begins)
        columns = new.column[begins]
        self._grow(int(columns[-1]) + 1)
        is_apart = (low > self._high[columns]) | (high < self._low[columns])
        steps = np.delete(np.diff(new.time), changes)
        is_monotone = bool((steps > 0).all() or (steps < 0).all())
        repeats = Repeats() if is_monotone and is_apart.all() else self._search(new)
        self._low[columns] = np.minimum(self._low[columns], low)
        self._high[columns] = np.maximum(self._high[columns], high)
        self._remember(new)
        return repeats

    def _grow(self, width: int) -> None:
        if (more := width - len(self._low)) > 0:
            limits = np.iinfo(np.int64)
            self._low = np.append(self._low, np.full(more, limits.max))
            self._high = np.append(self._high, np.full(more, limits.min))

    def _remember(self, new: _Readings) -> None:
        self._remembered.append(new)
        self._count += len(new)
        while self._count - len(self._remembered[0]) >= self._most:
            self._count -= len(self._remembered.popleft())

    def _search(self, new: _Readings) -> Repeats:
        first, last = int(new.time.min()), int(new.time.max())
        parts = [part.take((part.time >= first) & (part.time <= last)) for part in self._remembered]
        parts.append(new)
        column, time, value, line = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("column", "time", "value", "line")
        )
        order = np.lexsort((time, column))
        same = np.concatenate([[False], (np.diff(column[order]) == 0) & (np.diff(time[order]) == 0)])
        # The sort is stable: of readings with the same instant the first is that of the file.
        of_group = order[np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))]
        found = np.flatnonzero(same & (value[order] != value[of_group]) & (order >= len(order) - len(new)))
        rows, firsts = order[found], of_group[found]
        by_row = np.argsort(rows)
        rows, firsts = rows[by_row], firsts[by_row]
        return Repeats(rows - (len(order) - len(new)), line[firsts], value[firsts])
