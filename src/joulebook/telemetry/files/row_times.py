"""The times of a file's rows: cells of text to UTC instants, or the reason for having none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.clocks import Clock
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.times import (
    DAY,
    NO_OFFSET,
    ParsedTimes,
    TimeFormat,
    find_zone,
    parse_times,
)
from joulebook.telemetry.readings import FUTURE_ALLOWANCE, MICROSECONDS, OLDEST

TIME_CODES = ("", "time_missing", "time_malformed", "time_nonexistent", "time_past", "time_future")
OK, MISSING, MALFORMED, NONEXISTENT, PAST, FUTURE = range(len(TIME_CODES))

_PASSES = {"order": 0, "first": 1, "second": 2}


@dataclass
class LocalClock:
    """Converts the local times of one file to UTC, in the file's order.

    A repeated local time counts as the first pass of its hour until the file's times step back (or stay
    equal for one row) within that hour, and as the second pass from there on. In a file sorted backwards
    it counts as the second pass until the times step forward. The state continues from block to block:
    rows must come in file order. With `doubled` 1 or 2 it is always that pass. With `shifts_missing` a
    skipped local time is converted with the offset before the change. With `marks_ends`, the end of the hour
    (03:00) amid its times is the end of its first pass: 02:45, 03:00, 02:15.
    """

    zone: tzinfo
    doubled: int = 0
    shifts_missing: bool = False
    marks_ends: bool = False
    previous: int | None = None
    """Local time of the last row with a time, microseconds."""
    is_second: bool = False
    """Whether the doubled hour is in its second pass."""
    is_backwards: bool = False
    """Whether the file entered the doubled hour from its end."""

    def to_utc(
        self, wall: NDArray[np.int64], marked: NDArray[np.int8] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """Return UTC microseconds and for each row 0, or 1 or 2 for the passes of a doubled hour, or -1.

        -1 marks a local time skipped by the clock; its UTC time means nothing. `marked` holds the pass
        named in the file for each row, or 0.
        """
        kind = np.zeros(len(wall), np.int8)
        if not len(wall):
            return wall.copy(), kind
        clock = Clock.over(self.zone, int(wall.min()) - 2 * DAY, int(wall.max()) + 2 * DAY)
        offsets = clock.offsets
        start, end = clock.unusual_times()
        early = np.searchsorted(end, wall, side="right")
        late = np.searchsorted(start, wall, side="right")
        utc = wall - offsets[early]
        unusual = np.flatnonzero(early != late)
        ends = self._first_ends(wall, start, end, offsets) if self.marks_ends and len(unusual) else {}
        if not len(unusual):
            self.previous = int(wall[-1])
            return utc, kind
        is_doubled = offsets[late[unusual]] < offsets[early[unusual]]
        missing = unusual[~is_doubled]
        if self.shifts_missing:
            utc[missing] = wall[missing] - offsets[late[missing] - 1]
        else:
            kind[missing] = -1
        for row in sorted([*unusual[is_doubled].tolist(), *ends]):
            if row in ends:
                utc[row], kind[row] = wall[row] - offsets[ends[row]], 1
                self.is_second = not self.is_second
                continue
            previous = self.previous if row == 0 else int(wall[row - 1])
            which = int(early[row])
            if row - 1 in ends:
                previous = int(end[which]) - 1
            kind[row] = self._pass(int(wall[row]), previous, start=int(start[which]), end=int(end[which]))
            if named := self.doubled or (0 if marked is None else int(marked[row])):
                kind[row] = named
        second = kind == 2
        utc[second] = wall[second] - offsets[late[second]]
        self.previous = int(wall[-1])
        return utc, kind

    def as_json(self) -> list[int | None]:
        """Return the clock's state after the rows so far."""
        return [self.previous, int(self.is_second), int(self.is_backwards)]

    def restore(self, state: Sequence[int | None]) -> None:
        """Set the state returned by `as_json`."""
        self.previous, self.is_second, self.is_backwards = state[0], bool(state[1]), bool(state[2])

    @staticmethod
    def _first_ends(
        wall: NDArray[np.int64], start: NDArray[np.int64], end: NDArray[np.int64], offsets: NDArray[np.int64]
    ) -> dict[int, int]:
        """Return the rows at the end of a doubled hour's first pass, with the index of the hour's change."""
        found: dict[int, int] = {}
        for change in np.flatnonzero(offsets[1:] < offsets[:-1]).tolist():
            inside = (wall > start[change]) & (wall < end[change])
            at_end = wall == end[change]
            rows = np.flatnonzero(at_end[1:-1] & inside[:-2] & (inside | at_end)[2:]) + 1
            found |= dict.fromkeys(rows.tolist(), change)
        return found

    def _pass(self, wall: int, previous: int | None, *, start: int, end: int) -> int:
        if previous is None or not start <= previous < end:
            self.is_backwards = previous is not None and previous >= end
            self.is_second = self.is_backwards
        elif wall == previous:
            return 1 if self.is_backwards else 2
        elif (wall > previous) if self.is_backwards else (wall < previous):
            self.is_second = not self.is_backwards
        return 2 if self.is_second else 1


class RowTimes:
    """Reads the times of one file's rows, in the file's order, with one clock for each series."""

    def __init__(self, profile: ImportProfile, *, now: int) -> None:
        """Set the profile and the present in microseconds; raises `UnusableProfile`."""
        self._formats = tuple(TimeFormat(text) for text in profile.time_formats)
        self._zone = find_zone(profile.tz)
        self._doubled = _PASSES[profile.doubled_hour]
        self._shifts_missing = profile.missing_hour == "shift"
        self._back = profile.interval * MICROSECONDS if profile.time_marks == "end" else 0
        self._latest = now + FUTURE_ALLOWANCE
        self._clocks: dict[str, LocalClock] = {}

    def read(
        self, text: pl.Series, key: pl.Series | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int8], tuple[int, int]]:
        """Return UTC microseconds, an index into `TIME_CODES`, and the number of rows in each doubled pass.

        `text` are stripped cells. Each `key` is a series of its own, with its own clock.
        """
        parsed = parse_times(text, self._formats)
        code = np.where(parsed.fits, OK, MALFORMED).astype(np.int8)
        code[(text == "").to_numpy()] = MISSING
        return self.to_utc(parsed, code, key)

    def dates(self, text: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """Return local midnights and an index into `TIME_CODES`, for rows with the hours across."""
        parsed = parse_times(text, self._formats)
        code = np.where(parsed.fits, OK, MALFORMED).astype(np.int8)
        code[(text == "").to_numpy()] = MISSING
        day = parsed.wall // DAY * DAY
        code[(code == OK) & (day < OLDEST - 2 * DAY)] = PAST
        code[(code == OK) & (day > self._latest + 2 * DAY)] = FUTURE
        return day, code

    def to_utc(
        self, parsed: ParsedTimes, code: NDArray[np.int8], key: pl.Series | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int8], tuple[int, int]]:
        """Return the same as `read` for parsed times; `code` is changed in place."""
        time = parsed.wall.copy()
        has_offset = parsed.offset != NO_OFFSET
        time[has_offset] -= parsed.offset[has_offset]
        # Times far from the present need no zone: two days are more than any offset.
        code[(code == OK) & (time < OLDEST - 2 * DAY)] = PAST
        code[(code == OK) & (time > self._latest + 2 * DAY)] = FUTURE
        local = np.flatnonzero((code == OK) & ~has_offset)
        marked = parsed.marked if parsed.marked.any() else None
        kind = np.zeros(len(time), np.int8)
        # The rows of each series, by its key.
        rows_of = {"": local}
        if key is not None:
            keyed = pl.DataFrame({"key": key[local], "row": local})
            groups = keyed.group_by("key", maintain_order=True)
            rows_of = {str(name): group["row"].to_numpy() for (name,), group in groups}
        for name, rows in rows_of.items():
            named = None if marked is None else marked[rows]
            time[rows], kind[rows] = self._clock(name).to_utc(parsed.wall[rows], named)
        code[kind == -1] = NONEXISTENT
        if parsed.passed is not None:
            time += parsed.passed
        if self._back:
            time -= self._back
        code[(code == OK) & (time < OLDEST)] = PAST
        code[(code == OK) & (time > self._latest)] = FUTURE
        return time, code, (int((kind == 1).sum()), int((kind == 2).sum()))

    def _clock(self, name: str) -> LocalClock:
        if name not in self._clocks:
            self._clocks[name] = LocalClock(
                self._zone, self._doubled, self._shifts_missing, marks_ends=bool(self._back)
            )
        return self._clocks[name]

    def as_json(self) -> dict[str, Any]:
        """Return the state of the clocks after the rows so far."""
        return {name: clock.as_json() for name, clock in self._clocks.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Set the state returned by `as_json`."""
        for name, clock in state.items():
            self._clock(name).restore(clock)
