"""Time formats in strptime's words, compiled to patterns: cells of text to instants or local times.

The words: %Y %y %m %d %j %H %I %p %M %S %f %z %Z %b %B %a and %%; or, alone, a count since 1970 UTC: %s of
seconds (with %f behind a mark for a fraction), %Q of milliseconds, %U of microseconds, %N of nanoseconds. A
blank stands for one or more blanks, any other character for itself. %d, %m, %H, %I, %M and %S take one or two
digits, %f one to nine (kept to the microsecond), %z `Z`, `UTC`, `GMT`, `+01:00`, `+0100`, `+1` or `UTC+1`, %Z
an abbreviation of a zone (CET, PDT), %b and %B names of months, %a the name of a weekday (not checked), %p a
half of the day (AM, p. m., nachm., 午後). 24:00:00 is the midnight at the end of its day.

Other words are not strptime's. %Y=2024 is a year that the text lacks. %k is hours and minutes in one number
(5, 1430, 2400). %h counts the hours of a day by its clock: 1 begins at midnight, 24 at 23:00. %n counts them
as they pass: 25 is the last one of a day with a doubled hour. %E is %H, but 00:00 ends its day, as in 00:15
to 00:00. %D marks the pass of a doubled hour: A, S or DST the first one, B or W the second (see `PASSES`), or
is nothing. %* is any text, ignored (the end of a range, for example).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta, timezone, tzinfo
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.files.errors import Message, UnusableProfile
from joulebook.telemetry.files.time_words import HALVES, MONTHS, PASSES, ZONES
from joulebook.telemetry.readings import MICROSECONDS
from joulebook.time_zones import ZoneInfo, ZoneInfoNotFoundError

NO_OFFSET = np.iinfo(np.int64).min
"""Marks a time without an offset of its own."""

MINUTE = 60 * MICROSECONDS
DAY = 86_400 * MICROSECONDS
_NO_SUCH_OFFSET = DAY
_NO_PASS = 3
_DAYS_IN_MONTH = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)

_MONTH_NAME = r"\p{L}{3,12}"
_BLANKS = r"[ \t\x{00a0}\x{202f}]+"
_WORDS = {
    "Y": ("Y", "[0-9]{4}"),
    "y": ("y", "[0-9]{2}"),
    "m": ("m", "[0-9]{1,2}"),
    "d": ("d", "[0-9]{1,2}"),
    "j": ("j", "[0-9]{1,3}"),
    "H": ("H", "[0-9]{1,2}"),
    "I": ("I", "[0-9]{1,2}"),
    "h": ("h", "[0-9]{1,2}"),
    "n": ("n", "[0-9]{1,2}"),
    "E": ("E", "[0-9]{1,2}"),
    "p": ("p", r"(?i:[ap]\.?m\.?)"),
    "M": ("M", "[0-9]{1,2}"),
    "S": ("S", "[0-9]{1,2}"),
    "f": ("f", "[0-9]{1,9}"),
    "z": ("z", "[Zz]|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?"),
    "Z": ("Z", "|".join(sorted(ZONES, key=len, reverse=True))),
    "b": ("b", rf"{_MONTH_NAME}\.?"),
    "B": ("b", rf"{_MONTH_NAME}\.?"),
    "a": ("a", r"\p{L}{2,12}\.?"),
    "k": ("k", "[0-9]{1,4}"),
    "D": ("D", "[ABab]?"),
    "*": ("rest", ".*"),
    "s": ("s", "[0-9]{1,11}"),
    "Q": ("Q", "[0-9]{1,14}"),
    "U": ("U", "[0-9]{1,17}"),
    "N": ("N", "[1-8]?[0-9]{1,18}"),
}
_RARE = {
    "p": r"\p{L}[\p{L}. \x{00a0}\x{202f}]{0,15}",
    "D": r"(?:\p{L}{1,12}|\b[01])",
    "z": "(?:UTC|GMT)?[+-][0-9]{1,2}(?::?[0-9]{2})?",
}
"""Patterns for rare ways to write a word: they take longer, and are for cells without the usual way."""

_COUNTS = {"s": MICROSECONDS, "Q": 1000, "U": 1, "N": 0}
"""Microseconds of each count since 1970; that of nanoseconds is divided."""

_HOURS = {"H", "I", "k", "h", "n", "E"}
_DATES = (
    {"Y", "m", "d"},
    {"y", "m", "d"},
    {"Y", "b", "d"},
    {"y", "b", "d"},
    {"Y", "j"},
    {"y", "j"},
    *({count} for count in _COUNTS),
)


@dataclass
class ParsedTimes:
    """Times of a column of text; all three arrays are as long as the column.

    `wall` is the local time, in microseconds since 1970-01-01 00:00 on the same clock. `offset` is the
    offset from UTC in microseconds written in the text, else `NO_OFFSET`. `marked` is 1 or 2 for a pass of
    a doubled hour written in the text, else 0. Where `fits` is False the text is no time of the format,
    and the other fields mean nothing. `passed` are the microseconds passed since `wall`, where the text
    counts hours as they pass.
    """

    wall: NDArray[np.int64]
    offset: NDArray[np.int64]
    fits: NDArray[np.bool_]
    marked: NDArray[np.int8]
    passed: NDArray[np.int64] | None = None

    def fill(self, text: pl.Series, parse: Callable[[pl.Series], ParsedTimes]) -> None:
        """Parse the cells that do not fit so far in another way, and take these times."""
        left = np.flatnonzero(~self.fits)
        if not len(left):
            return
        more = parse(text[left])
        self.wall[left], self.offset[left], self.fits[left] = more.wall, more.offset, more.fits
        self.marked[left] = more.marked
        if more.passed is not None and self.passed is None:
            self.passed = np.zeros(len(text), np.int64)
        if self.passed is not None:
            self.passed[left] = 0 if more.passed is None else more.passed


@dataclass(frozen=True)
class TimeFormat:
    """One time format; raises `UnusableProfile` unless it names one whole date, and no word twice."""

    text: str

    def __post_init__(self) -> None:
        words = [word for word, _ in self._parts if word]
        date = {word for word in words if word in {"Y", "y", "m", "b", "d", "j", *_COUNTS}}
        if len(set(words)) != len(words) or date not in _DATES:
            raise self._unusable(" must name a year, a month and a day (%Y-%m-%d), each once")
        if date & _COUNTS.keys() and not set(words) <= {*_COUNTS, "f"}:
            raise self._unusable(": %s, %Q, %U and %N stand alone, but for a fraction .%f")
        if ("I" in words) != ("p" in words) or len(_HOURS & set(words)) > 1 or {"k", "M"} <= set(words):
            raise self._unusable(": %I and %p belong together, and exclude %H; %k excludes %H and %M")
        if {"z", "Z"} <= set(words):
            raise self._unusable(" names the offset twice, by %z and by %Z")

    def _unusable(self, problem: str) -> UnusableProfile:
        message = Message("{time_formats:{0!r}}" + problem, self.text)
        return UnusableProfile(message, setting="time_formats")

    @cached_property
    def _parts(self) -> list[tuple[str, str]]:
        """Return (word, pattern) for each part; the word is "" for literal text."""
        parts: list[tuple[str, str]] = []
        for year, percent, literal in re.findall(r"%Y=([0-9]{4})\s*|%(.?)|([^%]+)", self.text, re.DOTALL):
            if literal:
                pieces = re.split(r"\s+", literal)
                parts.append(("", _BLANKS.join(re.escape(piece) for piece in pieces)))
            elif year:
                parts.append(("Y", ""))
            elif percent == "%":
                parts.append(("", "%"))
            elif percent in _WORDS:
                parts.append(_WORDS[percent])
            else:
                known = " ".join(f"%{word}" for word in _WORDS)
                raise self._unusable(f": %{percent} is not known; there are {known} %%")
        return parts

    def _pattern(self, rare: Mapping[str, str]) -> str:
        parts = (
            f"(?P<{word}>{rare.get(word, pattern)})" if word else pattern for word, pattern in self._parts
        )
        return f"^{''.join(parts)}$"

    def parse(self, text: pl.Series) -> ParsedTimes:
        """Return the times of a String column; cells must have no blanks at their ends."""
        times = self._parse(text, self._pattern({}))
        if any(word in _RARE for word, _ in self._parts):
            times.fill(text, lambda cells: self._parse(cells, self._pattern(_RARE)))
        return times

    def _parse(self, text: pl.Series, pattern: str) -> ParsedTimes:
        groups = text.str.extract_groups(pattern).struct.unnest()
        if year := re.search(r"%Y=([0-9]{4})", self.text):
            groups = groups.with_columns(Y=pl.when(pl.col("Y").is_not_null()).then(pl.lit(year[1])))
        fields = _Fields(groups)
        day, day_exists = _days(fields)
        clock, clock_exists = _clock(fields)
        offset = np.full(len(text), NO_OFFSET)
        if "z" in fields:
            # An offset of one or two digits is of hours; of more, the last two are minutes.
            digits = fields["z"].str.replace(":", "", literal=True).str.strip_chars_start("UTCGMZz")
            is_short = (digits.str.len_chars() <= 3).fill_null(value=True).to_numpy()
            number = digits.str.slice(1).cast(pl.Int64, strict=False).fill_null(0).to_numpy()
            hours, minutes = np.divmod(np.where(is_short, number * 100, number), 100)
            sign = np.where(digits.str.starts_with("-").fill_null(value=False).to_numpy(), -1, 1)
            offset = sign * (hours * 60 + minutes) * 60 * MICROSECONDS
            offset = np.where((hours < 24) & (minutes < 60), offset, _NO_SUCH_OFFSET)
        if "Z" in fields:
            offset = _looked_up(fields["Z"], ZONES) * 60 * MICROSECONDS
        fits = fields.are_there & day_exists & clock_exists
        marked = np.zeros(len(text), np.int8)
        if "D" in fields:
            marked = _looked_up(fields["D"].str.to_lowercase(), PASSES | {"": _NO_PASS}).astype(np.int8)
            fits &= marked > 0
            marked[marked == _NO_PASS] = 0
        if fields.is_epoch:
            offset = np.zeros(len(text), np.int64)
        fits &= offset != _NO_SUCH_OFFSET
        passed = (fields.whole("n") - 1) * 60 * MINUTE if "n" in fields else None
        return ParsedTimes(day * DAY + clock, offset, fits, marked, passed)


class _Fields:
    """The words of a format in each cell; whole numbers are 0 in cells that do not fit."""

    def __init__(self, groups: pl.DataFrame) -> None:
        self._groups = groups
        self.are_there = ~groups[groups.columns[0]].is_null().to_numpy()
        self.is_epoch = bool(_COUNTS.keys() & set(groups.columns))

    def __contains__(self, word: str) -> bool:
        return word in self._groups.columns

    def __getitem__(self, word: str) -> pl.Series:
        return self._groups[word]

    def whole(self, word: str) -> NDArray[np.int64]:
        """Return a word's whole numbers, 0 if the format lacks the word."""
        if word not in self:
            return np.zeros(len(self._groups), np.int64)
        return self[word].cast(pl.Int64, strict=False).fill_null(0).to_numpy()


def parse_times(text: pl.Series, formats: tuple[TimeFormat, ...]) -> ParsedTimes:
    """Return the times of a column, each cell by its first fitting format."""
    first, *others = formats
    times = first.parse(text)
    for other in others:
        times.fill(text, other.parse)
    return times


def _days(fields: _Fields) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return days since 1970-01-01, and whether there is such a day."""
    if fields.is_epoch:
        zero = fields.whole("d")
        return zero, zero == 0
    if "Y" in fields:
        year = fields.whole("Y")
    else:
        # By POSIX the years 69 to 99 are 1969 to 1999, the others 2000 to 2068.
        year = fields.whole("y")
        year = np.where(year >= 69, year + 1900, year + 2000)
    is_leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    if "j" in fields:
        day_of_year = fields.whole("j")
        exists = (day_of_year >= 1) & (day_of_year <= np.where(is_leap, 366, 365))
        return _day_number(year, np.ones_like(year), day_of_year), exists
    month = (
        fields.whole("m")
        if "m" in fields
        else _looked_up(fields["b"].str.strip_suffix(".").str.to_lowercase(), MONTHS)
    )
    exists = (month >= 1) & (month <= 12)
    month = np.where(exists, month, 1)
    last_day = np.where(is_leap & (month == 2), 29, _DAYS_IN_MONTH[month - 1])
    day = fields.whole("d")
    return _day_number(year, month, day), exists & (day >= 1) & (day <= last_day)


def _clock(fields: _Fields) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return microseconds since the day's midnight (or since 1970 UTC), and whether there is such a time."""
    if "f" in fields:
        # The digits after a decimal mark as microseconds; further digits are dropped.
        digits = fields["f"].str.pad_end(6, "0").str.head(6)
        fraction = digits.cast(pl.Int64, strict=False).fill_null(0).to_numpy()
    else:
        fraction = fields.whole("f")
    if fields.is_epoch:
        time = sum((fields.whole(word) * unit for word, unit in _COUNTS.items()), fraction)
        time = time + fields.whole("N") // 1000
        return time, time >= 0
    hour, minute, second = fields.whole("H"), fields.whole("M"), fields.whole("S")
    if "k" in fields:
        hour, minute = np.divmod(fields.whole("k"), 100)
    exists = (minute < 60) & (second < 60)
    if "h" in fields:
        hour = fields.whole("h") - 1
        exists &= (hour >= 0) & (hour < 24)
    if "n" in fields:
        exists &= (fields.whole("n") >= 1) & (fields.whole("n") <= 25)
    if "E" in fields:
        hour = fields.whole("E")
        hour = np.where((hour == 0) & (minute == 0) & (second == 0) & (fraction == 0), 24, hour)
    if "I" in fields:
        hour = fields.whole("I")
        exists &= (hour >= 1) & (hour <= 12)
        half = fields["p"].str.replace_all(r"[.\x{00a0}\x{202f} ]", "").str.to_lowercase()
        which = _looked_up(half, HALVES)
        exists &= which > 0
        hour = hour % 12 + 12 * (which == 2)
    clock = ((hour * 60 + minute) * 60 + second) * MICROSECONDS + fraction
    return clock, exists & (clock <= DAY)


def _day_number(
    year: NDArray[np.int64], month: NDArray[np.int64], day: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return days since 1970-01-01 in the Gregorian calendar."""
    months = (year - 1970) * 12 + month - 1
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + day - 1


def _looked_up(words: pl.Series, table: dict[str, int]) -> NDArray[np.int64]:
    """Return the numbers of words by a table, 0 for all others."""
    numbers = words.replace_strict(list(table), list(table.values()), default=0, return_dtype=pl.Int64)
    return numbers.fill_null(0).to_numpy()


_FIXED_OFFSET = re.compile(r"(?:UTC|GMT)?\s*([+-])([0-9]{1,2})(?::?([0-9]{2}))?", re.IGNORECASE)


def find_zone(name: str) -> tzinfo:
    """Return the zone of an IANA name or a fixed offset (`+01:00`, `UTC+1`); raises `UnusableProfile`."""
    if name.upper() in {"UTC", "GMT", "Z"}:
        return UTC
    if match := _FIXED_OFFSET.fullmatch(name.strip()):
        sign, hours, minutes = match.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
        if offset < timedelta(hours=24) and int(minutes or 0) < 60:
            return timezone(-offset if sign == "-" else offset)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UnusableProfile(
            Message(
                "{tz:{0!r}} is not a time zone; use an IANA name such as Europe/Berlin, "
                "an offset such as +01:00, or UTC",
                name,
            ),
            setting="tz",
        ) from None
