"""Mergeable summaries of the readings of one series in one bucket.

A summary has sums and counts, never averages. It has its first and last reading, for the step from one
bucket to the next. For counters it has the rise, and the highest readings before the first and after the last
reset, so that a dip at a bucket's border is a dip in the merged summary, too. Rows are NumPy structured
arrays of `SUMMARY`, in the order of series and time.

Counters. A reading lower than the one before by `DIP_TOLERANCE` of it or more is a reset: the register began
anew at zero. Any other fall is a dip: the register stands still until readings rise above its highest again.
Readings between two resets are one run; a run's rise is its highest reading less its first (the first run of
a bucket) or less zero (after a reset).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.kinds.settings import DIP_TOLERANCE
from joulebook.telemetry.readings import MICROSECONDS

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
    ]
)
"""`bucket`, `first_at`, `last_at`: microseconds since 1970 UTC. `first_peak` and `last_peak`: the highest
reading before the first and after the last reset. `increase`: the rise of a counter within the bucket.
`integral`: each reading times the seconds until the next within the bucket. `longest_gap`: the longest
time between two neighbours within it, in microseconds."""

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
    rows["integral"] = np.add.reduceat(_held(value, gap), begin)
    resets = np.zeros(len(value), np.bool_)
    resets[1:] = is_reset(value[:-1], value[1:], tolerance=tolerance)
    _fill_counter(rows, peak=value, resets=resets, begin=begin)
    return rows


def summarise_each(
    series_id: NDArray[np.int32], time: NDArray[np.int64], value: NDArray[np.float64]
) -> Summaries:
    """Return each reading as a summary of its own, with its instant as the bucket."""
    return summarise(series_id, time, value, time)


def join_summaries(parts: Sequence[Summaries]) -> Summaries:
    """Return the parts one after the other as one; a single part without copying it."""
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, SUMMARY), *parts])


def merge(rows: Summaries, bucket: NDArray[np.int64]) -> Summaries:
    """Return one summary a series and bucket of finer summaries in the order of series and time.

    `bucket` is the start of the coarser bucket around each of `rows`; no row crosses its edges.
    """
    begin = _groups(rows["series_id"], bucket)
    merged = np.empty(len(begin), SUMMARY)
    if not len(merged):
        return merged
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
    merged["integral"] = np.add.reduceat(rows["integral"] + _held(rows["last"], gap), begin)
    runs = runs_of(rows)
    _fill_counter(merged, peak=runs.peak, resets=runs.resets, begin=runs.begin[begin])
    merged["increase"] += np.add.reduceat(runs.inner_increase, begin)
    merged["resets"] += np.add.reduceat(np.maximum(rows["resets"] - 1, 0), begin)
    return merged


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
