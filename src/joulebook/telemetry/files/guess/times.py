"""Finds how the times of a file are written: their formats, their zone, and what a time marks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from joulebook.telemetry.files.errors import Message, UnclearFile
from joulebook.telemetry.files.guess.questions import Answer, Question
from joulebook.telemetry.files.guess.sample import Sample
from joulebook.telemetry.files.times import DAY, ZONES, TimeFormat, find_zone, parse_times
from joulebook.telemetry.readings import MICROSECONDS

MOST_FORMATS = 4
_SAMPLED_CELLS = 2000
_WORTH_A_FORMAT = 0.005

_CLOCK = (
    r"(?P<clock>[0-9]{1,2}(?P<within>[ABab])?:[0-9]{2})(?P<second>:[0-9]{2})?(?P<fraction>[.,][0-9]{1,9})?"
    r"(?P<half> ?[apAP]\.?[mM]\.?)?(?P<pass> ?[ABab](?![A-Za-z]))?"
)
_ZONE_NAMES = "|".join(sorted(ZONES.keys() - {"UTC", "GMT", "Z"}, key=len, reverse=True))
_ZONE = rf"(?P<zone> *(?:[Zz]|UTC|GMT|[+-][0-9]{{2}}(?::?[0-9]{{2}})?|(?P<abbreviation>{_ZONE_NAMES})))?"
_RANGE = r"(?P<dash> ?(?:-|–|—|/|to|bis|tot|until) ?(?=[0-9]))?(?P<rest>(?(dash).{1,40}|))"
_WEEKDAY = r"(?P<weekday>[^\W\d_]{2,10}(?P<comma>\.?,? ))?"
_MONTH = r"[^\W\d_]{3,10}\.?"
_MARK = r"(?P<mark>[-/.])"
_DATES = {
    "ymd4": rf"[0-9]{{4}}{_MARK}[0-9]{{1,2}}(?P=mark)[0-9]{{1,2}}",
    "dmy4": rf"[0-9]{{1,2}}{_MARK}[0-9]{{1,2}}(?P=mark)[0-9]{{4}}",
    "dmy2": rf"[0-9]{{1,2}}{_MARK}[0-9]{{1,2}}(?P=mark)[0-9]{{2}}",
    "dby4": rf"[0-9]{{1,2}}(?P<mark>[-/. ]){_MONTH}(?P=mark)[0-9]{{4}}",
    "dby2": rf"[0-9]{{1,2}}(?P<mark>[-/. ]){_MONTH}(?P=mark)[0-9]{{2}}",
    "ymb4": rf"[0-9]{{4}}(?P<mark>[-/. ]){_MONTH}(?P=mark)[0-9]{{1,2}}",
    "bdy4": rf"{_MONTH}(?P<mark> )[0-9]{{1,2}},? [0-9]{{4}}",
    "packed": r"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?P<mark>)",
}
_SHAPES = {
    name: re.compile(rf"{_WEEKDAY}(?P<date>{date})(?:(?P<between>T| +|, ?| ?- ?|_){_CLOCK}{_ZONE})?{_RANGE}")
    for name, date in _DATES.items()
}
_PACKED = re.compile(
    r"(?P<date>(?:19|20)[0-9]{6})(?P<between>[T ]?)(?P<clock>[0-2][0-9][0-5][0-9])(?P<second>[0-5][0-9])?"
)
_CLOCK_ALONE = re.compile(rf"{_CLOCK}{_ZONE}{_RANGE}")


class Kind(Enum):
    """The kinds of cells with a time."""

    INSTANT = "date and time"
    DATE = "date"
    CLOCK = "time of day"


@dataclass(frozen=True)
class Shape:
    """The form of cells: a format in strptime's words for each of the `orders` of day, month and year."""

    kind: Kind
    orders: tuple[str, ...]
    formats: tuple[str, ...]


def time_shape(cell: str) -> Shape | None:
    """Return the shape of a stripped cell, or None if it does not look like a time."""
    if not 4 <= len(cell) <= 72 or not (cell[0].isalnum() and any(char.isdigit() for char in cell)):
        return None
    for name, pattern in _SHAPES.items():
        if match := pattern.fullmatch(cell):
            dates = _date_formats(name, match["mark"], match["date"])
            head = f"%a{match['comma'].removeprefix('.')}" if match["weekday"] else ""
            end = f"{match['dash']}%*" if match["dash"] else ""
            if not match["clock"]:
                return Shape(Kind.DATE, tuple(dates), tuple(head + date + end for date in dates.values()))
            tail = match["between"] + _clock_format(match) + end
            return Shape(Kind.INSTANT, tuple(dates), tuple(head + date + tail for date in dates.values()))
    if match := _PACKED.fullmatch(cell):
        second = "%S" if match["second"] else ""
        return Shape(Kind.INSTANT, ("ymd",), (f"%Y%m%d{match['between']}%H%M{second}",))
    if match := _CLOCK_ALONE.fullmatch(cell):
        end = f"{match['dash']}%*" if match["dash"] else ""
        return Shape(Kind.CLOCK, (), (_clock_format(match) + end,))
    return None


def _date_formats(name: str, mark: str, date: str) -> dict[str, str]:
    """Return the formats of a date for each possible order of day, month and year."""
    if name == "ymd4":
        return {"ymd": f"%Y{mark}%m{mark}%d"}
    if name == "packed":
        return {"ymd": "%Y%m%d"}
    if name == "ymb4":
        return {"ymb": f"%Y{mark}%b{mark}%d"}
    if name in {"dby4", "dby2"}:
        return {"dby": f"%d{mark}%b{mark}%{'Y' if name == 'dby4' else 'y'}"}
    if name == "bdy4":
        return {"bdy": "%b %d, %Y" if "," in date else "%b %d %Y"}
    year = "%Y" if name == "dmy4" else "%y"
    orders = {"dmy": f"%d{mark}%m{mark}{year}"}
    if mark != ".":
        orders["mdy"] = f"%m{mark}%d{mark}{year}"  # With points the month is never first.
    if year == "%y":
        orders["ymd"] = f"%y{mark}%m{mark}%d"
    return orders


def _clock_format(match: re.Match[str]) -> str:
    half = match["half"]
    mark = "%D" if match["within"] else ""
    text = f"%I{mark}:%M" if half else f"%H{mark}:%M"
    if match["second"]:
        text += ":%S"
    if fraction := match["fraction"]:
        text += f"{fraction[0]}%f"
    if half:
        text += " %p" if half.startswith(" ") else "%p"
    if (doubled := match["pass"]) and not mark:
        text += " %D" if doubled.startswith(" ") else "%D"
    if zone := match["zone"]:
        word = "%Z" if match["abbreviation"] else "%z"
        text += f" {word}" if zone.startswith(" ") else word
    return text


def settle_time_formats(sample: Sample) -> None:
    """Find the formats of the time cells, the most frequent first.

    An order of day and month left open by the cells becomes a question. Raises `UnclearFile` if the cells
    look like no time, and `UnusableProfile` for an unusable given format.
    """
    given = sample.given.time_formats
    column = " + ".join(sample.time_columns)
    if given:
        sample.time_formats = given
    elif sample.time_format:
        sample.time_formats = (sample.time_format,)
    else:
        sample.time_formats = _guess_formats(sample, column)
    for text_format in sample.time_formats:
        TimeFormat(text_format)
    sample.note("time", column, "its cells look like times", is_given=bool(sample.given.time_columns))
    sample.note("time format", " or ".join(sample.time_formats), "fits the first lines", is_given=bool(given))


def _guess_formats(sample: Sample, column: str) -> tuple[str, ...]:
    cells = sample.time_text.filter(sample.time_text != "")
    # Cells from all over the column, and one of each way of writing.
    every = max(1, len(cells) // _SAMPLED_CELLS)
    written = cells.str.replace_all("[0-9]+", "0").str.replace_all("A", "B", literal=True)
    each = pl.DataFrame({"cell": cells, "written": written})
    each = each.unique("written", keep="first", maintain_order=True)
    sampled = [*cells.gather_every(every).to_list(), *each["cell"].head(50).to_list()]
    found = (time_shape(cell) for cell in sampled)
    shapes = Counter(shape for shape in found if shape is not None and shape.kind is not Kind.CLOCK)
    enough = max(1, int(shapes.total() * _WORTH_A_FORMAT))
    common = [shape for shape, count in shapes.most_common(MOST_FORMATS) if count >= enough]
    orders_of = {shape.orders for shape in common}
    # Rare shapes too (the marks of a doubled hour, for example), where they leave nothing open.
    common += [
        shape
        for shape, _ in shapes.most_common(4 * MOST_FORMATS)
        if shape not in common and (len(shape.orders) < 2 or shape.orders in orders_of)
    ][:MOST_FORMATS]
    if not common:
        shown = cells[0] if len(cells) else ""
        raise UnclearFile(
            Message(
                "column {0!r} holds {1!r}, which is no whole time; name its format with {time_formats}, "
                "or both the date's and its column with {time_columns}",
                column,
                shown,
            )
        )
    formats: dict[Shape, str] = {}
    for orders in {shape.orders: None for shape in common}:
        alike = [shape for shape in common if shape.orders == orders]
        order = _decided_order(sample, alike, cells, column)
        formats |= {shape: shape.formats[order] for shape in alike}
    decided = [formats[shape] for shape in common]
    # Many programs omit a fraction of zero: too rarely for the sample to show both forms.
    whole = [text.replace(mark, "") for text in decided for mark in (".%f", ",%f") if mark in text]
    return tuple(dict.fromkeys(decided + whole))


def _decided_order(sample: Sample, shapes: Sequence[Shape], cells: pl.Series, column: str) -> int:
    """Return the order for the most cells; ask if two fit equally many cells but differ in one."""
    orders = shapes[0].orders
    if len(orders) < 2:
        return 0
    readings = [
        parse_times(cells, tuple(TimeFormat(shape.formats[order]) for shape in shapes))
        for order in range(len(orders))
    ]
    fitting = [int(reading.fits.sum()) for reading in readings]
    first, *others = (order for order, count in enumerate(fitting) if count == max(fitting))
    open_orders = [first]
    row = -1
    for other in others:
        both = readings[first].fits & readings[other].fits
        apart = np.flatnonzero(both & (readings[first].wall != readings[other].wall))
        if len(apart):
            row = int(apart[0]) if row < 0 else row
            open_orders.append(other)
    if row >= 0:
        walls = [np.datetime64(int(readings[order].wall[row]), "us") for order in open_orders]
        days = [f"{wall.astype('datetime64[D]').item():%-d %B %Y}" for wall in walls]
        formats = [[shape.formats[order] for shape in shapes] for order in open_orders]
        texts = [text for each in formats for text in each]
        options = " or ".join(
            " ".join(f"{{time_formats:'{{{texts.index(text)}}}'}}" for text in each) for each in formats
        )
        sample.ask(
            Question(
                "time_formats",
                f"the time {str(cells[row])!r} in column {column!r} can be "
                f"{' or '.join(dict.fromkeys(days))}, and no line read so far decides",
                Message(f"; say which with {options}", *texts),
                tuple(
                    Answer(day, {"time_formats": tuple(each)})
                    for day, each in zip(days, formats, strict=True)
                ),
            )
        )
    return first


_ZONE_IN_NAME = re.compile(
    r"(?<![A-Za-z])(?:UTC|GMT)\s*(?P<offset>[+-][0-9]{1,2}(?::?[0-9]{2})?)?(?![A-Za-z0-9])", re.IGNORECASE
)
_FIXED = "|".join(sorted(ZONES, key=len, reverse=True))
_ABBREVIATION = re.compile(rf"(?<![A-Za-z])(?P<name>{_FIXED})(?![A-Za-z0-9])")


def settle_zone(sample: Sample) -> None:
    """Find the zone of times without an offset: given, named in the header, or the device's.

    Raises `UnusableProfile` for a given name of no zone.
    """
    names = sample.time_columns
    in_name = next((match for name in names if (match := _ZONE_IN_NAME.search(name))), None)
    # Two abbreviations, as in CET/CEST, are the name of local time.
    fixed = next((found[0] for name in names if len(found := [*_ABBREVIATION.finditer(name)]) == 1), None)
    if sample.given.tz is not None:
        sample.tz = sample.given.tz
        sample.note("time zone", sample.tz, "", is_given=True)
    elif all(any(word in text for word in ("%z", "%Z", "%s", "%Q")) for text in sample.time_formats):
        sample.tz = "UTC"
        sample.note("time zone", "in each time", "the times carry their offset")
    elif in_name is not None:
        sample.tz = in_name["offset"] or "UTC"
        sample.note("time zone", sample.tz, f"named in the header {in_name.string!r}")
    elif fixed is not None:
        minutes = ZONES[fixed["name"]]
        sign = "-" if minutes < 0 else "+"
        sample.tz = f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
        sample.note("time zone", sample.tz, f"{fixed['name']} in the header {fixed.string!r}")
    else:
        tz = sample.tz = sample.device_tz
        sample.note("time zone", tz, "the device's zone")
        sample.ask(
            Question(
                "tz",
                f"the file names no time zone; its times are read in the device's, {tz}",
                Message("; for another, say {tz:ZONE}"),
                (Answer(tz, {"tz": tz}), Answer("UTC", {"tz": "UTC"})),
                is_required=False,
            )
        )
    find_zone(sample.tz)


def settle_clock(sample: Sample) -> dict[str, Any]:
    """Return the profile's entries about doubled and missing hours, and about ends of intervals."""
    given = sample.given
    parsed = parse_times(sample.time_text, tuple(TimeFormat(text) for text in sample.time_formats))
    steps = pl.Series(parsed.wall[parsed.fits]).diff().abs().drop_nulls()
    steps = steps.filter((steps > 0) & (steps <= DAY))
    # The most frequent step between different times, in seconds; 0 where there is none.
    interval = int(steps.mode().sort()[0]) // MICROSECONDS if len(steps) else 0
    if sample.hours:
        interval = min(abs(b.minutes - a.minutes) or 60 for a, b in pairwise(sample.hours)) * 60
    # 24:00 is the end of its day.
    packed = any("%k" in text_format for text_format in sample.time_formats)
    midnight = r" 2400$" if packed else r"[T ]24(?::00|$)"
    if given.time_marks == "end" and not interval:
        raise UnclearFile(
            Message(
                "{time_marks:end}: the file's times do not show how long its intervals are; "
                "say {time_marks:start}"
            )
        )
    if given.time_marks is not None:
        sample.note("times mark", f"the {given.time_marks} of an interval", "", is_given=True)
    elif interval and sample.time_text.str.contains(midnight).any():
        length = f"{interval // 60} minutes" if interval % 60 == 0 else f"{interval} seconds"
        sample.ask(
            Question(
                "time_marks",
                "times such as 24:00 mark the end of an interval; they are stored unchanged",
                Message(
                    ". To store each value at the beginning of its {0}, say {time_marks:end}",
                    length,
                ),
                (
                    Answer("unchanged", {"time_marks": "start"}),
                    Answer(f"{length} earlier", {"time_marks": "end"}),
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
