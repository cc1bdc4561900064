"""The figures of a counter: its rises by bucket, across resets, dips and replaced meters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.history.buckets import BucketReader, SeriesSummaries
from joulebook.telemetry.history.columns import Column, Numbers, Wanted
from joulebook.telemetry.history.gaps import unknown_gaps
from joulebook.telemetry.history.levels import EnergyBuckets, LevelFigures
from joulebook.telemetry.kinds.settings import DIP_TOLERANCE
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.rollups.summaries import SUMMARY, Summaries, runs_of


@dataclass(frozen=True)
class RegisterChange:
    """Another meter from the instant `time` (microseconds since 1970), with stored values of registers.

    `final` is the old meter's last register, `start` the new one's first. If one is None, the rise after the
    old meter's last reading, or before the new one's first, is lost.
    """

    time: int
    final: float | None = None
    start: float | None = None


@dataclass(frozen=True)
class Rises:
    """By bucket: the rise of the counter, its unallocated rise, and its resets.

    A bucket without readings rose by zero and has a count of zero.
    """

    increase: Numbers
    unallocated: Numbers
    resets: NDArray[np.int64]

    @property
    def numbers(self) -> int:
        """How many numbers they are."""
        return 3 * len(self.increase)

    def scaled(self, factor: float, offset: float) -> Rises:  # noqa: ARG002 - rises are differences
        """Return the rises of a counter with values multiplied by `factor`."""
        return Rises(self.increase * factor, self.unallocated * factor, self.resets)

    def table(self) -> Sequence[tuple[str, NDArray[Any]]]:
        """Return the figures as columns of a table, each with its name."""
        return list(self.answer().items())

    def answer(self) -> Mapping[str, NDArray[Any]]:
        """Return the figures by their names in an answer."""
        return {"increase": self.increase, "unallocated": self.unallocated, "resets": self.resets}


class CounterFigures(LevelFigures):
    """A counter's rises are exact across the edges of buckets, resets and replaced meters."""

    is_read_at_once = False
    least_numbers = most_numbers = 8

    def column(self, reader: BucketReader, wanted: Wanted, summaries: SeriesSummaries | None) -> Column:
        """Return the buckets with the rises."""
        rises, summaries = self._rises(reader, wanted)
        return reader.column(wanted, summaries.rows, reader.integrals(summaries).covered, more=rises)

    def with_raw_figures(self, reader: BucketReader, column: Column) -> Column:
        """Return raw values with the rise since the reading before each."""
        rises, _summaries = self._rises(reader, column.wanted)
        return replace(column, more=rises)

    def energy(self, reader: BucketReader, wanted: Wanted, *, factor: float) -> EnergyBuckets:
        """Return the rises times `factor`."""
        rises, summaries = self._rises(reader, wanted)
        covered = reader.integrals(summaries).covered
        return EnergyBuckets(rises.increase * factor, rises.unallocated * factor, covered)

    def _rises(self, reader: BucketReader, wanted: Wanted) -> tuple[Rises, SeriesSummaries]:
        """Return the rises by bucket, and the summaries behind them."""
        settings = wanted.settings
        # Registers are entered as shown; readings are stored as sent.
        factor = settings.factor or 1.0
        replacements = [
            RegisterChange(
                to_microseconds(each.replaced_at),
                None if each.final_register is None else each.final_register / factor,
                None if each.start_register is None else each.start_register / factor,
            )
            for each in settings.replacements
        ]
        summaries = reader.read_series(
            wanted, tolerance=settings.dip_tolerance, apart=[each.time for each in replacements]
        )
        # Its former register is that of the last reading before the window.
        first = int(np.searchsorted(summaries.rows["first_at"], reader.window.start, side="left")) - 1
        rises = compute_rises(
            summaries.rows[max(first, 0) :],
            reader.window.clipped(),
            unknown=unknown_gaps(summaries.rows, summaries.known),
            tolerance=settings.dip_tolerance,
            replacements=replacements,
        )
        return rises, summaries


def compute_rises(
    rows: Summaries,
    edges: NDArray[np.int64],
    *,
    unknown: tuple[NDArray[np.int64], NDArray[np.int64]],
    tolerance: float = DIP_TOLERANCE,
    replacements: Sequence[RegisterChange] = (),
) -> Rises:
    """Return the rises of one counter in each bucket [edges[i], edges[i + 1]), exact also across the edges.

    A rise belongs to the bucket of the higher reading. If a time that is not known crosses an edge,
    the rise may have been on either side of the edge: it is unallocated, and listed with the bucket of the
    next reading. A reset begins a new run at zero, a replaced meter at its start register. After a dip, the
    counter rises again when readings exceed its highest one.

    `rows` are summaries in the order of time, none of them on both sides of an edge or of a replacement.
    Those before the first edge give the counter's former register, and those after the last are ignored.
    `unknown` are the begins and ends of the times that are not known.
    """
    length = len(edges) - 1
    rows, is_new_meter = _with_replacements(rows, replacements)
    if not len(rows):
        return Rises(np.zeros(length), np.zeros(length), np.zeros(length, np.int64))
    runs = runs_of(rows, tolerance=tolerance)
    is_new_meter[0] = True
    new_meter = np.zeros(len(runs.row), np.bool_)
    new_meter[runs.begin[is_new_meter]] = True
    resets = runs.resets & ~new_meter
    begins = resets | new_meter
    run = np.cumsum(begins) - 1
    # After a reset a register stands at zero at least, even if a reading is negative.
    peak = np.where(resets[begins][run], np.maximum(runs.peak, 0.0), runs.peak)
    stood_at = _running_peak(peak, run)
    before = np.append(0.0, stood_at[:-1])
    before[resets] = 0.0
    first_of_row = rows["first"][runs.row]
    before[new_meter] = first_of_row[new_meter]
    rise = np.maximum(stood_at - before, 0.0)

    bucket = np.searchsorted(edges, rows["first_at"], side="right") - 1
    silent = np.zeros(len(rows), np.bool_)
    begun = np.searchsorted(unknown[0], rows["first_at"][1:], side="left")
    ended = np.searchsorted(unknown[1], rows["last_at"][:-1], side="right")
    silent[1:] = (begun > ended) & (bucket[1:] != bucket[:-1])
    # In a row after such a time, the rise up to its first reading has an unknown time.
    row_before = before[runs.begin]
    lost = np.where(silent, np.clip(rows["first"] - row_before, 0.0, rise[runs.begin]), 0.0)
    total = np.add.reduceat(rise, runs.begin) + runs.inner_increase
    number = np.add.reduceat(resets.astype(np.int64), runs.begin) + np.maximum(rows["resets"] - 1, 0)

    is_inside = (bucket >= 0) & (bucket < length)
    index = bucket[is_inside]
    return Rises(
        increase=np.bincount(index, (total - lost)[is_inside], length).astype(np.float64),
        unallocated=np.bincount(index, lost[is_inside], length).astype(np.float64),
        resets=np.bincount(index, number[is_inside], length).astype(np.int64),
    )


def _with_replacements(
    rows: Summaries, replacements: Sequence[RegisterChange]
) -> tuple[Summaries, NDArray[np.bool_]]:
    """Insert the registers at replacements as rows; return the rows, and a mask of each new meter's first."""
    is_new_meter = np.zeros(len(rows), np.bool_)
    for replacement in sorted(replacements, key=lambda each: each.time):
        index = int(np.searchsorted(rows["first_at"], replacement.time, side="left"))
        if replacement.final is not None and index > 0:
            # The old meter's last register cannot be below its last reading.
            final = max(replacement.final, float(rows["last"][index - 1]))
            rows, is_new_meter = _insert(rows, is_new_meter, index, replacement.time, final, new_meter=False)
            index += 1
        if replacement.start is not None:
            start = replacement.start
            rows, is_new_meter = _insert(rows, is_new_meter, index, replacement.time, start, new_meter=True)
        elif index < len(rows):
            is_new_meter[index] = True
    return rows, is_new_meter


def _insert(
    rows: Summaries,
    is_new_meter: NDArray[np.bool_],
    index: int,
    time: int,
    register: float,
    *,
    new_meter: bool,
) -> tuple[Summaries, NDArray[np.bool_]]:
    row = np.zeros(1, SUMMARY)
    for name in ("bucket", "first_at", "last_at"):
        row[name] = time
    for name in ("first", "last", "min", "max", "first_peak", "last_peak"):
        row[name] = register
    joined = np.concatenate([rows[:index], row, rows[index:]])
    return joined, np.insert(is_new_meter, index, new_meter)


def _running_peak(peak: Numbers, run: NDArray[np.int64]) -> Numbers:
    """Return the highest so far within each run, in steps that double: no loop over runs or rows."""
    highest = peak.copy()
    distance = 1
    while distance < len(peak):
        same = run[distance:] == run[:-distance]
        reach = highest[:-distance].copy()
        highest[distance:] = np.where(same, np.maximum(highest[distance:], reach), highest[distance:])
        distance *= 2
    return highest
