"""The figures of an amount, such as kWh per quarter hour: sums of what flowed in intervals.

A reading belongs to the bucket of its interval. The interval begins at the reading's time, or it ends there
(`covers_before`). So the reading of 00:00 belongs to the day that begins, or to the day that has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.history.buckets import BucketReader, SeriesSummaries
from joulebook.telemetry.history.columns import Column, Numbers, Wanted
from joulebook.telemetry.history.levels import EnergyBuckets, LevelFigures
from joulebook.telemetry.rollups.summaries import Summaries

# The shortest time between two readings, in microseconds.
_INSTANT = 1
_MOST_OF_BOTH_SIGNS = 3_000_000


@dataclass(frozen=True)
class Sums:
    """By bucket: the sum of the amounts, 0 without a reading, and the largest and least one, else NaN."""

    sum: Numbers
    largest: Numbers
    least: Numbers

    @property
    def numbers(self) -> int:
        """How many numbers of them are answered."""
        return 2 * len(self.sum)

    def scaled(self, factor: float, offset: float) -> Sums:  # noqa: ARG002 - an amount has no zero to move
        """Return the sums of amounts multiplied by `factor`."""
        low, high = (self.least, self.largest) if factor >= 0 else (self.largest, self.least)
        return Sums(self.sum * factor, largest=high * factor, least=low * factor)

    def table(self) -> Sequence[tuple[str, Numbers]]:
        """Return the figures as columns of a table, each with its name."""
        return list(self.answer().items())

    def answer(self) -> Mapping[str, Numbers]:
        """Return the figures by their names in an answer."""
        return {"sum": self.sum, "largest": self.largest}


class AmountFigures(LevelFigures):
    """An amount's sums are exact at the edges of buckets."""

    is_read_at_once = False
    least_numbers = most_numbers = 7

    def column(self, reader: BucketReader, wanted: Wanted, summaries: SeriesSummaries | None) -> Column:
        """Return the buckets with the sums."""
        summaries = reader.read_series(wanted)
        covered = reader.integrals(summaries).covered
        rows = _placed(summaries, reader, covers_before=wanted.settings.covers_before)
        return reader.column(wanted, rows, covered, more=sum_by_bucket(rows, reader.window.clipped()))

    def energy(self, reader: BucketReader, wanted: Wanted, *, factor: float) -> EnergyBuckets:
        """Return the sums times `factor`, in and out apart: each reading by its sign."""
        summaries = reader.read_series(wanted)
        covered = reader.integrals(summaries).covered
        # Where readings are past retention, or too many, a summary counts by the sign of its sum.
        has_both = (summaries.rows["min"] < 0) & (summaries.rows["max"] > 0)
        if summaries.rows["count"][has_both].sum() <= _MOST_OF_BOTH_SIGNS:
            summaries = summaries.read_apart(has_both)
        rows = _placed(summaries, reader, covers_before=wanted.settings.covers_before)
        edges = reader.window.clipped()
        energy = sum_by_bucket(rows, edges).sum * factor
        is_in = rows["sum"] * factor > 0
        into, out = (sum_by_bucket(rows[which], edges).sum * factor for which in (is_in, ~is_in))
        return EnergyBuckets(energy, np.zeros(len(energy)), covered, energy_in=into, energy_out=-out)


def _placed(summaries: SeriesSummaries, reader: BucketReader, *, covers_before: bool) -> Summaries:
    """Return the summaries with times inside the intervals of their readings, none of them across an edge.

    If intervals end at their readings' times, each reading exactly at an edge has a summary of its own. Where
    readings are past retention, it is split off by its value, which summaries have as their first.
    """
    rows = summaries.rows
    if not covers_before:
        return rows
    edges = reader.window.clipped()
    rows = summaries.reader.minute_by_minute(rows, _begins_at_edge(rows, edges))
    rows = summaries.reader.one_by_one(rows, _begins_at_edge(rows, edges))
    rows = _without_first(rows, _begins_at_edge(rows, edges))
    rows["first_at"] -= _INSTANT
    rows["last_at"] -= _INSTANT
    return rows


def _begins_at_edge(rows: Summaries, edges: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which summaries have their first of several readings exactly at an edge."""
    index = np.minimum(np.searchsorted(edges, rows["first_at"]), len(edges) - 1)
    is_at_edge: NDArray[np.bool_] = edges[index] == rows["first_at"]
    return is_at_edge & (rows["count"] > 1)


def _without_first(rows: Summaries, which: NDArray[np.bool_]) -> Summaries:
    """Return the summaries with the first reading of those of the mask `which` as one of its own."""
    first, rest = rows[which], rows.copy()
    for name in ("sum", "min", "max", "last"):
        first[name] = first["first"]
    first["count"], first["last_at"] = 1, first["first_at"]
    rest["sum"][which] -= first["first"]
    rest["count"][which] -= 1
    # The second reading's time is not known: it is later than the first by any time.
    rest["first_at"][which] += 2 * _INSTANT
    joined = np.concatenate([first, rest])
    ordered: Summaries = joined[np.argsort(joined["first_at"], kind="stable")]
    return ordered


def sum_by_bucket(rows: Summaries, edges: NDArray[np.int64]) -> Sums:
    """Return the sums in each bucket [edges[i], edges[i + 1]) of summaries in the order of time.

    A sum runs within its bucket: an absurd value in one leaves the others exact.
    """
    length = len(edges) - 1
    total, high, low = np.zeros(length), np.full(length, np.nan), np.full(length, np.nan)
    begin, end = np.searchsorted(rows["first_at"], [edges[0], edges[-1]])
    rows = rows[begin:end]
    if len(rows):
        bucket = np.searchsorted(edges, rows["first_at"], side="right") - 1
        first = np.flatnonzero(np.append(True, bucket[1:] != bucket[:-1]))
        total[bucket[first]] = np.add.reduceat(rows["sum"], first)
        high[bucket[first]] = np.maximum.reduceat(rows["max"], first)
        low[bucket[first]] = np.minimum.reduceat(rows["min"], first)
    return Sums(total, largest=high, least=low)
