"""Mergeable summaries of the readings of one series in one bucket.

A summary has sums and counts, never averages. It has its first and last reading, for the step from one
bucket to the next. For counters it has the rise, and the highest readings before the first and after the last
reset, so that a dip at a bucket's border is a dip in the merged summary, too. Rows are NumPy structured
arrays of `SUMMARY`, in the order of series and time.

Counters. A reading lower than the one before by `DIP_TOLERANCE` of it or more is a reset: the register began
anew at zero. Any other fall is a dip: the register stands still until readings rise above its highest again.
Readings between two resets are one run; a run's rise is its highest reading less its first (the first run of
a bucket) or less zero (after a reset).

Levels. A summary has the integral over all of its time, and that over the part which is known for certain
(`gaps.py`). Its `Edges` have what is needed to decide about the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.kinds.settings import DIP_TOLERANCE
from joulebook.telemetry.readings import MICROSECONDS
from joulebook.telemetry.rollups.gaps import (
    HEAD,
    SIDE,
    SLOTS,
    TAIL,
    TIMES,
    Edges,
    Mask,
    as_bits,
    bits,
    is_long,
    side_of,
    slot_mask,
    stream_of,
)

SUMMARY = np.dtype(
    [
        ("series_id", np.int32),
        ("bucket", np.int64),
        ("count", np.int64),
        ("sum", np.float64),
        ("min", np.float64),
        ("max", np.float64),
        ("first", np.float64),
        ("last", np.float64),
        ("first_at", np.int64),
        ("last_at", np.int64),
        ("increase", np.float64),
        ("first_peak", np.float64),
        ("last_peak", np.float64),
        ("resets", np.int32),
        ("integral", np.float64),
        ("longest_gap", np.int64),
        ("rises", np.float64),
        ("integral_in", np.float64),
        ("known", np.int64),
        ("known_integral", np.float64),
        ("known_in", np.float64),
        ("first_usual", np.int64),
        ("last_usual", np.int64),
        ("pending", np.int32),
        ("width", np.int64),
    ]
)
"""`bucket`, `first_at`, `last_at`: microseconds since 1970 UTC. `first_peak` and `last_peak`: the highest
reading before the first and after the last reset. `increase`: the rise of a counter within the bucket.
`rises`: the sum of all steps upwards between neighbours, for registers that run both ways.
`integral`: each reading times the seconds until the next within the bucket; `integral_in`: the same of the
positive readings alone. `longest_gap`: the longest time between two neighbours within it, in microseconds.
`known`, `known_integral`, `known_in`: the microseconds between neighbours that are known for certain, and
the integrals over them. `pending`: a bit for each slot of the edges whose distance is not decided yet.
`first_usual`, `last_usual`: the medians of the first and of the last five distances; in a row of up to
`SLOTS` distances both are the shortest one. `width`, which is not stored: the width of the rollup the summary
was read from, 0 if it was made from readings."""

Summaries = NDArray[np.void]


def is_reset(
    before: NDArray[np.float64], after: NDArray[np.float64], *, tolerance: float = DIP_TOLERANCE
) -> NDArray[np.bool_]:
    """Return for each pair of neighbouring readings of a counter whether it was reset between them."""
    return (before > 0) & (after < before) & (before - after >= tolerance * before)


def summarise(
    series_id: NDArray[np.int32],
    time: NDArray[np.int64],
    value: NDArray[np.float64],
    bucket: NDArray[np.int64],
    *,
    tolerance: float = DIP_TOLERANCE,
) -> Summaries:
    """Return one summary a series and bucket of readings in the order of series and time.

    All four are of equal length; `bucket` is the start of each reading's bucket.
    """
    begin = _groups(series_id, bucket)
    rows = np.empty(len(begin), SUMMARY)
    if not len(rows):
        return rows
    end = np.append(begin[1:], len(time)) - 1
    rows["series_id"], rows["bucket"] = series_id[begin], bucket[begin]
    rows["count"] = end - begin + 1
    rows["sum"] = np.add.reduceat(value, begin)
    rows["min"], rows["max"] = np.minimum.reduceat(value, begin), np.maximum.reduceat(value, begin)
    rows["first"], rows["last"] = value[begin], value[end]
    rows["first_at"], rows["last_at"] = time[begin], time[end]
    gap = np.zeros(len(time), np.int64)
    gap[1:] = np.diff(time)
    gap[begin] = 0
    rows["longest_gap"] = np.maximum.reduceat(gap, begin)
    step = np.zeros(len(value))
    step[1:] = np.maximum(value[1:] - value[:-1], 0.0)
    step[begin] = 0.0
    rows["rises"] = np.add.reduceat(step, begin)
    held = _held(value, gap)
    rows["integral"] = np.add.reduceat(held, begin)
    rows["integral_in"] = np.where(rows["min"] >= 0, rows["integral"], 0.0)
    if ((rows["min"] < 0) & (rows["max"] > 0)).any():
        rows["integral_in"] = np.add.reduceat(np.maximum(held, 0.0), begin)
    rows["width"] = 0
    _decide(rows, time, value, begin=begin)
    resets = np.zeros(len(value), np.bool_)
    resets[1:] = is_reset(value[:-1], value[1:], tolerance=tolerance)
    _fill_counter(rows, peak=value, resets=resets, begin=begin)
    return rows


def edges_of(rows: Summaries, time: NDArray[np.int64], value: NDArray[np.float64]) -> Edges:
    """Return the edges of the summaries made from these readings."""
    edges = Edges.none(len(rows))
    several = np.flatnonzero(rows["count"] > 1)
    begin = (np.cumsum(rows["count"]) - rows["count"])[several]
    slot = _slots(begin, rows["count"][several])
    is_used = slot_mask(rows["count"][several] - 1)
    edges.gaps[several] = np.where(is_used, time[slot + 1] - time[slot], 0)
    edges.values[several] = np.where(bits(rows["pending"][several]), value[slot], 0.0)
    return edges


def summarise_each(
    series_id: NDArray[np.int32], time: NDArray[np.int64], value: NDArray[np.float64]
) -> Summaries:
    """Return each reading as a summary of its own, with its instant as the bucket."""
    return summarise(series_id, time, value, time)


def join_summaries(parts: Sequence[Summaries]) -> Summaries:
    """Return the parts one after the other as one; a single part without copying it."""
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, SUMMARY), *parts])


def merge(rows: Summaries, edges: Edges, bucket: NDArray[np.int64]) -> tuple[Summaries, Edges]:
    """Return one summary a series and bucket of finer ones in the order of series and time, and its edges.

    `bucket` is the start of the coarser bucket around each of `rows`; no row crosses its edges.
    """
    begin = _groups(rows["series_id"], bucket)
    merged = np.empty(len(begin), SUMMARY)
    if not len(merged):
        return merged, Edges.none(0)
    end = np.append(begin[1:], len(rows)) - 1
    merged["series_id"], merged["bucket"] = rows["series_id"][begin], bucket[begin]
    merged["count"] = np.add.reduceat(rows["count"], begin)
    merged["sum"] = np.add.reduceat(rows["sum"], begin)
    merged["min"] = np.minimum.reduceat(rows["min"], begin)
    merged["max"] = np.maximum.reduceat(rows["max"], begin)
    merged["first"], merged["last"] = rows["first"][begin], rows["last"][end]
    merged["first_at"], merged["last_at"] = rows["first_at"][begin], rows["last_at"][end]
    gap = np.zeros(len(rows), np.int64)
    gap[1:] = rows["first_at"][1:] - rows["last_at"][:-1]
    gap[begin] = 0
    merged["longest_gap"] = np.maximum.reduceat(np.maximum(gap, rows["longest_gap"]), begin)
    step = np.zeros(len(rows))
    step[1:] = np.maximum(rows["first"][1:] - rows["last"][:-1], 0.0)
    step[begin] = 0.0
    merged["rises"] = np.add.reduceat(rows["rises"] + step, begin)
    held = _held(rows["last"], gap)
    merged["integral"] = np.add.reduceat(rows["integral"] + held, begin)
    merged["integral_in"] = np.add.reduceat(rows["integral_in"] + np.maximum(held, 0.0), begin)
    merged["width"] = 0
    merged_edges = _merge_known(merged, rows, edges, gap=gap, begin=begin)
    runs = runs_of(rows)
    _fill_counter(merged, peak=runs.peak, resets=runs.resets, begin=runs.begin[begin])
    merged["increase"] += np.add.reduceat(runs.inner_increase, begin)
    merged["resets"] += np.add.reduceat(np.maximum(rows["resets"] - 1, 0), begin)
    return merged, merged_edges


@dataclass(frozen=True)
class Runs:
    """The runs of a counter in summaries: of each row the first, and the last if it is another one.

    `row`, `peak`, `resets`: for each of these runs its row, its highest reading, and whether it begins with a
    reset (within the row, or since the row before). `begin`: the index of each row's first run.
    `inner_increase`: the rise in a row between its first and its last run.
    """

    row: NDArray[np.intp]
    peak: NDArray[np.float64]
    resets: NDArray[np.bool_]
    begin: NDArray[np.intp]
    inner_increase: NDArray[np.float64]


def runs_of(rows: Summaries, *, tolerance: float = DIP_TOLERANCE) -> Runs:
    """Return the runs of consecutive summaries; a reset before the first row is unknown."""
    has_reset = rows["resets"] > 0
    number = 1 + has_reset.astype(np.intp)
    begin = np.cumsum(number) - number
    row = np.repeat(np.arange(len(rows)), number)
    second = begin[has_reset] + 1
    peak = rows["first_peak"][row]
    peak[second] = rows["last_peak"][has_reset]
    resets = np.zeros(len(row), np.bool_)
    resets[begin[1:]] = is_reset(rows["last"][:-1], rows["first"][1:], tolerance=tolerance)
    resets[second] = True
    inner = np.where(
        rows["resets"] > 1,
        rows["increase"] - (rows["first_peak"] - rows["first"]) - np.maximum(rows["last_peak"], 0),
        0.0,
    )
    return Runs(row=row, peak=peak, resets=resets, begin=begin, inner_increase=inner)


def _groups(series_id: NDArray[np.int32], bucket: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the index of the first row of each series and bucket."""
    leads = np.ones(len(bucket), np.bool_)
    leads[1:] = (series_id[1:] != series_id[:-1]) | (bucket[1:] != bucket[:-1])
    return np.flatnonzero(leads)


def _held(value: NDArray[np.float64], gap: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return for each reading the value before it times the gap between them in seconds."""
    held = np.zeros(len(value))
    held[1:] = value[:-1] * (gap[1:] / MICROSECONDS)
    return held


def _fill_counter(
    rows: Summaries,
    *,
    peak: NDArray[np.float64],
    resets: NDArray[np.bool_],
    begin: NDArray[np.intp],
) -> None:
    """Fill the columns for counters from the highest readings of consecutive stretches.

    `resets` is true for a stretch beginning a run; `begin` is the index of each row's first stretch.
    """
    starts = resets.copy()
    starts[begin] = True
    run_begin = np.flatnonzero(starts)
    run_peak = np.maximum.reduceat(peak, run_begin)
    first_run = np.searchsorted(run_begin, begin)
    last_run = np.append(first_run[1:], len(run_begin)) - 1
    rise = np.maximum(run_peak, 0)
    rise[first_run] = run_peak[first_run] - rows["first"]
    rows["increase"] = np.add.reduceat(rise, first_run)
    rows["first_peak"], rows["last_peak"] = run_peak[first_run], run_peak[last_run]
    rows["resets"] = last_run - first_run


def _slots(begin: NDArray[np.intp], count: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return by row the index of the reading before the distance of each slot; unused slots repeat one."""
    inner = (count - 1)[:, np.newaxis]
    place = np.arange(SLOTS)
    place = np.where((inner > SLOTS) & (place >= SIDE), inner - SLOTS + place, np.minimum(place, inner - 1))
    found: NDArray[np.intp] = begin[:, np.newaxis] + place
    return found


def _usual(gaps: NDArray[np.int64], count: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return `first_usual` and `last_usual` of rows by the distances in their slots."""
    is_short = count <= SLOTS + 1
    shortest = np.where(slot_mask(count - 1), gaps, np.iinfo(np.int64).max).min(axis=1)
    first = np.sort(gaps[:, :SIDE], axis=1)[:, SIDE // 2]
    last = np.sort(gaps[:, SIDE:], axis=1)[:, SIDE // 2]
    return np.where(is_short, shortest, first), np.where(is_short, shortest, last)


def _decide(
    rows: Summaries, time: NDArray[np.int64], value: NDArray[np.float64], *, begin: NDArray[np.intp]
) -> None:
    """Fill the columns about known time of summaries of readings; `begin` is each row's first reading."""
    for name in ("known", "known_integral", "known_in", "first_usual", "last_usual", "pending"):
        rows[name] = 0
    several = np.flatnonzero(rows["count"] > 1)
    if not len(several):
        return
    count = rows["count"][several]
    slot = _slots(begin[several], count)
    rows["first_usual"][several], rows["last_usual"][several] = _usual(time[slot + 1] - time[slot], count)
    rows["pending"][several] = as_bits(slot_mask(count - 1))
    long = count > SLOTS + 1
    gap = np.diff(time, append=0)
    shortest = gap.copy()
    shortest[np.append(begin[1:], len(time)) - 1] = np.iinfo(np.int64).max
    shortest = np.minimum.reduceat(shortest, begin)[several]
    is_even = long & (rows["longest_gap"][several] <= TIMES * shortest)
    even = several[is_even]
    rows["pending"][even] = 0
    rows["known"][even] = (rows["last_at"] - rows["first_at"])[even]
    rows["known_integral"][even], rows["known_in"][even] = rows["integral"][even], rows["integral_in"][even]
    uneven = several[long & ~is_even]
    if len(uneven):
        _decide_each(rows, gap, value, uneven, begin=begin)


def _decide_each(
    rows: Summaries,
    gap: NDArray[np.int64],
    value: NDArray[np.float64],
    uneven: NDArray[np.intp],
    *,
    begin: NDArray[np.intp],
) -> None:
    """Fill the columns about known time of the long rows `uneven`; `gap` is the time after each reading."""
    inner = rows["count"][uneven] - 1
    first = np.cumsum(inner) - inner
    at = np.arange(inner.sum()) + np.repeat(begin[uneven] - first, inner)
    is_inner = np.ones(len(gap), np.bool_)
    is_inner[np.append(begin[1:], len(gap)) - 1] = False
    # Only a whole side decides: the rest of another one is outside of the row.
    is_known = np.zeros(len(at), np.bool_)
    for step in (-1, 1):
        side = side_of(gap, is_inner, at, step=step)
        is_known |= (side.number == SIDE) & side.allows(gap[at])
    known = np.where(is_known, gap[at], 0)
    held = value[at] * (known / MICROSECONDS)
    rows["known"][uneven] = np.add.reduceat(known, first)
    rows["known_integral"][uneven] = np.add.reduceat(held, first)
    rows["known_in"][uneven] = np.add.reduceat(np.maximum(held, 0.0), first)
    slot = _slots(first, inner + 1)
    rows["pending"][uneven] = as_bits(~is_known[slot])


def _merge_known(
    merged: Summaries,
    rows: Summaries,
    edges: Edges,
    *,
    gap: NDArray[np.int64],
    begin: NDArray[np.intp],
) -> Edges:
    """Fill the columns about known time of merged rows; `gap` is the time before each row within its group.

    Between two long rows everything is decided by their medians; other groups are looked at one distance
    after the other. Returns the edges of the merged rows.
    """
    end = np.append(begin[1:], len(rows)) - 1
    is_known = gap <= TIMES * np.maximum(np.roll(rows["last_usual"], 1), rows["first_usual"])
    known = np.where(is_known, gap, 0)
    held = _held(rows["last"], known)
    merged["known"] = np.add.reduceat(rows["known"] + known, begin)
    merged["known_integral"] = np.add.reduceat(rows["known_integral"] + held, begin)
    merged["known_in"] = np.add.reduceat(rows["known_in"] + np.maximum(held, 0.0), begin)
    merged["first_usual"], merged["last_usual"] = rows["first_usual"][begin], rows["last_usual"][end]
    merged["pending"] = rows["pending"][begin] & HEAD | rows["pending"][end] & TAIL
    head = np.arange(SLOTS) < SIDE
    merged_edges = Edges(
        np.where(head, edges.gaps[begin], edges.gaps[end]),
        np.where(head, edges.values[begin], edges.values[end]),
    )
    is_first, is_last = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
    is_first[begin] = is_last[end] = True
    inside = np.where(is_first, 0, rows["pending"] & HEAD) | np.where(is_last, 0, rows["pending"] & TAIL)
    is_unclear = ~is_long(rows) | (inside != 0)
    is_complex = np.logical_or.reduceat(is_unclear, begin) & (end > begin)
    if is_complex.any():
        _merge_each(merged, merged_edges, rows, edges, is_complex, begin=begin)
    return merged_edges


def _merge_each(
    merged: Summaries,
    merged_edges: Edges,
    rows: Summaries,
    edges: Edges,
    groups: Mask,
    *,
    begin: NDArray[np.intp],
) -> None:
    """Fill the columns about known time and the edges of the merged rows `groups`, distance by distance."""
    number = np.diff(begin, append=len(rows))
    mine = np.repeat(groups, number)
    rows, edges, number = rows[mine], edges.take(mine), number[groups]
    group = np.repeat(np.arange(len(number)), number)
    first = np.cumsum(number) - number
    last = first + number - 1
    ends = np.zeros(len(rows), np.bool_)
    ends[last] = True
    stream = stream_of(rows, edges, ends=ends)
    is_short = merged["count"][groups] <= SLOTS + 1
    is_pending = (rows["pending"][stream.row] >> np.minimum(stream.slot, SLOTS - 1) & 1).astype(np.bool_)
    is_open = stream.is_real & (is_pending | (stream.slot == SLOTS))
    at = np.flatnonzero(is_open & ~is_short[group[stream.row]])
    is_known = np.zeros(len(at), np.bool_)
    for step in (-1, 1):
        side = side_of(stream.gap, stream.is_real, at, step=step)
        is_known |= (side.number == SIDE) & side.allows(stream.gap[at])
    is_open[at[is_known]] = False
    added = at[is_known]
    of_group = group[stream.row[added]]
    held = stream.value[added] * (stream.gap[added] / MICROSECONDS)
    fresh = merged[groups]
    for name, more in (
        ("known", stream.gap[added]),
        ("known_integral", held),
        ("known_in", np.maximum(held, 0.0)),
    ):
        before = np.add.reduceat(rows[name], first)
        fresh[name] = before + np.bincount(of_group, more, len(fresh)).astype(before.dtype)
    slot = _slots(
        stream.begin[first], np.where(is_short, fresh["count"], stream.last[last] - stream.begin[first] + 1)
    )
    is_used = slot_mask(fresh["count"] - 1)
    gaps = np.where(is_used, stream.gap[slot], 0)
    is_left = is_used & is_open[slot]
    fresh["first_usual"], fresh["last_usual"] = _usual(gaps, fresh["count"])
    fresh["pending"] = as_bits(is_left)
    merged_edges.gaps[groups] = gaps
    merged_edges.values[groups] = np.where(is_left, stream.value[slot], 0.0)
    merged[groups] = fresh
