"""Which time between readings is known, and what rollups hold so that neighbouring rows can decide about it.

The rule. The time between two neighbouring readings is known if it is at most three times the larger of two
medians: that of the five distances before it, and that of the five after it. Near the begin and the end of a
series there are fewer; the median of an even number is the mean of the two in the middle. A lone distance is
known. (With a silence limit of the owner, the time is known if it is not longer than the limit.)

A row of more than `SLOTS` distances decides most of them by itself. Its first five lack some distances before
them, and its last five some after them: each of these is known if its whole side inside the row says so. Else
it is *pending*: the readings beyond the row decide. In a shorter row every distance is pending. A row sums up
its known time; `Edges` have the distances and values for the decisions about the rest. So no row depends on
readings outside of its bucket.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]

SIDE = 5
"""The distances on each side of a distance that decide about it."""

TIMES = 3
"""A distance is known up to this many times the larger median beside it."""

SLOTS = 2 * SIDE
"""The distances of a row that are written down: all of them, or the first five and the last five."""

_FAR = np.int64(2**60)


@dataclass(frozen=True)
class Edges:
    """Of each row up to `SLOTS` distances in microseconds, and the values of pending ones.

    In a short row slot i is the i-th distance. In a longer one the first five slots are the first five
    distances, and the others the last five. A distance's value is that of the reading before it; it is zero
    where the distance is not pending. Unused slots are zero.
    """

    gaps: Ints
    values: Numbers

    @classmethod
    def none(cls, rows: int) -> Edges:
        """Return edges with nothing in their slots."""
        return cls(np.zeros((rows, SLOTS), np.int64), np.zeros((rows, SLOTS)))

    def __len__(self) -> int:
        return len(self.gaps)

    def take(self, rows: NDArray[np.intp] | Mask | slice) -> Edges:
        """Return the edges of the rows selected by an index array, a mask or a slice."""
        return Edges(self.gaps[rows], self.values[rows])

    def digest(self) -> Ints:
        """Return by row one number; different edges have the same one by an unlikely accident only."""
        words = np.concatenate([self.gaps, self.values.view(np.int64)], axis=1)
        # Odd factors, so that every bit counts; products wrap around.
        factors = np.random.default_rng(SLOTS).integers(1, 2**62, 2 * SLOTS) * 2 + 1
        found: Ints = (words * factors).sum(axis=1)
        return found


@dataclass(frozen=True)
class Side:
    """The distances on one side: twice their median, 0 without any, and their number up to `SIDE`."""

    twice: Ints
    number: Ints

    def allows(self, gap: Ints) -> Mask:
        """Return whether the side says that the distances beside it are known."""
        found: Mask = 2 * gap <= TIMES * self.twice
        return found


def side_of(gap: Ints, is_real: Mask, at: NDArray[np.intp], *, step: int) -> Side:
    """Return what lies before (`step` -1) or after (`step` 1) the distances `at`.

    Distances are counted as far as they are real one after the other: a distance that is not real ends a
    series, or stands for some that are not known here.
    """
    found = np.full((len(at), SIDE), _FAR)
    number = np.zeros(len(at), np.int64)
    is_near = np.ones(len(at), np.bool_)
    for place in range(SIDE):
        index = at + step * (place + 1)
        is_near = is_near & (index >= 0) & (index < len(gap))
        index = np.clip(index, 0, max(len(gap) - 1, 0))
        is_near = is_near & is_real[index]
        found[:, place] = np.where(is_near, gap[index], _FAR)
        number += is_near
    found.sort(axis=1)
    row = np.arange(len(at))
    low, high = found[row, np.maximum(number - 1, 0) // 2], found[row, number // 2]
    return Side(np.where(number > 0, low + high, 0), number)


def are_known(gap: Ints, before: Side, after: Side) -> Mask:
    """Return whether the distances are known, with what lies before and after each."""
    is_alone = (before.number == 0) & (after.number == 0)
    found: Mask = is_alone | before.allows(gap) | after.allows(gap)
    return found


def slot_mask(count: Ints) -> Mask:
    """Return by row which slots are used: those of as many distances as there are, up to `SLOTS`."""
    found: Mask = np.arange(SLOTS) < np.minimum(count, SLOTS)[:, np.newaxis]
    return found


def bits(pending: NDArray[np.int32]) -> Mask:
    """Return by row and slot whether the bit of the slot is set."""
    found: Mask = (pending[:, np.newaxis] >> np.arange(SLOTS, dtype=np.int32) & 1).astype(np.bool_)
    return found


def as_bits(mask: Mask) -> NDArray[np.int32]:
    """Return by row one number with the bits of the slots of the mask."""
    found: NDArray[np.int32] = (mask << np.arange(SLOTS)).sum(axis=1).astype(np.int32)
    return found


HEAD = np.int32((1 << SIDE) - 1)
"""The bits of the first five slots of a long row."""
TAIL = np.int32(HEAD << SIDE)


def is_long(rows: NDArray[np.void]) -> Mask:
    """Return which rows have decided distances between their first five and their last five.

    That are rows of more than `SLOTS` distances, and rows without pending ones: those of time whose readings
    were dropped before rollups knew gaps.
    """
    found: Mask = (rows["count"] > 1) & ((rows["count"] > SLOTS + 1) | (rows["pending"] == 0))
    return found


@dataclass(frozen=True)
class Stream:
    """The distances of consecutive rows: each row's own, and after them the one to the next row.

    By distance: its row, its slot in the row (`SLOTS` for the one to the next row), its length, the value
    before it, and whether it is real. One that is not real stands for several, or for the end of a series.
    `begin` is the index of each row's first distance, `last` that of its distance to the next row.
    """

    row: NDArray[np.intp]
    slot: NDArray[np.intp]
    gap: Ints
    value: Numbers
    is_real: Mask
    begin: NDArray[np.intp]
    last: NDArray[np.intp]


def stream_of(rows: NDArray[np.void], edges: Edges, *, ends: Mask) -> Stream:
    """Return the distances of the rows as one stream; `ends` are the last rows of each series or group."""
    long = is_long(rows)
    number = np.where(long, SLOTS + 1, rows["count"] - 1) + 1
    begin = np.cumsum(number) - number
    last = begin + number - 1
    row = np.repeat(np.arange(len(rows)), number)
    place = np.arange(len(row)) - begin[row]
    is_border = place == number[row] - 1
    is_closed = ~is_border & long[row] & (place == SIDE)
    slot = np.where(is_border, SLOTS, np.where(long[row] & (place > SIDE), place - 1, place))
    shown = np.minimum(slot, SLOTS - 1)
    between = np.zeros(len(rows), np.int64)
    between[:-1] = rows["first_at"][1:] - rows["last_at"][:-1]
    return Stream(
        row=row,
        slot=slot,
        gap=np.where(is_border, between[row], edges.gaps[row, shown]),
        value=np.where(is_border, rows["last"][row], edges.values[row, shown]),
        is_real=~is_closed & ~(is_border & ends[row]),
        begin=begin,
        last=last,
    )
