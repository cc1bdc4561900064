"""Finds how the times of a file are written: the shapes of cells with times, and their formats."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.files.errors import Message, UnclearFile
from joulebook.telemetry.files.guess.questions import Answer, Question
from joulebook.telemetry.files.guess.sample import Sample
from joulebook.telemetry.files.time_words import HALVES, MONTHS, PASSES, ZONES
from joulebook.telemetry.files.times import (
    DAY,
    TimeFormat,
    parse_times,
)

MOST_FORMATS = 4
_SAMPLED_CELLS = 2000
_WORTH_A_FORMAT = 0.005

_HALF = "|".join("[. ]*".join(word) for word in sorted(HALVES, key=len, reverse=True))
_PASS = "|".join(word for word in sorted(PASSES, key=len, reverse=True) if word.isalpha())
_ZONE_NAMES = "|".join(sorted(ZONES.keys() - {"UTC", "GMT", "Z"}, key=len, reverse=True))
_OFFSET = r"(?:UTC|GMT)?[+-][0-9]{1,2}(?::?[0-9]{2})?"
WRITTEN_OFFSET = re.compile(rf"{_OFFSET}|Z|UTC|GMT")
_ZONE = (
    rf"(?P<zone> *\(?(?P<offset>{_OFFSET}|[Zz]|UTC|GMT|(?P<abbreviation>{_ZONE_NAMES}))\)?(?![A-Za-z]))?"
    r"(?P<area> ?\[[A-Z][A-Za-z_/+-]+[0-9]*\]| ?[A-Z][A-Za-z_]+/[A-Za-z_/+-]+[0-9]*)?"
    r"(?P<word> [^\W\d_]{1,5}\.?)?"
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
    "dby4": rf"[0-9]{{1,2}}(?P<mark>[-/. ]|\. ){_MONTH}(?P<last>[-/. ])[0-9]{{4}}",
    "dby2": rf"[0-9]{{1,2}}(?P<mark>[-/. ]|\. ){_MONTH}(?P<last>[-/. ])[0-9]{{2}}",
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
            dates = _date_formats(name, match)
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


def _date_formats(name: str, match: re.Match[str]) -> dict[str, str]:
    """Return the formats of a date for each possible order of day, month and year."""
    mark, date = match["mark"], match["date"]
    if name == "ymd4":
        return {"ymd": f"%Y{mark}%m{mark}%d"}
    if name == "packed":
        return {"ymd": "%Y%m%d"}
    if name == "east":
        return {"ymd": "%Y年%m月%d日"}
    if name == "ymb4":
        return {"ymb": f"%Y{mark}%b{mark}%d"}
    if name in {"dby4", "dby2"}:
        return {"dby": f"%d{mark}%b{match['last']}%{'Y' if name == 'dby4' else 'y'}"}
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


def settle_time_formats(sample: Sample) -> None:
    """Find the formats of the time cells, the most frequent first, and read the times.

    An order of day and month left open by the file becomes a question. Raises `UnclearFile` if the cells
    look like no time, and `UnusableProfile` for an unusable given format.
    """
    given = sample.given.time_formats
    if given:
        sample.time_formats = given
    elif sample.time_format:
        sample.time_formats = (sample.time_format,)
    else:
        sample.time_formats = _guess_formats(sample, " + ".join(sample.time_columns))
        _ask_about_hours(sample)
    read_times(sample)
    if not given and _has_midnights_at_the_end(sample):
        sample.time_formats = tuple(text.replace("%H:%M", "%E:%M") for text in sample.time_formats)
        read_times(sample)


def read_times(sample: Sample) -> None:
    """Read the times of the sample by its formats, and note columns and formats."""
    given = sample.given
    sample.times = parse_times(sample.time_text, tuple(TimeFormat(text) for text in sample.time_formats))
    sample.settings = [setting for setting in sample.settings if setting.name not in ("time", "time format")]
    column = " + ".join(sample.time_columns)
    sample.note("time", column, "its cells look like times", is_given=bool(given.time_columns))
    formats = " or ".join(sample.time_formats)
    sample.note("time format", formats, "fits the first lines", is_given=bool(given.time_formats))


def _has_midnights_at_the_end(sample: Sample) -> bool:
    """Return whether 00:00 is the last time of each date, as in 00:15, 00:30, … 23:45, 00:00."""
    wall = sample.times.wall[sample.times.fits]
    steps = np.diff(wall)
    usual = steps[(steps > 0) & (steps < DAY)]
    midnights = np.flatnonzero(wall[1:] % DAY == 0)
    if not len(usual) or not len(midnights):
        return False
    # A day that goes on behind its midnight, as the next series' does, begins with it.
    begins = steps[np.flatnonzero(wall[:-1] % DAY == 0)] == np.median(usual)
    return bool((steps[midnights] == np.median(usual) - DAY).all()) and not begins.any()


def _ask_about_hours(sample: Sample) -> None:
    """Say that hours are counted from 1, or ask whether they are if neither 0 nor 24 is among them."""
    hours = set(sample.time_text.str.extract(" ([0-9]{1,2})$").drop_nulls().cast(pl.Int64).unique())
    texts = sample.time_formats
    if len(texts) > 1 or not hours or sample.questions or not texts[0].endswith((" %H%D", " %h%D", " %n")):
        return
    as_clock, as_count = (re.sub(" %[^ ]+$", f" {word}", texts[0]) for word in ("%H%D", "%h%D"))
    if texts[0].endswith(" %n"):
        as_count = texts[0]
    is_open = texts[0] == as_clock and not hours & {0, 24}
    if texts[0] == as_clock and not is_open:
        return
    answers = (
        Answer("hour 1 begins at midnight", {"time_formats": (as_count,)}),
        Answer("hour 1 is 01:00", {"time_formats": (as_clock,)}),
    )
    about = "the hours of a day are counted from 1, so hour 1 begins at midnight"
    if is_open:
        about = "the hours of a day are neither 0 nor 24, so hour 1 may begin at midnight or be 01:00"
        answers = answers[::-1]
    remedy = Message("; say which with {time_formats:{0!r}} or {time_formats:{1!r}}", as_count, as_clock)
    sample.ask(Question("time_formats", about, remedy, answers, is_required=is_open))


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
                "column {0!r} holds {1!r}, which is no whole time; name its format with {time_formats}, "
                "or both the date's and its column with {time_columns}",
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
    r"(?<![^\W\d_])(?:([^\W\d_])\1{0,3})[-/. ]{1,2}(?:([^\W\d_])\2{0,3})[-/. ]{1,2}"
    r"(?:([^\W\d_])\3{0,3})(?![^\W\d_])"
)


def _order_in_words(sample: Sample, orders: Sequence[str]) -> int:
    """Return the order named above the data, as in `dd/MM/yyyy` or `TT.MM.JJJJ`; -1 for none."""
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


_END = re.compile(
    r"(?i)(?<![^\W_])(?:end|ende|ending|ends|until|till?|to|bis|tot|au|fin|hasta|fine|einde|stop|slut|slutt|konec)"
    r"(?![^\W_])"
)


def names_an_end(name: str) -> bool:
    """Return whether a column's name says that it holds ends of intervals."""
    return _END.search(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)) is not None
