"""Finds how the times of a file are written: their formats, their zone, and what a time marks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from enum import Enum
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.clocks import Clock
from joulebook.telemetry.files.errors import Message, UnclearFile
from joulebook.telemetry.files.guess.questions import Answer, Question
from joulebook.telemetry.files.guess.sample import Sample
from joulebook.telemetry.files.profile import ValueColumn
from joulebook.telemetry.files.table import BLANKS, join_time_cells
from joulebook.telemetry.files.time_words import HALVES, MONTHS, PASSES, ZONES
from joulebook.telemetry.files.times import (
    DAY,
    MINUTE,
    NO_OFFSET,
    ParsedTimes,
    TimeFormat,
    find_zone,
    parse_times,
)
from joulebook.telemetry.readings import MICROSECONDS, from_microseconds
from joulebook.time_zones import time_zone_names

MOST_FORMATS = 4
_SAMPLED_CELLS = 2000
_WORTH_A_FORMAT = 0.005

_HALF = "|".join("[. ]*".join(word) for word in sorted(HALVES, key=len, reverse=True))
_PASS = "|".join(word for word in sorted(PASSES, key=len, reverse=True) if word.isalpha())
_ZONE_NAMES = "|".join(sorted(ZONES.keys() - {"UTC", "GMT", "Z"}, key=len, reverse=True))
_OFFSET = r"(?:UTC|GMT)?[+-][0-9]{1,2}(?::?[0-9]{2})?"
_ZONE = (
    rf"(?P<zone> *\(?(?P<offset>{_OFFSET}|[Zz]|UTC|GMT|(?P<abbreviation>{_ZONE_NAMES}))\)?(?![A-Za-z]))?"
    r"(?P<area> ?\[?[A-Z][A-Za-z_]+/[A-Za-z_/+-]+[0-9]*\]?)?(?P<word> [^\W\d_]{1,5}\.?)?"
)
_RANGE = r"(?P<dash> ?(?:-|–|—|/|to|till|until|bis|tot|à) ?(?=[0-9]))?(?P<rest>(?(dash).{1,40}|))"
_WEEKDAY = r"(?P<weekday>[^\W\d_]{2,10}(?P<comma>\.?,? ))?"
_MONTH = r"(?P<month>[^\W\d_]{3,12})\.?"
_MARK = r"(?P<mark>[-/.]|\. )"


def _clock(marks: str) -> str:
    """Return the pattern of a time of day; one of the `marks` parts its hours and minutes."""
    return (
        rf"(?P<early>(?i:{_HALF})\.? ?)?"
        rf"(?P<clock>[0-9]{{1,2}}(?P<within>[ABab])?(?P<colon>[{marks}])[0-9]{{2}})(?P<second>(?P=colon)[0-9]{{2}})?"
        rf"(?P<fraction>[.,][0-9]{{1,9}})?(?P<half> ?(?i:{_HALF})\.?(?![^\W\d_]))?"
        rf"(?P<pass> ?(?i:{_PASS})(?![^\W_]))?"
    )


_DATES = {
    "ymd4": rf"[0-9]{{4}}{_MARK}[0-9]{{1,2}}(?P=mark)[0-9]{{1,2}}",
    "dmy4": rf"[0-9]{{1,2}}{_MARK}[0-9]{{1,2}}(?P=mark)[0-9]{{4}}",
    "dmy2": rf"[0-9]{{1,2}}{_MARK}[0-9]{{1,2}}(?P=mark)[0-9]{{2}}",
    "dby4": rf"[0-9]{{1,2}}(?P<mark>[-/. ]|\. ){_MONTH}(?P=mark)[0-9]{{4}}",
    "dby2": rf"[0-9]{{1,2}}(?P<mark>[-/. ]|\. ){_MONTH}(?P=mark)[0-9]{{2}}",
    "ymb4": rf"[0-9]{{4}}(?P<mark>[-/. ]){_MONTH}(?P=mark)[0-9]{{1,2}}",
    "bdy4": rf"{_MONTH}(?P<mark> )[0-9]{{1,2}},? [0-9]{{4}}",
    "east": r"[0-9]{4}(?P<mark>年)[0-9]{1,2}月[0-9]{1,2}日",
    "packed": r"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?P<mark>)",
}
_SHAPES = {
    name: re.compile(
        rf"{_WEEKDAY}(?P<date>{date})(?P<stop>\.)?"
        rf"(?:(?P<between>T| +|, ?| ?- ?|_){_clock(':.h')}{_ZONE})?{_RANGE}"
    )
    for name, date in _DATES.items()
}
_PACKED = re.compile(
    r"(?P<date>(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]))(?P<between>[T :_-]?)"
    r"(?P<hour>[0-2][0-9])(?P<minute>[0-5][0-9])?(?P<second>[0-5][0-9])?"
    rf"(?P<zone> ?(?P<offset>{_OFFSET}|[Zz]|UTC|GMT))?"
)
_CLOCK_ALONE = re.compile(rf"{_clock(':h')}{_ZONE}{_RANGE}")


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
    cell = cell.replace("\u00a0", " ").replace("\u202f", " ")
    for name, pattern in _SHAPES.items():
        if match := pattern.fullmatch(cell):
            if "month" in pattern.groupindex and match["month"].lower() not in MONTHS:
                continue
            dates = _date_formats(name, match["mark"], match["date"])
            head = f"%a{match['comma'].removeprefix('.')}" if match["weekday"] else ""
            stop, end = match["stop"] or "", f"{match['dash']}%*" if match["dash"] else ""
            kind, tail = Kind.DATE, stop + end
            if match["clock"]:
                kind, tail = Kind.INSTANT, stop + match["between"] + _clock_format(match) + end
            return Shape(kind, tuple(dates), tuple(head + date + tail for date in dates.values()))
    if match := _PACKED.fullmatch(cell):
        minute, second = "%M" if match["minute"] else "", "%S" if match["second"] else ""
        text = f"%Y%m%d{match['between']}%H{minute}{second}{_zone_format(match)}"
        return Shape(Kind.INSTANT, ("ymd",), (text,))
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
    if name == "east":
        return {"ymd": "%Y年%m月%d日"}
    if name == "ymb4":
        return {"ymb": f"%Y{mark}%b{mark}%d"}
    if name in {"dby4", "dby2"}:
        return {"dby": f"%d{mark}%b{mark}%{'Y' if name == 'dby4' else 'y'}"}
    if name == "bdy4":
        return {"bdy": "%b %d, %Y" if "," in date else "%b %d %Y"}
    year = "%Y" if name == "dmy4" else "%y"
    orders = {"dmy": f"%d{mark}%m{mark}{year}"}
    if "." not in mark:
        orders["mdy"] = f"%m{mark}%d{mark}{year}"  # With points the month is never first.
    if year == "%y":
        orders["ymd"] = f"%y{mark}%m{mark}%d"
    return orders


def _clock_format(match: re.Match[str]) -> str:
    early, half = match["early"], match["half"]
    mark, colon = "%D" if match["within"] else "", match["colon"]
    text = f"%I{mark}{colon}%M" if early or half else f"%H{mark}{colon}%M"
    if early:
        text = ("%p " if early.endswith(" ") else "%p") + text
    if match["second"]:
        text += f"{colon}%S"
    if fraction := match["fraction"]:
        text += f"{fraction[0]}%f"
    if half:
        text += " %p" if half.startswith(" ") else "%p"
    if (doubled := match["pass"]) and not mark:
        text += " %D" if doubled.startswith(" ") else "%D"
    return text + _zone_format(match) + (match["area"] or "") + (match["word"] or "")


def _zone_format(match: re.Match[str]) -> str:
    zone, offset = match["zone"] or "", match["offset"] or ""
    word = "%Z" if match.groupdict().get("abbreviation") else "%z"
    return re.sub(" +", " ", zone.replace(offset, word)) if zone else ""


def settle_times(sample: Sample) -> None:
    """Find the formats of the time cells, their zone, and columns of words that belong to the times.

    An order of day and month, or a zone, left open by the file becomes a question. Raises `UnclearFile` if
    the cells look like no time, and `UnusableProfile` for an unusable given format or zone.
    """
    given = sample.given.time_formats
    if given:
        sample.time_formats = given
    elif sample.time_format:
        sample.time_formats = (sample.time_format,)
    else:
        sample.time_formats = _guess_formats(sample, " + ".join(sample.time_columns))
    may_add = not given and not sample.given.time_columns
    if may_add:
        _add_zone_column(sample)
    sample.times = _parsed(sample)
    at = len(sample.settings)
    settle_zone(sample)
    if may_add:
        _add_pass_column(sample)
    zone = sample.settings[at:]
    del sample.settings[at:]
    column = " + ".join(sample.time_columns)
    sample.note("time", column, "its cells look like times", is_given=bool(sample.given.time_columns))
    sample.note("time format", " or ".join(sample.time_formats), "fits the first lines", is_given=bool(given))
    sample.settings += zone


def _parsed(sample: Sample) -> ParsedTimes:
    return parse_times(sample.time_text, tuple(TimeFormat(text) for text in sample.time_formats))


def _guess_formats(sample: Sample, column: str) -> tuple[str, ...]:
    cells = sample.time_text.filter(sample.time_text != "")
    tail = f" {sample.hour_format}" if sample.hour_format else ""
    dates = cells.str.replace(" [^ ]+$", "") if tail else cells
    # Cells from all over the column, and one of each way of writing.
    every = max(1, len(cells) // _SAMPLED_CELLS)
    written = dates.str.replace_all("[0-9]+", "0").str.replace_all("A", "B", literal=True)
    each = pl.DataFrame({"cell": dates, "written": written})
    each = each.unique("written", keep="first", maintain_order=True)
    sampled = [*dates.gather_every(every).to_list(), *each["cell"].head(50).to_list()]
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
                "column {0!r} holds {1!r}, which is no time that is known; "
                "name its format with {time_formats}",
                column,
                shown,
            )
        )
    common = [replace(shape, formats=tuple(text + tail for text in shape.formats)) for shape in common]
    formats: dict[Shape, str] = {}
    for orders in {shape.orders: None for shape in common}:
        alike = [shape for shape in common if shape.orders == orders]
        order = _decided_order(sample, alike, cells, column)
        formats |= {shape: shape.formats[order] for shape in alike}
    decided = [_without_false_offset(formats[shape], cells) for shape in common]
    # Many programs omit a fraction of zero: too rarely for the sample to show both forms.
    whole = [text.replace(mark, "") for text in decided for mark in (".%f", ",%f") if mark in text]
    return tuple(dict.fromkeys(decided + whole))


def _without_false_offset(text: str, cells: pl.Series) -> str:
    """Return the format of a range such as `00:00-00:15`, where it was taken for an offset.

    No file has so many offsets, and no zone that of most of them.
    """
    if not text.endswith("%M%z"):
        return text
    offsets = cells.str.extract("-([0-9]{1,2}:[0-9]{2})$").drop_nulls().unique()
    return text.removesuffix("%z") + "-%*" if len(offsets) > _MOST_OFFSETS else text


_MOST_OFFSETS = 4


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
    fit = [order for order, count in enumerate(fitting) if count == max(fitting)]
    if len(fit) > 1 and (decided := _order_in_words(sample, orders)) in fit:
        return decided
    if (
        len(fit) > 1
        and (decided := _even_order([readings[order].wall[readings[order].fits] for order in fit])) >= 0
    ):
        sample.note(
            "order of dates", "".join(orders[fit[decided]]), "only so the times follow each other evenly"
        )
        return fit[decided]
    first, *others = fit
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


_DATE_PATTERN = re.compile(
    r"(?<![^\W\d_])(?:([^\W\d_])\1{0,3})[-/. ]{1,2}(?:([^\W\d_])\2{0,3})[-/. ]{1,2}(?:([^\W\d_])\3{0,3})(?![^\W\d_])"
)


def _order_in_words(sample: Sample, orders: Sequence[str]) -> int:
    """Return the order that the lines above the data name, as in `dd/MM/yyyy` or `TT.MM.JJJJ`; -1 for none."""
    for line in sample.lines[: sample.first_data_line - 1]:
        for match in _DATE_PATTERN.finditer(line):
            letters = [group.casefold() for group in match.groups()]
            if len(set(letters)) < 3 or not (months := {"m", "м", "μ", "k"} & set(letters)):
                continue
            month = months.pop()
            parts = re.split(r"[-/. ]+", match[0].casefold())
            longest = max(
                (part for part in parts if part[0] != month), key=lambda part: (len(part), part[0] in "yaг")
            )
            kinds = {month: "m", longest[0]: "y"}
            named = "".join(kinds.get(letter, "d") for letter in letters)
            if named in orders:
                sample.note("order of dates", match[0], "the lines above the data say so")
                return orders.index(named)
    return -1


def _even_order(walls: Sequence[NDArray[np.int64]]) -> int:
    """Return which reading of the dates alone makes each day follow evenly upon the last; -1 for none.

    The times of a day have to be closer than a day: one date a month, and one a day, are both even.
    """
    uneven = []
    for wall in walls:
        steps = np.abs(np.diff(wall))
        steps = steps[steps > 0]
        if not len(steps):
            return -1
        usual = int(np.bincount(np.searchsorted(np.unique(steps), steps)).argmax())
        step = int(np.unique(steps)[usual])
        if step >= DAY:
            return -1
        across = np.abs(np.diff(wall))[np.diff(wall // DAY) != 0]
        uneven.append((int((across != step).sum()), int((across > 20 * DAY).sum()), len(across)))
    even = [at for at, (others, _, days) in enumerate(uneven) if days and others <= days // 10]
    far = [at for at, (_, far, days) in enumerate(uneven) if days and far > days // 2]
    return even[0] if len(even) == 1 and len(far) == len(walls) - 1 else -1


_AREA = re.compile(r"(?<![\w/])[A-Z][A-Za-z]+/[A-Za-z_]+(?:[/+-][A-Za-z_0-9]+)*")
_UTC = re.compile(
    r"(?<![A-Za-z])(?:UTC|GMT)\s*(?P<offset>[+-][0-9]{1,2}(?::?[0-9]{2})?)?(?![A-Za-z0-9])", re.IGNORECASE
)
_FIXED = "|".join(sorted(ZONES, key=len, reverse=True))
_ABBREVIATION = re.compile(rf"(?<![A-Za-z])(?:{_FIXED})(?![A-Za-z0-9])")
_LABEL = re.compile(r"(?i)zone|fuseau|huso|fuso|(?<![a-z])tz(?![a-z])|tidszon|aikavyöh|pásmo|strefa")
_LOCAL_ZONES = {
    "CET": "CET", "CEST": "CET", "MEZ": "CET", "MESZ": "CET", "EET": "EET", "EEST": "EET", "WET": "WET",
    "WEST": "WET", "EST": "America/New_York", "EDT": "America/New_York", "CDT": "America/Chicago",
    "MST": "America/Denver", "MDT": "America/Denver", "PST": "America/Los_Angeles",
    "PDT": "America/Los_Angeles", "AEST": "Australia/Sydney", "AEDT": "Australia/Sydney",
    "NZST": "Pacific/Auckland", "NZDT": "Pacific/Auckland", "AKST": "America/Anchorage",
    "AKDT": "America/Anchorage",
}  # fmt: skip
"""A zone whose clocks change between the times of this name and those of summer, or of winter."""
_UNCLEAR_WORD = r"(?:^|[^A-Za-z])([A-Z]{2,4}T)(?:[^A-Za-z]|$)"


def settle_zone(sample: Sample) -> None:
    """Find the zone of times without an offset: given, named in the file, or the device's.

    A clock that was never put forward and back is none of a zone with summer time. Raises `UnusableProfile`
    for a given name of no zone.
    """
    if sample.given.tz is not None:
        sample.tz = sample.given.tz
        sample.note("time zone", sample.tz, "", is_given=True)
        find_zone(sample.tz)
        return
    if all(
        any(word in text for word in ("%z", "%Z", "%s", "%Q", "%U", "%N")) for text in sample.time_formats
    ):
        sample.tz = "UTC"
        sample.note("time zone", "in each time", "the times carry their offset")
        return
    if (named := _named_zone(sample)) is not None:
        name, reason = named
        if name not in ZONES or name in ("UTC", "GMT", "Z", "UT"):
            _take_zone(sample, name if name not in ZONES else "UTC", reason)
            return
        _settle_abbreviation(sample, name, reason)
        return
    words = set(sample.time_text.str.extract(_UNCLEAR_WORD).drop_nulls().unique()) - {"DST"} - ZONES.keys()
    if words and not words <= _names_of(sample.device_tz, sample):
        sample.tz = sample.device_tz
        _ask_for_zone(
            sample,
            f"the times name their zone {' and '.join(sorted(words))}, which may be several, and is not that of the "
            f"device, {sample.device_tz}",
            (sample.device_tz, "UTC"),
        )
        return
    if not _take_zone(sample, sample.device_tz, "the device's zone"):
        tz = sample.tz
        sample.ask(
            Question(
                "tz",
                f"the file names no time zone; its times are read in the device's, {tz}",
                Message("; for another, say {tz:ZONE}"),
                (Answer(tz, {"tz": tz}), Answer("UTC", {"tz": "UTC"})),
                is_required=False,
            )
        )


def _named_zone(sample: Sample) -> tuple[str, str] | None:
    """Return the zone named in the times, a column, the header or the lines above it, and the reason."""
    for text in sample.time_formats:
        if area := _first_area(text):
            return area, f"named in the times, {text!r}"
    for position, name in enumerate(sample.columns):
        words = sample.cells[f"c{position}"].head(_SAMPLED_CELLS).str.strip_chars(BLANKS).unique()
        if len(words) == 1 and words[0] in time_zone_names() and "/" in words[0]:
            return str(words[0]), f"named in column {name!r}"
    above = sample.lines[: sample.first_data_line - 1]
    labelled = [line for line in above if _LABEL.search(line)]
    for line in (*sample.time_columns, *above):
        if area := _first_area(line):
            return area, f"named in {line[:80]!r}"
    for line in (*sample.time_columns, *labelled):
        if match := _UTC.search(line):
            return match["offset"] or "UTC", f"named in {line[:80]!r}"
        # Two abbreviations, as in CET/CEST, are the name of local time.
        if len(found := _ABBREVIATION.findall(line)) == 1:
            return found[0], f"{found[0]} in {line[:80]!r}"
    return None


def _first_area(text: str) -> str:
    return next((match[0] for match in _AREA.finditer(text) if match[0] in time_zone_names()), "")


def _take_zone(sample: Sample, tz: str, reason: str) -> bool:
    """Set the zone, unless the times show that their clock does not change with it; then ask or say so.

    Return whether the times showed that.
    """
    find_zone(tz)
    sample.tz = tz
    changes = _changes(sample, tz)
    seen = {change for change, _ in changes}
    if ("even autumn" not in seen and "even spring" not in seen) or seen & {"doubled", "skipped"}:
        sample.note("time zone", tz, reason)
        return False
    winter, summer = (
        _offset_text(min(offset for _, offset in changes)),
        _offset_text(max(offset for _, offset in changes) + 60 * MINUTE),
    )
    about = (
        f"the times run evenly through a change of the clocks of {tz}, so their clock knows no summer time"
    )
    if "even spring" in seen:
        sample.tz = winter
        sample.note("time zone", winter, about)
        _ask_for_zone(
            sample, f"{about}; they are read at {winter}", (winter, summer, "UTC"), is_required=False
        )
    else:
        sample.tz = winter
        sample.note("time zone", winter, about)
        _ask_for_zone(sample, f"{about}, or one of two equal hours is missing", (winter, summer, "UTC", tz))
    return True


def _settle_abbreviation(sample: Sample, name: str, reason: str) -> None:
    """Settle whether CET, say, is the offset of all times, or the name of a zone with summer time."""
    fixed = _offset_text(ZONES[name] * MINUTE)
    device = sample.device_tz
    local = device if name in _names_of(device, sample) else _LOCAL_ZONES.get(name, "")
    wall = sample.times.wall[sample.times.fits]
    zone = find_zone(local or fixed)
    if not local or not len(wall) or not (_offsets(zone, wall) != ZONES[name] * MINUTE).any():
        sample.tz = fixed
        sample.note("time zone", fixed, reason)
        return
    seen = {change for change, _ in _changes(sample, local)}
    if seen & {"doubled", "skipped"}:
        sample.tz = local
        sample.note("time zone", local, f"{reason}, and the times show changes of the clocks")
    elif seen:
        sample.tz = fixed
        sample.note("time zone", fixed, f"{reason}, and the times run evenly through a change of the clocks")
    else:
        sample.tz = fixed
        about = f"{reason} can mean the same offset all year, {fixed}, or local time with its summer time, {local}"
        sample.note("time zone", fixed, reason)
        _ask_for_zone(sample, about, (fixed, local))


def _ask_for_zone(sample: Sample, about: str, zones: Sequence[str], *, is_required: bool = True) -> None:
    zones = tuple(dict.fromkeys(zones))
    listed = " or ".join(f"{{tz:{{{at}}}}}" for at in range(len(zones)))
    answers = tuple(Answer(zone, {"tz": zone}) for zone in zones)
    sample.ask(Question("tz", about, Message(f"; say which with {listed}", *zones), answers, is_required))


def _names_of(tz: str, sample: Sample) -> set[str]:
    """Return the abbreviations of a zone in the years of the times, with the German ones."""
    wall = sample.times.wall[sample.times.fits]
    if not len(wall):
        return set()
    first, last = int(wall.min()), int(wall.max())
    zone = find_zone(tz)
    found = {
        from_microseconds(at).astimezone(zone).tzname() or ""
        for at in range(first - 200 * DAY, last + 200 * DAY, 60 * DAY)
        if abs(at) < _FAR
    }
    return found | {german for english, german in (("CET", "MEZ"), ("CEST", "MESZ")) if english in found}


_FAR = 200 * 366 * DAY


def _offsets(zone: tzinfo, wall: NDArray[np.int64]) -> NDArray[np.int64]:
    clock = Clock.over(zone, int(wall.min()) - 2 * DAY, int(wall.max()) + 2 * DAY)
    return clock.offsets[np.searchsorted(clock.unusual_times()[1], wall, side="right")]


def _offset_text(offset: int) -> str:
    minutes = abs(offset) // MINUTE
    return f"{'-' if offset < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"


def _changes(sample: Sample, tz: str) -> list[tuple[str, int]]:
    """Return what the times show at each change of a zone's clock: doubled, skipped, or an even run.

    Each comes with the smaller of the two offsets. Only changes amid times with an even step count.
    """
    wall = np.sort(sample.times.wall[sample.times.fits & (sample.times.offset == NO_OFFSET)])
    if len(wall) < 4 or abs(int(wall[0])) > _FAR or abs(int(wall[-1])) > _FAR:
        return []
    clock = Clock.over(find_zone(tz), int(wall[0]) - 2 * DAY, int(wall[-1]) + 2 * DAY)
    found = []
    for at, (start, end) in enumerate(zip(*clock.unusual_times(), strict=True)):
        length = end - start
        before, inside, after = (
            int(np.diff(np.searchsorted(wall, [begin, begin + length]))[0])
            for begin in (start - length, start, end)
        )
        if not before or not after or max(before, after) > 1.3 * min(before, after):
            continue
        around = np.unique(wall[np.searchsorted(wall, start - length) : np.searchsorted(wall, end + length)])
        is_autumn = clock.offsets[at] > clock.offsets[at + 1]
        share = inside / max(before, after)
        offset = int(min(clock.offsets[at], clock.offsets[at + 1]))
        if is_autumn and share >= 1.6:
            found.append(("doubled", offset))
        elif not is_autumn and share <= 0.3:
            found.append(("skipped", offset))
        elif len(np.unique(np.diff(around))) == 1 and 0.7 <= share <= 1.3:
            found.append(("even autumn" if is_autumn else "even spring", offset))
    return found


def in_doubled_hour(sample: Sample) -> NDArray[np.bool_]:
    """Return for each row whether its time is in an hour that its zone's clock repeats."""
    times = sample.times
    found = np.zeros(len(times.wall), np.bool_)
    rows = np.flatnonzero(times.fits & (times.offset == NO_OFFSET) & (np.abs(times.wall) < _FAR))
    if len(rows):
        wall = times.wall[rows]
        clock = Clock.over(find_zone(sample.tz), int(wall.min()) - 2 * DAY, int(wall.max()) + 2 * DAY)
        start, end = clock.unusual_times()
        early, late = np.searchsorted(end, wall, side="right"), np.searchsorted(start, wall, side="right")
        found[rows] = clock.offsets[late] < clock.offsets[early]
    return found


_ZONE_COLUMN = re.compile(r"(?i)zone|offset|(?<![a-z])(?:tz|utc|gmt)(?![a-z])|fuseau|huso")
_MOST_WORDS = 4


def _add_zone_column(sample: Sample) -> None:
    """Add a column of offsets or abbreviations of zones to the time columns of local times."""
    if any(word in text for text in sample.time_formats for word in ("%z", "%Z", "%s", "%Q", "%U", "%N")):
        return
    for position, words in _columns_of_words(sample):
        is_named = _ZONE_COLUMN.search(sample.columns[position]) is not None
        if all(word in ZONES and not (word == "Z" and not is_named) for word in words):
            _add_column(sample, position, "%Z")
            return
        if is_named and all(_WRITTEN_OFFSET.fullmatch(word) for word in words):
            _add_column(sample, position, "%z")
            return


_WRITTEN_OFFSET = re.compile(rf"{_OFFSET}|Z|UTC|GMT")
_PASS_COLUMN = re.compile(
    r"(?i)dst|daylight|summer|season|sommer|zomer|été|verano|estate|saison|zeitumstellung"
)


def _add_pass_column(sample: Sample) -> None:
    """Add a column of words for summer and winter time to the time columns, if they are true of the times."""
    if any("%D" in text for text in sample.time_formats):
        return
    local = sample.times.fits & (sample.times.offset == NO_OFFSET)
    doubled = in_doubled_hour(sample)
    for position, words in _columns_of_words(sample):
        if not all(word.lower() in PASSES for word in words):
            continue
        cells = sample.cells[f"c{position}"].str.strip_chars(BLANKS).str.to_lowercase()
        marks = cells.replace_strict(PASSES, default=0, return_dtype=pl.Int64).to_numpy()
        rows = np.flatnonzero(local & ~doubled & (marks > 0))
        is_named = _PASS_COLUMN.search(sample.columns[position]) is not None
        if len({PASSES[word.lower()] for word in words}) < 2 and not is_named:
            continue
        if not len(rows):
            continue
        zone = find_zone(sample.tz)
        offsets = _offsets(zone, sample.times.wall[rows])
        standard = min(_offsets(zone, sample.times.wall[rows] + days * DAY).min() for days in (-180, 0, 180))
        is_true = (offsets > standard) == (marks[rows] == 1)
        if is_true.all():
            _add_column(sample, position, "%D")
            sample.times = _parsed(sample)
            return
        if is_named:
            _ask_for_zone(
                sample,
                f"column {sample.columns[position]!r} names a summer time that {sample.tz} does not have then",
                (sample.tz, "UTC"),
            )
            return


def _columns_of_words(sample: Sample) -> Iterator[tuple[int, list[str]]]:
    """Yield the columns with up to four different words, none of them long, apart from the times."""
    for position in range(len(sample.columns)):
        if position in sample.time_positions:
            continue
        words = sample.cells[f"c{position}"].str.strip_chars(BLANKS).unique().head(_MOST_WORDS + 2)
        found = [word for word in words if word]
        if 0 < len(found) <= _MOST_WORDS and all(len(word) <= 12 for word in found):
            yield position, found


def _add_column(sample: Sample, position: int, word: str) -> None:
    sample.time_positions = (*sample.time_positions, position)
    sample.time_text = join_time_cells(sample.cells, [f"c{at}" for at in sample.time_positions])
    has_blanks = (sample.cells[f"c{position}"].str.strip_chars(BLANKS) == "").any()
    formats = tuple(f"{text} {word}" for text in sample.time_formats)
    sample.time_formats = (*formats, *(sample.time_formats if has_blanks else ()))


_END = re.compile(
    r"(?i)(?<![^\W_])(?:end|ende|ending|ends|until|till?|to|bis|tot|au|fin|hasta|fine|einde|stop|slut|slutt|konec)"
    r"(?![^\W_])"
)


def names_an_end(name: str) -> bool:
    """Return whether a column's name says that it holds ends of intervals."""
    return _END.search(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)) is not None


def settle_clock(sample: Sample, values: Sequence[ValueColumn]) -> dict[str, Any]:
    """Return the profile's entries about doubled and missing hours, and about ends of intervals."""
    given = sample.given
    wall = sample.times.wall[sample.times.fits]
    steps = pl.Series(wall).diff().abs().drop_nulls()
    steps = steps.filter((steps > 0) & (steps <= DAY))
    # The most frequent step between different times, in seconds; 0 where there is none.
    interval = int(steps.mode().sort()[0]) // MICROSECONDS if len(steps) else 0
    if sample.hours:
        interval = min(abs(b.minutes - a.minutes) or 60 for a, b in pairwise(sample.hours)) * 60
    marks: Literal["start", "end"] = given.time_marks or "start"
    if given.time_marks == "end" and not interval:
        raise UnclearFile(
            Message("{time_marks:end}: the file's times do not show how long its intervals are")
        )
    if given.time_marks is not None:
        sample.note("times mark", f"the {given.time_marks} of an interval", "", is_given=True)
    elif interval and (reason := _reason_for_ends(sample, wall, interval)):
        length = f"{interval // 60} minutes" if interval % 60 == 0 else f"{interval} seconds"
        # The reading of a register is one at its time.
        marks = "start" if any(value.kind == "counter" for value in values) else "end"
        stored = (
            "at the beginning of its interval" if marks == "end" else "unchanged, as readings of registers"
        )
        sample.note("times mark", f"the {marks} of an interval", reason)
        answers = (
            Answer(f"{length} earlier", {"time_marks": "end"}),
            Answer("unchanged", {"time_marks": "start"}),
        )
        sample.ask(
            Question(
                "time_marks",
                f"{reason}; each value is stored {stored}",
                Message(
                    ". Store it {0} earlier with {time_marks:end}, or unchanged with {time_marks:start}",
                    length,
                ),
                answers if marks == "end" else answers[::-1],
                is_required=False,
            )
        )
    return {
        "time_marks": marks,
        "interval": interval if marks == "end" else 0,
        "doubled_hour": given.doubled_hour or "order",
        "missing_hour": given.missing_hour or "reject",
    }


def _reason_for_ends(sample: Sample, wall: NDArray[np.int64], interval: int) -> str:
    """Return why the times mark ends of intervals, or "" if they do not seem to."""
    if sample.hours:
        return ""
    if name := next((name for name in sample.time_columns if names_an_end(name)), ""):
        return f"{name!r} names the end of an interval"
    # 24:00 is the end of its day.
    packed = any("%k" in text for text in sample.time_formats)
    if sample.time_text.str.contains(r" 2400$" if packed else r"[T ]24(?::00|$)").any():
        return "times such as 24:00 mark the end of an interval"
    step = interval * MICROSECONDS
    first, last = int(wall.min()), int(wall.max())
    runs = first % DAY == step and last % DAY == 0 and last > first and step <= 60 * MINUTE
    if runs and sample.is_complete:
        begin = f"{interval // 3600:02d}:{interval // 60 % 60:02d}"
        return f"the times run from {begin} to 00:00, so they mark the end of an interval"
    return ""
