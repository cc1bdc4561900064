"""How the figures of each kind of metric are made: its buckets, its raw points and its energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from joulebook.telemetry.history.buckets import BucketReader, SeriesSummaries
from joulebook.telemetry.history.columns import Column, Numbers, Wanted, check_numbers
from joulebook.telemetry.history.counters import RegisterChange, Rises, compute_rises
from joulebook.telemetry.kinds.kinds import COUNTER, STATE, Kind
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds

MOST_STATES = 20
"""The most values of a state with a share of their own in an answer."""

# Summaries with changes of a state are read reading by reading: a year of flicker would not fit in memory.
_MOST_CHANGING = 3_000_000
_SECONDS_AN_HOUR = 3600


class ChangesTooOften(Exception):
    """A state changes so often in the requested time that its shares cannot be computed at once."""


@dataclass(frozen=True)
class EnergyBuckets:
    """Energy by bucket; `unallocated` belongs to no bucket for certain.

    `covered` is the covered time of each bucket in seconds.
    """

    energy: Numbers
    unallocated: Numbers
    covered: Numbers


class LevelFigures:
    """A level holds until its next reading: its buckets have means, its energy is its integral over time."""

    is_read_at_once = True
    """Whether many series are read at once, by the columns for means and coverage alone."""
    least_numbers = 5
    """Numbers of one bucket in an answer: mean, min, max, count and coverage."""
    most_numbers = 5
    """The most numbers of one bucket; their count is known after reading."""

    def column(self, reader: BucketReader, wanted: Wanted, summaries: SeriesSummaries | None) -> Column:
        """Return the buckets; `summaries` are those of `read_levels`, if `is_read_at_once`."""
        if summaries is None:
            summaries = reader.read_series(wanted.series_id)
        covered = reader.integrals(summaries.without_silences()).covered
        return reader.column(wanted, summaries.rows, covered)

    def with_raw_figures(self, reader: BucketReader, column: Column) -> Column:  # noqa: ARG002
        """Return raw values with the figures of the kind; from one reading to the next is a bucket."""
        return column

    def energy(self, reader: BucketReader, wanted: Wanted, *, factor: float) -> EnergyBuckets:
        """Return the energy of each bucket: stored values, or hours of them, times `factor`."""
        found = reader.integrals(reader.read_series(wanted.series_id).without_silences())
        energy = found.integral * factor / _SECONDS_AN_HOUR
        return EnergyBuckets(energy, np.zeros(len(energy)), found.covered)


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
        """Return the rises by bucket, and the summaries behind them without silences."""
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
            wanted.series_id, tolerance=settings.dip_tolerance, apart=[each.time for each in replacements]
        )
        rises = compute_rises(
            summaries.rows,
            reader.window.clipped(),
            silence=summaries.silence,
            tolerance=settings.dip_tolerance,
            replacements=replacements,
        )
        return rises, summaries.without_silences()


@dataclass(frozen=True)
class StateShare:
    """The share of each bucket's covered time with a state at `value`; NaN if nothing is covered."""

    value: float
    share: Numbers


@dataclass(frozen=True)
class StateShares:
    """The shares of a state's most frequent values, in the order of values."""

    states: Sequence[StateShare]

    @property
    def numbers(self) -> int:
        """The number of shares."""
        return sum(len(each.share) for each in self.states)

    def scaled(self, factor: float, offset: float) -> StateShares:
        """Return the same shares of the scaled values."""
        return StateShares([StateShare(each.value * factor + offset, each.share) for each in self.states])

    def table(self) -> Sequence[tuple[str, Numbers]]:
        """Return a column `share of <value>` for each value."""
        return [(f"share of {each.value:g}", each.share) for each in self.states]

    def answer(self) -> Mapping[str, Any]:
        """Return a list of values with their shares."""
        return {"states": [{"value": each.value, "share": each.share.round(6)} for each in self.states]}


class StateFigures(LevelFigures):
    """A state has the share of time of each of its values."""

    is_read_at_once = False
    most_numbers = LevelFigures.least_numbers + MOST_STATES

    def column(self, reader: BucketReader, wanted: Wanted, summaries: SeriesSummaries | None) -> Column:
        """Return the buckets with the shares. Raises `ChangesTooOften`."""
        summaries = reader.read_series(wanted.series_id)
        mixed = summaries.rows["min"] != summaries.rows["max"]
        if summaries.rows["count"][mixed].sum() > _MOST_CHANGING:
            raise ChangesTooOften(wanted.metric)
        summaries = summaries.read_apart(mixed).without_silences()
        rows = summaries.rows
        covered = reader.integrals(summaries).covered
        shares = []
        values, index = np.unique(rows["last"], return_inverse=True)
        readings = np.bincount(index, rows["count"], len(values))
        most_frequent = values[np.argsort(-readings, kind="stable")[:MOST_STATES]]
        for value in sorted(most_frequent.tolist()):
            alone = rows.copy()
            alone["last"] = rows["last"] == value
            alone["integral"] = (rows["last_at"] - rows["first_at"]) / MICROSECONDS * alone["last"]
            time = reader.integrals(replace(summaries, rows=alone)).integral
            share = np.divide(time, covered, where=covered > 0, out=np.full(len(covered), np.nan))
            shares.append(StateShare(value, np.clip(share, 0.0, 1.0)))
        return reader.column(wanted, rows, covered, more=StateShares(shares))


_LEVEL = LevelFigures()
_BY_KIND: Mapping[str, LevelFigures] = {COUNTER.name: CounterFigures(), STATE.name: StateFigures()}


def figures_of(kind: Kind) -> LevelFigures:
    """Return the maker of a kind's figures: that of a level, if the kind has none of its own."""
    return _BY_KIND.get(kind.name, _LEVEL)


def read_columns(reader: BucketReader, wanted: Sequence[Wanted]) -> list[Column]:
    """Return a column of buckets for each of the wanted series, unscaled.

    Raises `TooManyNumbers` and `ChangesTooOften`.
    """
    at_once = reader.read_levels([each for each in wanted if figures_of(each.settings.kind).is_read_at_once])
    columns: list[Column] = []
    numbers, points = 0, len(reader.window.edges) - 1
    for each in wanted:
        figures = figures_of(each.settings.kind)
        columns.append(figures.column(reader, each, at_once.get(each.series_id)))
        # The number of a state's values is known only after reading.
        numbers += columns[-1].numbers
        check_numbers(numbers, metrics=len(wanted), points=points)
    return columns


def least_numbers(wanted: Sequence[Wanted]) -> int:
    """Return how many numbers one bucket of all wanted series has at least."""
    return sum(figures_of(each.settings.kind).least_numbers for each in wanted)


def most_numbers(wanted: Sequence[Wanted]) -> int:
    """Return how many numbers one bucket of all wanted series may have."""
    return sum(figures_of(each.settings.kind).most_numbers for each in wanted)
