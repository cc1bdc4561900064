"""Time formats in strptime's words, compiled to patterns: cells of text to instants or local times.

The words: %Y %y %m %d %j %H %I %p %M %S %f %z %Z %b %B %a and %%; or, alone, %s for seconds since 1970 UTC
(with %f behind a mark for a fraction) and %Q for milliseconds. A blank stands for one or more blanks, any
other character for itself. %d, %m, %H, %I, %M and %S take one or two digits, %f one to nine (kept to the
microsecond), %z `Z`, `UTC`, `GMT`, `+01:00`, `+0100` or `+01`, %Z an abbreviation of a zone (CET, PDT), %b
and %B names of months, %a the name of a weekday (not checked), %p AM or PM in any case. 24:00:00 is the
midnight at the end of its day. Three words are not strptime's: %k is hours and minutes in one number (5,
1430, 2400), %D the letter A or B for the first and second pass of a doubled hour, or nothing, and %* any
text, ignored (the end of a range, for example).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, timedelta, timezone, tzinfo
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.files.errors import Message, UnusableProfile
from joulebook.telemetry.readings import MICROSECONDS
from joulebook.time_zones import ZoneInfo, ZoneInfoNotFoundError

_MONTH_NAMES = (
    "jan january januar janvier janv januari januari enero ene gennaio gen janeiro",
    "feb february februar février févr fév fevr fev februari febrero febbraio fevereiro",
    "mar march märz maerz mrz mär mars maart mrt marzo março marts",
    "apr april avril avr aprile abril abr",
    "may mai mei mayo maggio mag maio maj",
    "jun june juni juin junio giugno giu junho",
    "jul july juli juillet juil julio luglio lug julho",
    "aug august août aout aoû augustus agosto ago augusti",
    "sep sept september septembre septiembre settembre set setembro",
    "oct october oktober okt octobre octubre ottobre ott outubro out",
    "nov november novembre noviembre novembro",
    "dec december dezember dez décembre déc diciembre dic dicembre dezembro des desember",
)
MONTHS = {name: number for number, names in enumerate(_MONTH_NAMES, 1) for name in names.split()}
"""Number of the month by its name in small letters, without a full stop."""

ZONES = {
    "UTC": 0, "GMT": 0, "Z": 0, "UT": 0, "WET": 0,
    "CET": 60, "MEZ": 60, "WEST": 60, "CEST": 120, "MESZ": 120, "EET": 120, "EEST": 180, "MSK": 180,
    "EST": -300, "EDT": -240, "CDT": -300, "MST": -420, "MDT": -360, "PST": -480, "PDT": -420,
    "AKST": -540, "AKDT": -480, "HST": -600, "JST": 540, "AWST": 480, "AEST": 600, "AEDT": 660,
    "NZST": 720, "NZDT": 780,
}  # fmt: skip
"""Minutes ahead of UTC, without CST, IST, BST and others: each is the name of several zones."""


NO_OFFSET = np.iinfo(np.int64).min
"""Marks a time without an offset of its own."""

DAY = 86_400 * MICROSECONDS
_NO_SUCH_OFFSET = DAY
_DAYS_IN_MONTH = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)

_MONTH_NAME = r"\p{L}{3,10}"
_WORDS = {
    "Y": ("Y", "[0-9]{4}"),
    "y": ("y", "[0-9]{2}"),
    "m": ("m", "[0-9]{1,2}"),
    "d": ("d", "[0-9]{1,2}"),
    "j": ("j", "[0-9]{1,3}"),
    "H": ("H", "[0-9]{1,2}"),
    "I": ("I", "[0-9]{1,2}"),
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
}
_DATES = (
    {"Y", "m", "d"},
    {"y", "m", "d"},
    {"Y", "b", "d"},
    {"y", "b", "d"},
    {"Y", "j"},
    {"y", "j"},
    {"s"},
    {"Q"},
)


@dataclass(frozen=True)
class ParsedTimes:
    """Times of a column of text; all three arrays are as long as the column.

    `wall` is the local time, in microseconds since 1970-01-01 00:00 on the same clock. `offset` is the
    offset from UTC in microseconds written in the text, else `NO_OFFSET`. `marked` is 1 or 2 for a pass of
    a doubled hour written in the text, else 0. Where `fits` is False the text is no time of the format,
    and the other fields mean nothing.
    """

    wall: NDArray[np.int64]
    offset: NDArray[np.int64]
    fits: NDArray[np.bool_]
    marked: NDArray[np.int8]


@dataclass(frozen=True)
class TimeFormat:
    """One time format; raises `UnusableProfile` unless it names one whole date, and no word twice."""

    text: str

    def __post_init__(self) -> None:
        words = [word for word, _ in self._parts if word]
        date = {word for word in words if word in "YymbdjsQ"}
        if len(set(words)) != len(words) or date not in _DATES:
            raise self._unusable(" must name a year, a month and a day (%Y-%m-%d), each once")
        if date & {"s", "Q"} and not set(words) <= {"s", "Q", "f"}:
            raise self._unusable(": %s and %Q stand alone, but for a fraction .%f")
        if (
            ("I" in words) != ("p" in words)
            or len({"H", "I", "k"} & set(words)) > 1
            or {"k", "M"} <= set(words)
        ):
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
        for percent, literal in re.findall(r"%(.?)|([^%]+)", self.text, re.DOTALL):
            if literal:
                pieces = re.split(r"\s+", literal)
                parts.append(("", r"[ \t]+".join(re.escape(piece) for piece in pieces)))
            elif percent == "%":
                parts.append(("", "%"))
            elif percent in _WORDS:
                parts.append(_WORDS[percent])
            else:
                known = " ".join(f"%{word}" for word in _WORDS)
                raise self._unusable(f": %{percent} is not known; there are {known} %%")
        return parts

    @cached_property
    def _pattern(self) -> str:
        parts = (f"(?P<{word}>{pattern})" if word else pattern for word, pattern in self._parts)
        return f"^{''.join(parts)}$"

    def parse(self, text: pl.Series) -> ParsedTimes:
        """Return the times of a String column; cells must have no blanks at their ends."""
        fields = _Fields(text.str.extract_groups(self._pattern).struct.unnest())
        day, day_exists = _days(fields)
        clock, clock_exists = _clock(fields)
        offset = np.full(len(text), NO_OFFSET)
        if "z" in fields:
            # `Z`, `UTC`, `GMT`, `+hh`, `+hhmm` or `+hh:mm`, in microseconds ahead of UTC.
            digits = fields["z"].str.replace(":", "", literal=True)
            hours = digits.str.slice(1, 2).cast(pl.Int64, strict=False).fill_null(0).to_numpy()
            minutes = digits.str.slice(3, 2).cast(pl.Int64, strict=False).fill_null(0).to_numpy()
            sign = np.where(digits.str.starts_with("-").fill_null(value=False).to_numpy(), -1, 1)
            offset = sign * (hours * 60 + minutes) * 60 * MICROSECONDS
            offset = np.where((hours < 24) & (minutes < 60), offset, _NO_SUCH_OFFSET)
        if "Z" in fields:
            offset = _looked_up(fields["Z"], ZONES) * 60 * MICROSECONDS
        marked = np.zeros(len(text), np.int8)
        if "D" in fields:
            mark = fields["D"].str.to_lowercase()
            marked[(mark == "a").fill_null(value=False).to_numpy()] = 1
            marked[(mark == "b").fill_null(value=False).to_numpy()] = 2
        if fields.is_epoch:
            offset = np.zeros(len(text), np.int64)
        fits = fields.are_there & day_exists & clock_exists & (offset != _NO_SUCH_OFFSET)
        return ParsedTimes(day * DAY + clock, offset, fits, marked)


class _Fields:
    """The words of a format in each cell; whole numbers are 0 in cells that do not fit."""

    def __init__(self, groups: pl.DataFrame) -> None:
        self._groups = groups
        self.are_there = ~groups[groups.columns[0]].is_null().to_numpy()
        self.is_epoch = "s" in groups.columns or "Q" in groups.columns

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
        left = np.flatnonzero(~times.fits)
        if not len(left):
            break
        more = other.parse(text[left])
        times.wall[left], times.offset[left], times.fits[left] = more.wall, more.offset, more.fits
        times.marked[left] = more.marked
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
        time = fields.whole("s") * MICROSECONDS + fields.whole("Q") * 1000 + fraction
        return time, time >= 0
    hour, minute, second = fields.whole("H"), fields.whole("M"), fields.whole("S")
    if "k" in fields:
        hour, minute = np.divmod(fields.whole("k"), 100)
    exists = (minute < 60) & (second < 60)
    if "I" in fields:
        hour = fields.whole("I")
        exists &= (hour >= 1) & (hour <= 12)
        is_late = fields["p"].str.head(1).str.to_lowercase().fill_null("a").to_numpy() == "p"
        hour = hour % 12 + 12 * is_late
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
