"""Local time to UTC by a zone's rules, with the hour that autumn doubles and the one that spring drops."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta, timezone, tzinfo
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.times import DAY
from joulebook.telemetry.readings import from_microseconds
from joulebook.time_zones import ZoneInfo, ZoneInfoNotFoundError

_OFFSET = re.compile(r"(?:UTC|GMT)?\s*([+-])([0-9]{1,2})(?::?([0-9]{2}))?", re.IGNORECASE)
_STEP = DAY // 4
_SPAN = 366 * DAY


def find_zone(name: str) -> tzinfo:
    """Return the zone of an IANA name or a fixed offset (`+01:00`, `UTC+1`); raises `UnusableProfile`."""
    if name.upper() in {"UTC", "GMT", "Z"}:
        return UTC
    if match := _OFFSET.fullmatch(name.strip()):
        sign, hours, minutes = match.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
        if offset < timedelta(hours=24) and int(minutes or 0) < 60:
            return timezone(-offset if sign == "-" else offset)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UnusableProfile(
            f"{name!r} is not a time zone; use an IANA name such as Europe/Berlin, "
            "an offset such as +01:00, or UTC"
        ) from None


def offsets(zone: tzinfo, time: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many microseconds the zone is ahead of UTC at instants, microseconds since 1970 UTC."""
    if not len(time):
        return np.empty(0, np.int64)
    changes = _changes(zone, int(time.min()), int(time.max()))
    ahead: NDArray[np.int64] = np.concatenate(([changes.initial], changes.after))
    return ahead[np.searchsorted(changes.at, time, side="right")]


@dataclass(frozen=True)
class Changes:
    """The changes of a zone's offset in some span: at UTC instant `at[i]` from `before[i]` to `after[i]`."""

    at: NDArray[np.int64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    initial: int


@dataclass
class LocalClock:
    """Turns the wall-clock times of one file, in the file's order, into UTC.

    A doubled wall time is the first pass of that hour until the file's times step back (or stand still
    for one row) within it, and the second from there on; in a file that runs backwards it is the second
    pass until they step forward. The state goes on from block to block: rows must come in file order.
    With `doubled` 1 or 2 it is always that pass. With `shifts_missing` a wall time that the clock never
    showed is what a clock would show that had not been put forward.
    """

    zone: tzinfo
    doubled: int = 0
    shifts_missing: bool = False
    previous: int | None = None
    """Wall time of the last row that had one, microseconds."""
    is_second: bool = False
    """Whether the doubled hour is in its second pass."""
    is_backwards: bool = False
    """Whether the doubled hour was entered from its end."""

    def to_utc(
        self, wall: NDArray[np.int64], marked: NDArray[np.int8] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """Return UTC microseconds and for each row 0, or 1 or 2 for the passes of a doubled hour, or -1.

        -1 marks a wall time that the clock never showed; its UTC time means nothing. `marked` says for
        each row which pass the file itself names, or 0.
        """
        kind = np.zeros(len(wall), np.int8)
        if not len(wall):
            return wall.copy(), kind
        changes = _changes(self.zone, int(wall.min()), int(wall.max()))
        offsets = np.concatenate(([changes.initial], changes.after))
        # Around a change at T, wall times from T + the lesser offset to T + the greater come twice or never.
        start = changes.at + np.minimum(changes.before, changes.after)
        end = changes.at + np.maximum(changes.before, changes.after)
        early = np.searchsorted(end, wall, side="right")
        late = np.searchsorted(start, wall, side="right")
        utc = wall - offsets[early]
        unusual = np.flatnonzero(early != late)
        if not len(unusual):
            self.previous = int(wall[-1])
            return utc, kind
        is_doubled = offsets[late[unusual]] < offsets[early[unusual]]
        missing = unusual[~is_doubled]
        if self.shifts_missing:
            utc[missing] = wall[missing] - offsets[late[missing] - 1]
        else:
            kind[missing] = -1
        for row in unusual[is_doubled].tolist():
            previous = self.previous if row == 0 else int(wall[row - 1])
            which = int(early[row])
            kind[row] = self._pass(int(wall[row]), previous, start=int(start[which]), end=int(end[which]))
            if named := self.doubled or (0 if marked is None else int(marked[row])):
                kind[row] = named
        second = kind == 2
        utc[second] = wall[second] - offsets[late[second]]
        self.previous = int(wall[-1])
        return utc, kind

    def as_json(self) -> list[int | None]:
        """Return what the clock remembers of the rows so far."""
        return [self.previous, int(self.is_second), int(self.is_backwards)]

    def restore(self, state: Sequence[int | None]) -> None:
        """Take over what a clock remembered, as `as_json` returned it."""
        self.previous, self.is_second, self.is_backwards = state[0], bool(state[1]), bool(state[2])

    def _pass(self, wall: int, previous: int | None, *, start: int, end: int) -> int:
        if previous is None or not start <= previous < end:
            self.is_backwards = previous is not None and previous >= end
            self.is_second = self.is_backwards
        elif wall == previous:
            return 1 if self.is_backwards else 2
        elif (wall > previous) if self.is_backwards else (wall < previous):
            self.is_second = not self.is_backwards
        return 2 if self.is_second else 1


def _changes(zone: tzinfo, first: int, last: int) -> Changes:
    """Return the changes of offset around the wall times from `first` to `last`, both microseconds."""
    begin = (first - 2 * DAY) // _SPAN
    end = (last + 2 * DAY) // _SPAN
    spans = [_changes_in_span(zone, span) for span in range(begin, end + 1)]
    return Changes(
        at=np.concatenate([span.at for span in spans]),
        before=np.concatenate([span.before for span in spans]),
        after=np.concatenate([span.after for span in spans]),
        initial=spans[0].initial,
    )


@lru_cache(maxsize=512)
def _changes_in_span(zone: tzinfo, span: int) -> Changes:
    """Find the changes in (span, span + 1] × `_SPAN` by looking every few hours and halving in between."""
    at: list[int] = []
    before: list[int] = []
    after: list[int] = []
    instant, stop = span * _SPAN, (span + 1) * _SPAN
    initial = offset = _offset_at(zone, instant)
    while instant < stop:
        following = min(instant + _STEP, stop)
        new = _offset_at(zone, following)
        if new != offset:
            low, high = instant, following
            while high - low > 1_000_000:
                middle = (low + high) // 2 // 1_000_000 * 1_000_000
                if _offset_at(zone, middle) == offset:
                    low = middle
                else:
                    high = middle
            at.append(high)
            before.append(offset)
            after.append(new)
        instant, offset = following, new
    return Changes(np.array(at, np.int64), np.array(before, np.int64), np.array(after, np.int64), initial)


def _offset_at(zone: tzinfo, instant: int) -> int:
    moment = from_microseconds(instant).astimezone(zone)
    return (moment.utcoffset() or timedelta()) // timedelta(microseconds=1)
