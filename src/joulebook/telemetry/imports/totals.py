"""Counts and exact sums of series, of a file and of what is stored: whether a move is complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.connection import Connection
from joulebook.telemetry.export.reading import read_blocks
from joulebook.telemetry.files.profile import ValueColumn
from joulebook.telemetry.files.table import ParsedBlock
from joulebook.telemetry.series import SeriesKey, find_series

_MANTISSA_BITS, _LOW_BITS = 53, 26
_SCALE_BITS = 1126
"""Every finite double is a whole number of 2**-1126."""


@dataclass
class SeriesTotals:
    """The number of readings of a series, their first and last instant, and their sum, without rounding."""

    count: int = 0
    first: int = 0
    last: int = 0
    scaled_sum: int = 0

    @property
    def sum(self) -> float:
        """The sum of the values, rounded once."""
        return float(Fraction(self.scaled_sum, 1 << _SCALE_BITS))

    def add(self, time: NDArray[np.int64], value: NDArray[np.float64]) -> None:
        """Add readings, in any order."""
        if len(time):
            self.merge(SeriesTotals(len(time), int(time.min()), int(time.max()), _scaled_sum(value)))

    def merge(self, other: SeriesTotals) -> None:
        """Add the readings of another total."""
        if not other.count:
            return
        self.first = min(self.first, other.first) if self.count else other.first
        self.last = max(self.last, other.last) if self.count else other.last
        self.count += other.count
        self.scaled_sum += other.scaled_sum


def _scaled_sum(values: NDArray[np.float64]) -> int:
    mantissa, exponent = np.frexp(values)
    whole = (mantissa * (1 << _MANTISSA_BITS)).astype(np.int64)
    total = 0
    for each in np.unique(exponent).tolist():
        same = whole[exponent == each]
        # In two halves: the sum of many mantissas does not fit into 64 bits.
        high, low = int((same >> _LOW_BITS).sum()), int((same & ((1 << _LOW_BITS) - 1)).sum())
        total += ((high << _LOW_BITS) + low) << (each - _MANTISSA_BITS + _SCALE_BITS)
    return total


def _runs(ordered: NDArray[np.int32]) -> Iterator[tuple[int, int, int]]:
    """Yield each number of an ordered array with the half-open range of its positions."""
    numbers, begins = np.unique(ordered, return_index=True)
    borders = [*begins.tolist(), len(ordered)]
    yield from zip(numbers.tolist(), borders, borders[1:], strict=False)


def file_totals(
    blocks: Iterable[ParsedBlock], values: Sequence[ValueColumn]
) -> dict[tuple[str, ...], SeriesTotals]:
    """Return the totals of a file's series by key; `values` are those of the profile it is read by."""
    found: dict[tuple[str, ...], SeriesTotals] = {}
    for block in blocks:
        every = (*values, *block.added)
        for column, begin, end in _runs(block.column):
            totals = found.setdefault(every[column].key, SeriesTotals())
            totals.add(block.time[begin:end], block.value[begin:end])
    return found


def stored_totals(
    conn: Connection, ranges: Mapping[SeriesKey, SeriesTotals]
) -> dict[SeriesKey, SeriesTotals]:
    """Return the totals of stored series, each from the first to the last instant in `ranges`.

    Raises `DatabaseUnavailable`.
    """
    found = {key: SeriesTotals() for key in ranges}
    ids = find_series(conn, ranges)
    keys = [key for key in ranges if key in ids and ranges[key].count]
    if not keys:
        return found
    first = np.array([ranges[key].first for key in keys])
    last = np.array([ranges[key].last for key in keys])
    series = {str(at): ids[key] for at, key in enumerate(keys)}
    blocks = read_blocks(conn, series, begin=int(first.min()), end=int(last.max()) + 1)
    with closing(blocks):
        for block in blocks:
            inside = (block.time >= first[block.metric]) & (block.time <= last[block.metric])
            metric, time, value = block.metric[inside], block.time[inside], block.value[inside]
            order = np.argsort(metric, kind="stable")
            metric, time, value = metric[order], time[order], value[order]
            for column, begin, end in _runs(metric):
                found[keys[column]].add(time[begin:end], value[begin:end])
    return found
