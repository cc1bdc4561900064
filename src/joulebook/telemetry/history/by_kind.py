"""How the figures of each kind of metric are made: its buckets, its raw points and its energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from joulebook.telemetry.history.amounts import AmountFigures
from joulebook.telemetry.history.buckets import BucketReader
from joulebook.telemetry.history.columns import Column, Wanted, check_numbers
from joulebook.telemetry.history.counters import CounterFigures
from joulebook.telemetry.history.levels import LevelFigures
from joulebook.telemetry.history.states import StateFigures
from joulebook.telemetry.kinds.kinds import AMOUNT, COUNTER, STATE, Kind

_LEVEL = LevelFigures()
_BY_KIND: Mapping[str, LevelFigures] = {
    COUNTER.name: CounterFigures(),
    AMOUNT.name: AmountFigures(),
    STATE.name: StateFigures(),
}


def figures_of(kind: Kind) -> LevelFigures:
    """Return the maker of a kind's figures: that of a level, if the kind has none of its own."""
    return _BY_KIND.get(kind.name, _LEVEL)


def read_columns(reader: BucketReader, wanted: Sequence[Wanted]) -> list[Column]:
    """Return a column of buckets for each of the wanted series, unscaled.

    Raises `TooManyNumbers` and `ChangesTooOften`.
    """
    at_once = reader.read_levels([each for each in wanted if _is_read_at_once(each)])
    columns: list[Column] = []
    numbers, points = 0, len(reader.window.edges) - 1
    for each in wanted:
        figures = figures_of(each.settings.kind)
        columns.append(figures.column(reader, each, at_once.get(each.series_id)))
        # The number of a state's values is known only after reading.
        numbers += columns[-1].numbers
        check_numbers(numbers, metrics=len(wanted), points=points)
    return columns


def _is_read_at_once(wanted: Wanted) -> bool:
    """Return whether the columns for means and coverage are enough: not for a mean over time."""
    settings = wanted.settings
    return figures_of(settings.kind).is_read_at_once and not settings.holds_until_next


def least_numbers(wanted: Sequence[Wanted]) -> int:
    """Return how many numbers one bucket of all wanted series has at least."""
    return sum(figures_of(each.settings.kind).least_numbers for each in wanted)


def most_numbers(wanted: Sequence[Wanted]) -> int:
    """Return how many numbers one bucket of all wanted series may have."""
    return sum(figures_of(each.settings.kind).most_numbers for each in wanted)
