"""The time of a packet: RFC 3339 and nothing else, times without an offset, and the words that name a time.

Instants are microseconds since 1970 UTC. Python's own parser is not used: what it accepts beyond RFC 3339
depends on its version.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from joulebook.telemetry.readings import (
    DAY,
    FUTURE_ALLOWANCE,
    HOUR,
    MICROSECONDS,
    MINUTE,
    from_microseconds,
    to_microseconds,
)
from joulebook.time_zones import ZoneInfo, ZoneInfoNotFoundError

REFUSE, AS_UTC, IN_DEVICE_ZONE = "refuse", "utc", "device_zone"
"""The rules for times without an offset: values of the device's setting `time_without_offset`."""

# RFC 3339, section 5.6, with the blank of its note for the T, and with an offset that may be missing.
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.(\d+))?"
    r"(?:([Zz])|([+-])([01]\d|2[0-3]):([0-5]\d))?",
    re.ASCII,
)

_SECONDS = {f"{number:02d}": number * MICROSECONDS for number in range(60)}

_MOST_MINUTES = 1_024
_minutes: dict[str, int] = {}
"""Instants of minutes read before, by their text in UTC up to the seconds: `2026-11-21T09:30:`."""

# Four centuries of the calendar have the same number of days each; the year 0 has no `date`.
_FOUR_CENTURIES = 146_097


class BadTime(Exception):
    """The time cannot be used; `code` is for the answer."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class DeviceClock(NamedTuple):
    """The meaning of a device's times without an offset: a rule, and the name of the device's zone."""

    rule: str = REFUSE
    zone: str = "UTC"


DEFAULT_CLOCK = DeviceClock()


def read_time(text: str, clock: DeviceClock, arrived_at: int) -> int:
    """Return the instant of a time in RFC 3339; digits after the sixth of a second's fraction are cut off.

    Without an offset, the clock's rule applies. A leap second, 23:59:60 UTC at the end of a month, is the
    first second of the next month, as POSIX counts. Raises `BadTime`.
    """
    # Most times end with Z, and their minute was read a moment ago.
    minute = _minutes.get(text[:17])
    if minute is not None and text[-1] == "Z":
        whole = _SECONDS.get(text[17:-1])
        if whole is not None:
            return minute + whole
        whole, digits = _SECONDS.get(text[17:19]), text[20:-1]
        if whole is not None and text[19] == "." and digits.isdigit() and digits.isascii():
            return minute + whole + int(digits[:6].ljust(6, "0"))
    found = _TIME.fullmatch(text)
    if found is None:
        raise BadTime("time_invalid", f"{text[:80]!r} is not a time in RFC 3339")
    day, hour, minutes_past, second, fraction, zulu, sign, hours, minutes = found.groups()
    try:
        time = _midnight(day) + int(hour) * HOUR + int(minutes_past) * MINUTE + int(second) * MICROSECONDS
    except ValueError:
        raise BadTime("time_invalid", f"{text[:80]!r} is not a time in RFC 3339: no such day") from None
    if zulu is not None and second != "60":
        if len(_minutes) >= _MOST_MINUTES:
            _minutes.clear()
        _minutes[text[:17]] = time - int(second) * MICROSECONDS
    if fraction is not None:
        time += int(fraction[:6].ljust(6, "0"))
    if zulu is None:
        if sign is None:
            time = _without_offset(text, time, clock, arrived_at)
        else:
            ahead = int(hours) * HOUR + int(minutes) * MINUTE
            time = time + ahead if sign == "-" else time - ahead
    if second == "60" and not _is_after_leap_second(time):
        message = f"{text[:80]!r} has a second 60, but leap seconds are at the end of a month, 23:59:60 UTC"
        raise BadTime("time_invalid", message)
    return time


@lru_cache(maxsize=1024)
def _midnight(day: str) -> int:
    """Return the midnight in UTC of a day such as 2026-11-21. Raises ValueError if there is no such day."""
    year, month, number = map(int, day.split("-"))
    if year == 0:
        return (date(400, month, number).toordinal() - _FOUR_CENTURIES - 719_163) * DAY
    return (date(year, month, number).toordinal() - 719_163) * DAY


def _is_after_leap_second(time: int) -> bool:
    try:
        after = from_microseconds(time)
    except OverflowError:
        return False
    return (after.day, after.hour, after.minute, after.second) == (1, 0, 0, 0)


def _without_offset(text: str, wall: int, clock: DeviceClock, arrived_at: int) -> int:
    """Return the instant of a clock's time, `wall`, counted as if it were UTC. Raises `BadTime`."""
    if clock.rule == AS_UTC:
        return wall
    if clock.rule != IN_DEVICE_ZONE:
        raise BadTime("time_ambiguous", _remedy(text, wall, clock.zone, arrived_at))
    try:
        found = instants_at(wall, clock.zone)
    except ZoneInfoNotFoundError:
        message = f"{text[:80]!r} has no offset, and the device's zone {clock.zone[:80]!r} is not known"
        raise BadTime("time_ambiguous", message) from None
    if not found:
        message = f"{text[:80]!r} does not exist in {clock.zone}: clocks were put forward over it"
        raise BadTime("time_invalid", message)
    # In the doubled hour of autumn: the one nearer to the arrival.
    return min(found, key=lambda instant: abs(instant - arrived_at))


def instants_at(wall: int, zone: str) -> list[int]:
    """Return the instants at which the zone's clocks show `wall`, counted as if it were UTC.

    There are two in the doubled hour, and none in the skipped one. Raises `ZoneInfoNotFoundError`.
    """
    rules = ZoneInfo(zone)
    try:
        shown = from_microseconds(wall).replace(tzinfo=None)
    except OverflowError:
        return [wall]
    found = []
    for fold in (0, 1):
        local = shown.replace(tzinfo=rules, fold=fold)
        instant = wall - (local.utcoffset() or timedelta()) // timedelta(microseconds=1)
        try:
            again = from_microseconds(instant).astimezone(rules).replace(tzinfo=None)
        except OverflowError:
            continue
        if again == shown and instant not in found:
            found.append(instant)
    return found


def _remedy(text: str, wall: int, zone: str, arrived_at: int) -> str:
    """Return the message for a refused time without an offset; it says what would fit its arrival."""
    fitting = []
    if abs(wall - arrived_at) <= FUTURE_ALLOWANCE:
        fitting.append("UTC")
    try:
        if any(abs(instant - arrived_at) <= FUTURE_ALLOWANCE for instant in instants_at(wall, zone)):
            fitting.append(f"the device's zone, {zone},")
    except ZoneInfoNotFoundError:
        pass
    if len(fitting) == 2:
        fit = f"UTC and {fitting[1]} both fit the moment of its arrival"
    elif fitting:
        fit = f"{fitting[0]} fits the moment of its arrival"
    else:
        fit = f"neither UTC nor the device's zone, {zone}, fits the moment of its arrival"
    return (
        f"{text[:80]!r} has no offset; end it with Z or +hh:mm, or choose in the device's settings what such "
        f"times mean ({fit})"
    )


_MEASURED = """
timestamp Timestamp TimeStamp timeStamp time_stamp ts tst time Time unixtime unix_time unixTime epoch
datetime date_time dateTime DateTime measured_at measuredAt recorded_at recordedAt sampled_at sampledAt
"""
_PASSED_ON = "last_seen lastSeen received_at receivedAt created_at createdAt"
TIME_WORDS = (tuple(_MEASURED.split()), tuple(_PASSED_ON.split()))
"""Names of fields known to hold a packet's time: of its measurement, and else of its passing on."""

ALL_TIME_WORDS = frozenset(word for group in TIME_WORDS for word in group)

_EARLIEST = to_microseconds(from_microseconds(0).replace(year=2000))
_LATEST = to_microseconds(from_microseconds(0).replace(year=2100))
_UNITS = ((MICROSECONDS, 1), (1_000, 1), (1, 1), (1, 1_000))


def instant_by_size(number: float) -> int | None:
    """Return the instant of a number of seconds, milliseconds, microseconds or nanoseconds since 1970.

    Only one of these units puts it into the years 2000 to 2099; None if none does.
    """
    if not 0 < number < 1e19:
        return None
    for multiply, divide in _UNITS:
        time = int(number) // divide if divide > 1 else round(number * multiply)
        if _EARLIEST <= time < _LATEST:
            return time
    return None


def read_time_word(value: Any, clock: DeviceClock, arrived_at: int) -> int | None:
    """Return the instant in a field with a well-known name, or None if its value is no time.

    Raises `BadTime` for a time without an offset that the clock refuses.
    """
    if type(value) is int or type(value) is float:
        return instant_by_size(value)
    if type(value) is not str:
        return None
    if value.isascii() and value.isdigit() and len(value) <= 19:
        return instant_by_size(int(value))
    try:
        return read_time(value, clock, arrived_at)
    except BadTime as exc:
        if exc.code == "time_invalid" and _TIME.fullmatch(value) is None:
            return None
        raise
