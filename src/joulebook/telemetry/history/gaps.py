"""Known time: of each summary, and of the time between summaries, by the rule of `rollups/gaps.py`.

Most summaries are decided by their own columns and those of the summaries beside them. Only near others, the
edges of summaries are read, and each distance is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.readings import MICROSECONDS, MINUTE
from joulebook.telemetry.rollups.gaps import (
    SIDE,
    SLOTS,
    TIMES,
    Edges,
    Mask,
    Side,
    Stream,
    are_known,
    is_long,
    side_of,
    stream_of,
)
from joulebook.telemetry.rollups.reader import SummaryReader
from joulebook.telemetry.rollups.summaries import Summaries

Numbers = NDArray[np.float64]

_FAR = np.int64(2**60)


@dataclass(frozen=True)
class KnownTime:
    """By summary: its known microseconds, and the integrals of its level and of the positive level over them.

    `follows` says whether the time between the summary before and this one is known, too.
    """

    inner: NDArray[np.int64]
    integral: Numbers
    positive: Numbers
    follows: Mask

    def take(self, rows: slice) -> KnownTime:
        """Return the known time of a slice of the summaries; the time before its first one is not known."""
        follows = self.follows[rows].copy()
        follows[:1] = False
        return KnownTime(self.inner[rows], self.integral[rows], self.positive[rows], follows)


@dataclass(frozen=True)
class Pieces:
    """Pieces of known time, each inside one bucket: its bucket, microseconds, integrals, and its level."""

    bucket: NDArray[np.intp]
    length: NDArray[np.int64]
    integral: Numbers
    positive: Numbers
    level: Numbers


def find_known_time(reader: SummaryReader, rows: Summaries) -> KnownTime:
    """Return the known time of summaries of any series, in the order of series and time.

    For the time up to an instant to be decided, the `NEAR` readings before and after must be among them.
    """
    before = _before(rows)
    inner, long = rows["count"] - 1, is_long(rows)
    whole = rows["last_at"] - rows["first_at"]
    # No distance near by is shorter than the lowest: what is no longer than three times it is known.
    bound = np.where(long, np.where(whole == rows["longest_gap"] * inner, rows["longest_gap"], 0), _FAR)
    bound = np.where(long | (inner == 0), bound, rows["first_usual"])
    lowest = _lowest_near(np.minimum(bound, np.where(before >= 0, before, _FAR)))
    was_long = np.append(False, long[:-1])
    usual = np.maximum(
        np.where(was_long, np.append(0, rows["last_usual"][:-1]), 0), np.where(long, rows["first_usual"], 0)
    )
    follows = (before >= 0) & (before <= TIMES * np.maximum(lowest, usual))
    # Of two long summaries the medians are the rule itself.
    is_unclear_before = (before >= 0) & ~follows & ~(long & was_long)
    is_unclear = (inner > 0) & np.where(long, rows["pending"] != 0, rows["longest_gap"] > TIMES * lowest)
    is_whole = ~long & ~is_unclear
    found = KnownTime(
        inner=np.where(is_whole, whole, rows["known"]),
        integral=np.where(is_whole, rows["integral"], rows["known_integral"]),
        positive=np.where(is_whole, rows["integral_in"], rows["known_in"]),
        follows=follows,
    )
    if is_unclear.any() or is_unclear_before.any():
        _look_closer(reader, rows, found, is_unclear=is_unclear, is_unclear_before=is_unclear_before)
    return found


def limit_known_time(reader: SummaryReader, rows: Summaries, *, limit: int) -> tuple[Summaries, KnownTime]:
    """Return the summaries of one series with their known time by the owner's silence limit in microseconds.

    Those with a longer silence are read again in shorter pieces. Where these are past retention, the
    summary's known time is that of the rule without a limit.
    """
    has_silence = rows["longest_gap"] > limit
    if has_silence.any():
        again = reader.minute_by_minute if limit >= MINUTE else reader.one_by_one
        rows = again(rows, has_silence)
        has_silence = rows["longest_gap"] > limit
    before = _before(rows)
    return rows, KnownTime(
        inner=np.where(has_silence, rows["known"], rows["last_at"] - rows["first_at"]),
        integral=np.where(has_silence, rows["known_integral"], rows["integral"]),
        positive=np.where(has_silence, rows["known_in"], rows["integral_in"]),
        follows=(before >= 0) & (before <= limit),
    )


def cut_into_pieces(rows: Summaries, known: KnownTime, edges: NDArray[np.int64]) -> Pieces:
    """Return the known time of one series inside the buckets [edges[i], edges[i + 1]).

    No summary is on both sides of an edge; the time between two of them may be.
    """
    length = len(edges) - 1
    of_row = np.searchsorted(edges, rows["first_at"], side="right") - 1
    row = np.flatnonzero((of_row >= 0) & (of_row < length) & (known.inner > 0))
    after = np.flatnonzero(known.follows)
    begin = np.maximum(rows["last_at"][after - 1], edges[0])
    end = np.minimum(rows["first_at"][after], edges[-1])
    is_inside = begin < end
    after, begin, end = after[is_inside], begin[is_inside], end[is_inside]
    first = np.searchsorted(edges, begin, side="right") - 1
    number = np.searchsorted(edges, end, side="left") - first
    gap = np.repeat(np.arange(len(after)), number)
    bucket = np.arange(len(gap)) - np.repeat(np.cumsum(number) - number, number) + first[gap]
    held = np.minimum(end[gap], edges[bucket + 1]) - np.maximum(begin[gap], edges[bucket])
    level = rows["last"][after - 1][gap]
    integral = level * (held / MICROSECONDS)
    return Pieces(
        bucket=np.concatenate([of_row[row], bucket]),
        length=np.concatenate([known.inner[row], held]),
        integral=np.concatenate([known.integral[row], integral]),
        positive=np.concatenate([known.positive[row], np.maximum(integral, 0.0)]),
        level=np.concatenate([rows["last"][row], level]),
    )


def unknown_gaps(rows: Summaries, known: KnownTime) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the begins and the ends of the times between summaries of one series that are not known."""
    after = 1 + np.flatnonzero(~known.follows[1:])
    return rows["last_at"][after - 1], rows["first_at"][after]


def _before(rows: Summaries) -> NDArray[np.int64]:
    """Return the time between each summary and the one before of its series, -1 for the first one."""
    found = np.full(len(rows), -1, np.int64)
    is_same = rows["series_id"][1:] == rows["series_id"][:-1]
    found[1:] = np.where(is_same, rows["first_at"][1:] - rows["last_at"][:-1], -1)
    return found


def _lowest_near(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return by place the lowest value up to `SIDE` places away."""
    padded = np.concatenate([np.full(SIDE, _FAR), values, np.full(SIDE, _FAR)])
    lowest = padded[: len(values)]
    for place in range(1, 2 * SIDE + 1):
        lowest = np.minimum(lowest, padded[place : place + len(values)])
    return lowest


def _look_closer(
    reader: SummaryReader, rows: Summaries, known: KnownTime, *, is_unclear: Mask, is_unclear_before: Mask
) -> None:
    """Decide about the unclear summaries and the unclear time before summaries, and add them to `known`."""
    near = np.flatnonzero(_near(rows, is_unclear, is_unclear_before))
    mine = rows[near]
    stream = _open(reader, rows, near)
    # Only what is unclear is decided; a long summary's own distances have been counted.
    is_border = stream.slot == SLOTS
    bit = np.minimum(stream.slot, SLOTS - 1)
    is_pending = ~is_border & ((mine["pending"][stream.row] >> bit & 1) == 1) & is_unclear[near[stream.row]]
    next_row = np.minimum(near[stream.row] + 1, len(rows) - 1)
    at = np.flatnonzero(stream.is_real & (is_pending | (is_border & is_unclear_before[next_row])))
    at = at[_decide(stream, at, is_long(mine))]
    border = at[stream.slot[at] == SLOTS]
    known.follows[near[stream.row[border]] + 1] = True
    at = at[stream.slot[at] < SLOTS]
    row = near[stream.row[at]]
    held = stream.value[at] * (stream.gap[at] / MICROSECONDS)
    np.add.at(known.inner, row, stream.gap[at])
    np.add.at(known.integral, row, held)
    np.add.at(known.positive, row, np.maximum(held, 0.0))


def _near(rows: Summaries, is_unclear: Mask, is_unclear_before: Mask) -> Mask:
    """Return which summaries have distances that decide about the unclear ones, with these themselves."""
    inner = rows["count"] - 1
    first = np.cumsum(rows["count"]) - rows["count"]
    # The distances of a summary are numbered from `first` on, and that to the next one comes after them.
    low = np.concatenate([first[is_unclear], first[is_unclear_before] - 1]) - SIDE - 1
    high = np.concatenate([(first + inner)[is_unclear], first[is_unclear_before]]) + SIDE
    begin = np.searchsorted(first + inner, low, side="right")
    end = np.searchsorted(first, high, side="right")
    change = np.zeros(len(rows) + 1, np.int64)
    np.add.at(change, begin, 1)
    np.add.at(change, end, -1)
    found: Mask = np.cumsum(change[:-1]) > 0
    return found


def _open(reader: SummaryReader, rows: Summaries, near: NDArray[np.intp]) -> Stream:
    """Return the summaries `near` as a stream of distances."""
    mine = rows[near]
    edges = Edges.none(len(mine))
    is_pair = mine["count"] == 2
    edges.gaps[is_pair, 0] = (mine["last_at"] - mine["first_at"])[is_pair]
    edges.values[is_pair, 0] = mine["first"][is_pair]
    several = np.flatnonzero(mine["count"] > 2)
    if len(several):
        found = reader.read_edges(mine[several])
        edges.gaps[several], edges.values[several] = found.gaps, found.values
    ends = np.ones(len(mine), np.bool_)
    is_next = (near[1:] == near[:-1] + 1) & (mine["series_id"][1:] == mine["series_id"][:-1])
    ends[:-1] = ~is_next
    return stream_of(mine, edges, ends=ends)


def _decide(stream: Stream, at: NDArray[np.intp], long: Mask) -> Mask:
    """Return which of the distances `at` are known.

    A long summary's pending distances have been decided against by the side within the summary.
    """
    before, after = (side_of(stream.gap, stream.is_real, at, step=step) for step in (-1, 1))
    slot, is_of_long = stream.slot[at], long[stream.row[at]]
    is_head, is_tail = is_of_long & (slot < SIDE), is_of_long & (slot >= SIDE) & (slot < SLOTS)
    before = Side(np.where(is_tail, 0, before.twice), before.number)
    after = Side(np.where(is_head, 0, after.twice), after.number)
    found: Mask = are_known(stream.gap[at], before, after)
    return found
