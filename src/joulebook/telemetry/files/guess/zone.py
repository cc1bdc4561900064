"""Settles whose clock a file's times are read by, and what they mark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import polars as pl

from joulebook.telemetry.files.errors import UnclearFile
from joulebook.telemetry.files.guess.questions import Account, Answer, Question
from joulebook.telemetry.files.profile import Given, HourColumn
from joulebook.telemetry.files.times import DAY, ZONES, TimeFormat, find_zone, parse_times
from joulebook.telemetry.readings import MICROSECONDS

_ZONE_IN_NAME = re.compile(
    r"(?<![A-Za-z])(?:UTC|GMT)\s*(?P<offset>[+-][0-9]{1,2}(?::?[0-9]{2})?)?(?![A-Za-z0-9])", re.IGNORECASE
)
_FIXED = "|".join(sorted(ZONES, key=len, reverse=True))
_ABBREVIATION = re.compile(rf"(?<![A-Za-z])(?P<name>{_FIXED})(?![A-Za-z0-9])")


def settle_zone(
    names: Sequence[str], formats: Sequence[str], given: Given, account: Account, *, device_tz: str
) -> str:
    """Return the zone of times without an offset: given, named in the header, or the device's."""
    in_name = next((match for name in names if (match := _ZONE_IN_NAME.search(name))), None)
    # Two of them, as in CET/CEST, are the name of local time.
    fixed = next((found[0] for name in names if len(found := [*_ABBREVIATION.finditer(name)]) == 1), None)
    if given.tz is not None:
        tz = given.tz
        account.note("time zone", tz, "", is_given=True)
    elif all(any(word in text for word in ("%z", "%Z", "%s", "%Q")) for text in formats):
        tz = "UTC"
        account.note("time zone", "in each time", "the times carry their offset")
    elif in_name is not None:
        tz = in_name["offset"] or "UTC"
        account.note("time zone", tz, f"named in the header {in_name.string!r}")
    elif fixed is not None:
        tz = _offset_text(ZONES[fixed["name"]])
        account.note("time zone", tz, f"{fixed['name']} in the header {fixed.string!r}")
    else:
        tz = device_tz
        account.note("time zone", tz, "the device's zone")
        account.ask(
            Question(
                "tz",
                f"the file does not say in which zone its times are; they are read in the device's, {tz}",
                ": is it another, say --tz ZONE",
                (Answer(tz, {"tz": tz}), Answer("UTC", {"tz": "UTC"})),
                is_required=False,
            )
        )
    find_zone(tz)
    return tz


def settle_clock(
    given: Given,
    account: Account,
    text: pl.Series,
    formats: Sequence[str],
    hours: Sequence[HourColumn] = (),
) -> dict[str, Any]:
    """Return the profile's entries about doubled and missing hours, and about what a time marks."""
    parsed = parse_times(text, tuple(TimeFormat(text_format) for text_format in formats))
    wall = parsed.wall[parsed.fits]
    interval = _usual_step(wall)
    if hours:
        interval = min(abs(b.minutes - a.minutes) or 60 for a, b in pairwise(hours)) * 60
    if given.time_marks == "end" and not interval:
        raise UnclearFile("--time-marks end: the file's times do not show how long its intervals are")
    ends = _has_24(text, formats)
    if given.time_marks is not None:
        account.note("times mark", f"the {given.time_marks} of an interval", "", is_given=True)
    elif ends and interval:
        account.ask(
            Question(
                "time_marks",
                "times such as 24:00 mark the end of an interval; they are stored as they stand",
                f". To store each value at the beginning of its {_duration(interval)}, say --time-marks end",
                (
                    Answer("as they stand", {"time_marks": "start"}),
                    Answer(f"{_duration(interval)} earlier", {"time_marks": "end"}),
                ),
                is_required=False,
            )
        )
    return {
        "time_marks": given.time_marks or "start",
        "interval": interval if given.time_marks == "end" else 0,
        "doubled_hour": given.doubled_hour or "order",
        "missing_hour": given.missing_hour or "reject",
    }


def _usual_step(wall: Any) -> int:
    """Return the commonest step between different times, in seconds; 0 where there is none."""
    steps = pl.Series(wall).diff().abs().drop_nulls()
    steps = steps.filter((steps > 0) & (steps <= DAY))
    return int(steps.mode().sort()[0]) // MICROSECONDS if len(steps) else 0


def _has_24(text: pl.Series, formats: Sequence[str]) -> bool:
    if any("%k" in text_format for text_format in formats):
        return bool(text.str.contains(r" 2400$").any())
    return bool(text.str.contains(r"[T ]24(?::00|$)").any())


def _duration(seconds: int) -> str:
    return f"{seconds // 60} minutes" if seconds % 60 == 0 else f"{seconds} seconds"


def _offset_text(minutes: int) -> str:
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
