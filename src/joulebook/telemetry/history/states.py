"""The figures of a state: the share of time of each of its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from joulebook.telemetry.history.buckets import BucketReader, SeriesSummaries, integrate
from joulebook.telemetry.history.columns import Column, Numbers, Wanted
from joulebook.telemetry.history.levels import LevelFigures
from joulebook.telemetry.readings import MICROSECONDS

MOST_STATES = 20
"""The most values of a state with a share of their own in an answer."""

# Summaries with changes of a state are read reading by reading: a year of flicker would not fit in memory.
_MOST_CHANGING = 3_000_000


class ChangesTooOften(Exception):
    """A state changes so often in the requested time that its shares cannot be computed at once."""


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
        summaries = reader.read_series(wanted)
        mixed = summaries.rows["min"] != summaries.rows["max"]
        if summaries.rows["count"][mixed].sum() > _MOST_CHANGING:
            raise ChangesTooOften(wanted.metric)
        summaries = summaries.read_apart(mixed)
        rows, pieces, length = summaries.rows, reader.pieces(summaries), len(reader.window.edges) - 1
        covered = integrate(pieces, buckets=length).covered
        shares = []
        values, index = np.unique(rows["last"], return_inverse=True)
        readings = np.bincount(index, rows["count"], len(values))
        most_frequent = values[np.argsort(-readings, kind="stable")[:MOST_STATES]]
        for value in sorted(most_frequent.tolist()):
            is_mine = pieces.level == value
            time = np.bincount(pieces.bucket[is_mine], pieces.length[is_mine], length) / MICROSECONDS
            share = np.divide(time, covered, where=covered > 0, out=np.full(len(covered), np.nan))
            shares.append(StateShare(value, np.clip(share, 0.0, 1.0)))
        return reader.column(wanted, rows, covered, more=StateShares(shares))
