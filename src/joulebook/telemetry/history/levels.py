"""The figures of a level, such as power: its buckets, its raw points and its energy.

They are the base of every kind's figures.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from joulebook.telemetry.history.buckets import BucketReader, SeriesSummaries
from joulebook.telemetry.history.columns import Column, Numbers, Wanted

_SECONDS_AN_HOUR = 3600


@dataclass(frozen=True)
class EnergyBuckets:
    """Energy by bucket; `unallocated` belongs to no bucket for certain.

    `covered` is the covered time of each bucket in seconds. `energy_in` is the positive part of the energy,
    and `energy_out` the negative one as a positive number; None if energy flows one way only.
    """

    energy: Numbers
    unallocated: Numbers
    covered: Numbers
    energy_in: Numbers | None = None
    energy_out: Numbers | None = None
    spread: Numbers | None = None
    """The part of the energy that is spread evenly over a time not known; None if nothing is spread."""


class LevelFigures:
    """A level holds until its next reading: its buckets have means, its energy is its integral over time."""

    is_read_at_once = True
    """Whether many series are read at once, by the columns for means and coverage alone."""
    least_numbers = 5
    """Numbers of one bucket in an answer: mean, min, max, count and coverage."""
    most_numbers = 5
    """The most numbers of one bucket; their count is known after reading."""

    def column(self, reader: BucketReader, wanted: Wanted, summaries: SeriesSummaries | None) -> Column:
        """Return the buckets; `summaries` are those of `read_levels`, if `is_read_at_once`.

        If readings hold until the next one, means are over the known time, also in a bucket without readings.
        """
        if summaries is None:
            summaries = reader.read_series(wanted)
        found = reader.integrals(summaries)
        column = reader.column(wanted, summaries.rows, found.covered)
        if not wanted.settings.holds_until_next:
            return column
        # Where nothing is known of the time, the readings are all that is known.
        is_known = found.covered > 0
        return replace(
            column, mean=np.divide(found.integral, found.covered, where=is_known, out=column.mean.copy())
        )

    def with_raw_figures(self, reader: BucketReader, column: Column) -> Column:  # noqa: ARG002
        """Return raw values with the figures of the kind; from one reading to the next is a bucket."""
        return column

    def energy(self, reader: BucketReader, wanted: Wanted, *, factor: float) -> EnergyBuckets:
        """Return the energy of each bucket: stored values, or hours of them, times `factor`."""
        found = reader.integrals(reader.read_series(wanted))
        net, into = found.integral * factor / _SECONDS_AN_HOUR, found.positive * factor / _SECONDS_AN_HOUR
        # A factor below zero turns in and out round.
        into = into if factor >= 0 else net - into
        return EnergyBuckets(net, np.zeros(len(net)), found.covered, energy_in=into, energy_out=into - net)
