"""When a zone's clocks were moved, and at which instants they show a local time: for arrays of times.

Instants are microseconds since 1970 UTC. A local time is what the wall's clock shows, in microseconds
since it showed the first moment of 1970. `fold` is that of Python's datetimes (PEP 495): of a local time
that comes twice, 0 is the first; one that was left out is counted on with the offset before (0) or after
(1) the move.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.readings import MICROSECONDS, from_microseconds, to_microseconds
from joulebook.time_zones import ZoneInfo

Instants = NDArray[np.int64]

# No zone has moved its clocks twice within four days (Freetown did so in 1939), so this finds each move.
_LOOK = timedelta(days=2)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Clock:
    """A zone's clock over some years: from each of `moves` on it shows UTC plus the next of `offsets`.

    There is one offset more than moves: the first holds before them all.
    """

    moves: Instants
    offsets: Instants

    @classmethod
    def over(cls, zone: ZoneInfo, first: int, last: int) -> Clock:
        """Return the clock over the years of UTC that the instants from `first` to `last` are of."""
        begin, end = from_microseconds(first).year, from_microseconds(last).year
        years = [_year(zone, year) for year in range(begin, end + 1)]
        moves = [move for _, moves in years for move in moves]
        offsets = [years[0][0], *(offset for _, offset in moves)]
        return cls(np.array([at for at, _ in moves], np.int64), np.array(offsets, np.int64))

    def shown(self, first: int, last: int) -> tuple[int, int]:
        """Return the least and the most that the clock shows from the instant `first` to `last`."""
        begin, end = np.searchsorted(self.moves, [first, last], side="right")
        offsets = self.offsets[begin : end + 1]
        return first + int(offsets.min()), last + int(offsets.max())

    def instants(self, local: Instants, *, fold: int) -> Instants:
        """Return when the clock shows these local times."""
        before, after = self.offsets[:-1], self.offsets[1:]
        shown = self.moves + (np.minimum(before, after) if fold else np.maximum(before, after))
        return local - self.offsets[np.searchsorted(shown, local, side="right")]


def offsets_over(zone: ZoneInfo, first: int, last: int) -> list[tuple[int, int]]:
    """Return from when on the zone's clock shows UTC plus how much, over the years from `first` to `last`.

    Both numbers of each pair are seconds; the first pair is the beginning of the first year of UTC. Pages
    and programs need no rules of their own to tell local times of the range.
    """
    clock = Clock.over(zone, first, last)
    begin = to_microseconds(datetime(from_microseconds(first).year, 1, 1, tzinfo=UTC))
    times = np.concatenate([[begin], clock.moves]) // MICROSECONDS
    return list(zip(times.tolist(), (clock.offsets // MICROSECONDS).tolist(), strict=True))


@lru_cache(maxsize=4096)
def _year(zone: ZoneInfo, year: int) -> tuple[int, list[tuple[int, int]]]:
    """Return the offset at the beginning of a year of UTC, and its moves with the offset after each.

    A move at the very beginning is the year's before.
    """
    looks = datetime(year, 1, 1, tzinfo=UTC)
    end = datetime(year + 1, 1, 1, tzinfo=UTC)
    first = offset = _offset(zone, looks)
    moves = []
    while looks < end:
        following = min(looks + _LOOK, end)
        if _offset(zone, following) != offset:
            move = _first_with_another(zone, looks, following)
            offset = _offset(zone, move)
            moves.append((to_microseconds(move), offset // timedelta(microseconds=1)))
        looks = following
    return first // timedelta(microseconds=1), moves


def _first_with_another(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Return the second between these two from which on the offset is no longer that of `before`."""
    offset = _offset(zone, before)
    while after - before > _SECOND:
        middle = before + (after - before) // (2 * _SECOND) * _SECOND
        if _offset(zone, middle) == offset:
            before = middle
        else:
            after = middle
    return after


def _offset(zone: ZoneInfo, instant: datetime) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()
