"""A zone's clock over a range of years: its changes of offset, and local times to and from UTC, in arrays.

Instants are microseconds since 1970 UTC. A local time is the reading of the zone's clock, in microseconds
since that clock showed 1970-01-01T00:00. `fold` has the meaning of PEP 495: for a repeated local time 0
selects the first pass and 1 the second; a skipped local time is converted with the offset before (0) or
after (1) the change.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.readings import MICROSECONDS, from_microseconds, to_microseconds

Instants = NDArray[np.int64]

# No zone has changed its offset twice within four days (Freetown did in 1939): this finds each change.
_STEP = timedelta(days=2)
_SECOND = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Clock:
    """A zone's offsets from UTC over some years: `offsets[i]` holds until `changes[i]`.

    There is one offset more than changes: the last holds after the last change.
    """

    changes: Instants
    offsets: Instants

    @classmethod
    def over(cls, zone: tzinfo, first: int, last: int) -> Clock:
        """Return the clock over the years of UTC from the instant `first` to `last`."""
        begin, end = from_microseconds(first).year, from_microseconds(last).year
        years = [_year(zone, year) for year in range(begin, end + 1)]
        changes = [change for _, changes in years for change in changes]
        offsets = [years[0][0], *(offset for _, offset in changes)]
        return cls(np.array([at for at, _ in changes], np.int64), np.array(offsets, np.int64))

    def shown(self, first: int, last: int) -> tuple[int, int]:
        """Return the earliest and the latest local time from the instant `first` to `last`."""
        begin, end = np.searchsorted(self.changes, [first, last], side="right")
        offsets = self.offsets[begin : end + 1]
        return first + int(offsets.min()), last + int(offsets.max())

    def offsets_at(self, instants: Instants) -> Instants:
        """Return the clock's offset from UTC at each instant, in microseconds."""
        return self.offsets[np.searchsorted(self.changes, instants, side="right")]

    def instants(self, local: Instants, *, fold: int) -> Instants:
        """Return the instants of these local times."""
        starts, ends = self.unusual_times()
        return local - self.offsets[np.searchsorted(starts if fold else ends, local, side="right")]

    def unusual_times(self) -> tuple[Instants, Instants]:
        """Return where the local times begin and end that each change repeats or skips."""
        before, after = self.offsets[:-1], self.offsets[1:]
        return self.changes + np.minimum(before, after), self.changes + np.maximum(before, after)


def offsets_over(zone: tzinfo, first: int, last: int) -> list[tuple[int, int]]:
    """Return the zone's offsets over the years from `first` to `last`, each with its beginning, in seconds.

    The first pair begins with the first year of UTC. Pages and programs can show local times of the range
    by these pairs, without rules of their own.
    """
    clock = Clock.over(zone, first, last)
    begin = to_microseconds(datetime(from_microseconds(first).year, 1, 1, tzinfo=UTC))
    times = np.concatenate([[begin], clock.changes]) // MICROSECONDS
    return list(zip(times.tolist(), (clock.offsets // MICROSECONDS).tolist(), strict=True))


@lru_cache(maxsize=4096)
def _year(zone: tzinfo, year: int) -> tuple[int, list[tuple[int, int]]]:
    """Return the offset at the beginning of a year of UTC, and the year's changes with the offset after each.

    A change at the very beginning belongs to the year before.
    """
    instant = datetime(year, 1, 1, tzinfo=UTC)
    end = datetime(year + 1, 1, 1, tzinfo=UTC)
    first = offset = _offset(zone, instant)
    changes = []
    while instant < end:
        following = min(instant + _STEP, end)
        if _offset(zone, following) != offset:
            low, high = instant, following
            while high - low > _SECOND:
                middle = low + (high - low) // (2 * _SECOND) * _SECOND
                if _offset(zone, middle) == offset:
                    low = middle
                else:
                    high = middle
            offset = _offset(zone, high)
            changes.append((to_microseconds(high), offset))
        instant = following
    return first, changes


def _offset(zone: tzinfo, instant: datetime) -> int:
    return (instant.astimezone(zone).utcoffset() or timedelta()) // _MICROSECOND
