"""Finds the columns of the time, the rows with a time, and hours as names of columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from joulebook.telemetry.files.errors import Message, UnclearFile
from joulebook.telemetry.files.guess.sample import Sample, SampleRow
from joulebook.telemetry.files.guess.times import Kind, names_an_end, time_shape
from joulebook.telemetry.files.profile import COUNTED, HourColumn
from joulebook.telemetry.files.time_words import HALVES
from joulebook.telemetry.files.times import TimeFormat, parse_times

_YEAR = re.compile(r"(?:19[789]|20[0-9])[0-9]")
_WHOLE = re.compile(r"[0-9]{1,4}")
_HOUR = re.compile(r"[0-9]{1,2}(?P<mark>[ABab])?(?P<range> ?[-–] ?[0-9]{1,2}[ABab]?)?")
_EPOCH = re.compile(r"1[0-9]{9}(?P<fraction>\.[0-9]{1,9})?")
_COUNTS = (
    (_EPOCH, "%s"),
    (re.compile(r"1[0-9]{12}"), "%Q"),
    (re.compile(r"1[0-9]{15}"), "%U"),
    (re.compile(r"1[0-9]{18}"), "%N"),
)
"""Counts since 1970, of the years 2001 to 2033, and their formats."""

_MINUTES = re.compile(r"(?i)#?(?:mi|mn|mm|min|minutes?|minut[oe]?n?)")
_QUARTERS = ("0", "00", "15", "30", "45")
_MOSTLY = 0.9

# The meaning of the columns around the year, by their distance from it.
_AFTER_YEAR = (
    ("%Y %m %d %H %M %S", (1, 2, 3, 4, 5)),
    ("%Y %m %d %H %M", (1, 2, 3, 4)),
    ("%Y %m %d %k", (1, 2, 3)),
    ("%Y %m %d %H", (1, 2, 3)),
    ("%Y %m %d", (1, 2)),
    ("%Y %m %d %H %M", (2, 3, 4, 5)),  # The day of the year is between them.
    ("%Y %j %H %M %S", (1, 2, 3, 4)),
    ("%Y %j %H %M", (1, 2, 3)),
    ("%Y %j %k", (1, 2)),
    ("%Y %j %H", (1, 2)),
    ("%Y %j", (1,)),
    ("%d %m %Y %H %M %S", (-2, -1, 0, 1, 2, 3)),
    ("%d %m %Y %H %M", (-2, -1, 0, 1, 2)),
    ("%m %d %Y %H %M", (-2, -1, 0, 1, 2)),
    ("%d %m %Y %H", (-2, -1, 0, 1)),
    ("%m %d %Y %H", (-2, -1, 0, 1)),
)


def find_time_parts(rows: Sequence[SampleRow]) -> tuple[tuple[int, ...], str] | None:
    """Return columns with parts of a time, and their common format, or None if there are none."""
    width = max((len(row.cells) for row in rows), default=0)
    alike = [row.cells for row in rows if len(row.cells) == width]
    found: list[tuple[float, int, int, tuple[int, ...], str]] = []
    for position in range(min(width, 12)):
        if not _are_mostly(alike, position, _YEAR):
            continue
        for rank, (text, steps) in enumerate(_AFTER_YEAR):
            columns = tuple(position + step for step in (steps if 0 in steps else (0, *steps)))
            if min(columns) < 0 or max(columns) >= width:
                continue
            if not all(_are_mostly(alike, column, _WHOLE) for column in columns):
                continue
            if "%k" in text and not _has_hundreds(alike, columns[-1]):
                continue
            if (score := _score(alike, columns, text)) > 0:
                more = -len(columns) + 10 * _are_minutes_named(alike, columns, text)
                found.append((score, more, -rank, columns, text))
    if not found:
        return None
    *_, columns, text = max(found)
    return columns, text


_DAY_OF_YEAR = re.compile(
    r"(?i)doy|yday|j(?:ulian)?[ _]?day|day[ _]?of[ _]?(?:the[ _]?)?year|tag[ _]?(?:im|des)[ _]?jahre?s?"
)
_AFTER_DAY = ((" %H %M", 2), (" %k", 1), (" %H:%M", 1), (" %H", 1), ("", 0))
_YEAR_IN_TEXT = re.compile(r"(?<![0-9])(?:19[789]|20[0-9])[0-9](?![0-9])")


def find_day_of_year(
    body: Sequence[SampleRow], rows: Sequence[SampleRow], above: Sequence[str], name: str
) -> tuple[tuple[int, ...], str] | None:
    """Return columns with the day of the year and the time of day, and their format; None if there are none.

    The year is in a column of its own, in a line above the data, or in the file's `name`. Raises
    `UnclearFile` where it is nowhere.
    """
    width = max((len(row.cells) for row in rows), default=0)
    alike = [row.cells for row in rows if len(row.cells) == width]
    days = [
        position
        for position in range(width)
        if any(_DAY_OF_YEAR.fullmatch(cell) for cell in _names(body, position))
        and _are_mostly(alike, position, _WHOLE)
    ]
    if not days:
        return None
    day = days[0]
    year = next((position for position in range(width) if _are_mostly(alike, position, _YEAR)), None)
    found = []
    for rank, (tail, count) in enumerate(_AFTER_DAY):
        if day + count >= width or ("%k" in tail and not _has_hundreds(alike, day + count)):
            continue
        columns = ((year,) if year is not None else ()) + tuple(range(day, day + count + 1))
        text = ("%Y" if year is not None else "%Y=2024") + " %j" + tail
        if (score := _score(alike, columns, text)) > 0:
            found.append((score, -rank, columns, text))
    if not found:
        return None
    *_, columns, text = max(found)
    if year is None:
        years = {match[0] for line in above for match in _YEAR_IN_TEXT.finditer(line)}
        years = years or {match[0] for match in _YEAR_IN_TEXT.finditer(name)}
        if len(years) != 1:
            raise UnclearFile(
                Message(
                    "the days of a year in the file lack their year; name the columns with {time_columns}, "
                    "and the year with {time_formats:'{0}'}",
                    text,
                )
            )
        text = text.replace("2024", years.pop())
    return columns, text


def _has_hundreds(alike: Sequence[tuple[str, ...]], position: int) -> bool:
    """Return whether a column holds hours and minutes in one number, such as 1430."""
    return any(len(cells[position]) > 2 and cells[position].isdigit() for cells in alike)


def _are_minutes_named(alike: Sequence[tuple[str, ...]], columns: Sequence[int], text: str) -> bool:
    """Return whether the column after the hour holds minutes, even if they never change.

    Either its header says so, or it only holds the same full quarter of an hour.
    """
    words = text.split(" ")
    if "%M" not in words or "%S" in words:
        return False
    counts = Counter(cells[columns[words.index("%M")]] for cells in alike)
    usual, count = counts.most_common(1)[0]
    is_constant = usual in _QUARTERS and count >= _MOSTLY * len(alike)
    return is_constant or any(_MINUTES.fullmatch(cell) for cell in counts)


def find_epoch(rows: Sequence[SampleRow]) -> tuple[int, str] | None:
    """Return a column of a count since 1970, and its format; None if there is none."""
    width = max((len(row.cells) for row in rows), default=0)
    alike = [row.cells for row in rows if len(row.cells) == width]
    for position in range(width):
        for pattern, text in _COUNTS:
            if not _are_mostly(alike, position, pattern):
                continue
            cells = [cells[position] for cells in alike if pattern.fullmatch(cells[position])]
            steps = np.diff(np.array([float(cell) for cell in cells]).astype(np.float64))
            in_order = max(np.mean(steps >= 0), np.mean(steps <= 0)) if len(steps) else 0
            if in_order >= _MOSTLY and np.any(steps != 0):
                return position, text + (".%f" if any("." in cell for cell in cells) else "")
    return None


def find_hour(rows: Sequence[SampleRow], date: int) -> tuple[int, str] | None:
    """Return a column counting the hours of each day (or hours and minutes, as 1430), and its format."""
    width = max((len(row.cells) for row in rows), default=0)
    alike = [row.cells for row in rows if len(row.cells) == width and row.cells[date][:1].isdigit()]
    if len(alike) < 3 or len({cells[date] for cells in alike}) > len(alike) // 3:
        return None
    for position in (*range(date + 1, width), *range(date)):
        for pattern, text in ((_HOUR, "%H"), (_WHOLE, "%k")):
            if _are_mostly(alike, position, pattern) and _counts_up(alike, date, position, text):
                cells = [cells[position] for cells in alike]
                matches = [match for cell in cells if (match := _HOUR.fullmatch(cell))]
                if text == "%H" and any(match["range"] for match in matches):
                    dash = next(char for cell in cells for char in cell if char in "-–")
                    blank = " " if f" {dash}" in "".join(cells) else ""
                    return position, f"%H%D{blank}{dash}%*"
                if text == "%H":
                    return position, _hour_words(alike, date, position)
                return position, text
    return None


def _hour_words(alike: Sequence[tuple[str, ...]], date: int, position: int) -> str:
    """Return the format of a column of hours: from 0, counted from 1, or counted from 1 as they pass.

    Hours from 1 to 24 that repeat one in autumn are those of the clock.
    """
    hours = {(cells[date], cells[position]) for cells in alike}
    numbers = {int(hour) for _, hour in hours if hour.isdigit()}
    if not numbers or min(numbers) == 0 or max(numbers) < 23:
        return "%H%D"
    if 25 in numbers:
        return "%n"
    return "%h%D" if 24 in numbers else "%H%D"


def _counts_up(alike: Sequence[tuple[str, ...]], date: int, position: int, text: str) -> bool:
    """Return whether the numbers advance within a day and restart with the next, like a clock."""
    pattern = _HOUR if text == "%H" else _WHOLE
    alike = [cells for cells in alike if pattern.fullmatch(cells[position])]
    numbers = [int(match[0]) for cells in alike if (match := re.match(r"[0-9]+", cells[position]))]
    if max(numbers) > (25 if text == "%H" else 2400) or len(set(numbers)) < 3:
        return False
    if text == "%k" and any(number % 100 >= 60 for number in numbers):
        return False
    if text == "%k" and max(numbers) <= 25:
        return False
    pairs = list(pairwise(alike))
    same_day = [before[date] == after[date] for before, after in pairs]
    steps = np.diff(numbers)
    within = steps[np.array(same_day, bool)]
    across = steps[~np.array(same_day, bool)]
    if not len(within):
        return False
    begins_anew = np.sign(across).sum() if len(across) else 0
    forwards = np.mean(within >= 0) >= _MOSTLY and np.any(within > 0) and begins_anew <= 0
    backwards = np.mean(within <= 0) >= _MOSTLY and np.any(within < 0) and begins_anew >= 0
    largest = 1 if text == "%H" else 100
    return bool((forwards or backwards) and np.mean(np.abs(within) <= 6 * largest) >= _MOSTLY)


def _are_mostly(alike: Sequence[tuple[str, ...]], position: int, pattern: re.Pattern[str]) -> bool:
    matching = sum(pattern.fullmatch(cells[position]) is not None for cells in alike)
    return bool(alike) and matching >= _MOSTLY * len(alike)


def _score(alike: Sequence[tuple[str, ...]], columns: Sequence[int], text: str) -> float:
    """Return the number of different times in the columns, as a share of the rows; 0 if they are no times."""
    joined = pl.Series([" ".join(cells[column] for column in columns) for cells in alike], dtype=pl.String)
    times = parse_times(joined, (TimeFormat(text),))
    if times.fits.mean() < _MOSTLY:
        return 0
    wall = times.wall[times.fits]
    steps = np.diff(wall)
    in_order = max(np.mean(steps >= 0), np.mean(steps <= 0)) if len(steps) else 1.0
    return float(len(np.unique(wall)) / len(alike)) if in_order >= _MOSTLY else 0


_MOST_ROWS = 0.8


def guess_time_positions(rows: Sequence[SampleRow], formats: Sequence[str]) -> tuple[int, ...]:
    """Return the positions of the time column, or of those of date and time of day, counted from 0.

    `formats` are the given ones, if any. Raises `UnclearFile` if no column fits.
    """
    kinds: dict[int, Counter[Kind]] = {}
    for row in rows:
        for position, cell in enumerate(row.cells):
            if (shape := time_shape(cell)) is not None:
                kinds.setdefault(position, Counter())[shape.kind] += 1
    guess = _by_shape(rows, kinds)
    if formats:
        width = max((len(row.cells) for row in rows), default=0)
        candidates = ([guess] if guess else []) + [(position,) for position in range(width)]
        fitting = {positions: sum(data_flags(rows, positions, formats)) for positions in candidates}
        best = max(candidates, key=lambda positions: fitting[positions], default=())
        if not best or not fitting[best]:
            listed = " or ".join(repr(text) for text in formats)
            raise UnclearFile(
                Message(
                    "no column of the file holds times in the format {0}; change {time_formats}, or name the "
                    "time's column with {time_columns}",
                    listed,
                )
            )
        return best
    if not guess:
        raise UnclearFile(
            Message(
                "no column of the file looks like a date; name the time's column with {time_columns} "
                "and how it is written with {time_formats}"
            )
        )
    return guess


def data_flags(rows: Sequence[SampleRow], positions: Sequence[int], formats: Sequence[str]) -> list[bool]:
    """Return for each row whether the time columns hold a time."""
    texts = [time_text(row.cells, positions) for row in rows]
    if formats:
        parsed = parse_times(pl.Series(texts, dtype=pl.String), tuple(TimeFormat(text) for text in formats))
        return [bool(fits) for fits in parsed.fits]
    return [
        time_shape(row.cells[positions[0]]) is not None if positions[0] < len(row.cells) else False
        for row in rows
    ]


def time_text(cells: Sequence[str], positions: Sequence[int]) -> str:
    """Return the time cells of a row, joined by one blank."""
    return " ".join(cells[position] if position < len(cells) else "" for position in positions).strip()


def _by_shape(rows: Sequence[SampleRow], kinds: dict[int, Counter[Kind]]) -> tuple[int, ...]:
    dated = {position: count[Kind.INSTANT] + count[Kind.DATE] for position, count in kinds.items()}
    if not any(dated.values()):
        return ()
    date = _best_dates(rows, dated)
    if kinds[date][Kind.INSTANT] >= kinds[date][Kind.DATE]:
        return (date,)
    clock_counts = Counter(
        position
        for row in rows
        if date < len(row.cells) and time_shape(row.cells[date])
        for position in kinds
        if position < len(row.cells)
        if (shape := time_shape(row.cells[position])) is not None and shape.kind is Kind.CLOCK
    )
    enough = _MOST_ROWS * kinds[date][Kind.DATE]
    clocks = [position for position in sorted(kinds) if clock_counts[position] >= enough]
    if not clocks:
        return (date,)
    clock = min(clocks, key=lambda at: (_names_end(rows, at), at < date, at))
    # Blanks may have separated AM and PM from the time.
    halves = sum(cell.lower() in HALVES for row in rows for cell in row.cells[clock + 1 : clock + 2])
    return (date, clock, clock + 1) if halves and halves >= _MOST_ROWS * len(rows) else (date, clock)


_TIME_NAME = re.compile(
    r"(?i)_?(?:time|timestamp|date[ _]?time|date ?/ ?time|date and time|ts|zeitstempel|zeitpunkt"
    r"|datum ?/ ?uhrzeit)"
)


def _best_dates(rows: Sequence[SampleRow], dated: dict[int, int]) -> int:
    """Return the position of the dates or instants of the rows, among columns with some.

    A column of one single date, as of a query's range, is none, and an end of an interval comes after its
    beginning. A column called the time comes first.
    """
    most = max(dated.values())
    likely = [position for position in sorted(dated) if dated[position] >= _MOST_ROWS * most]
    different = {
        position: len({row.cells[position] for row in rows if position < len(row.cells)})
        for position in likely
    }
    # A header and a range's date are two different cells.
    varies = max(different.values()) > 3
    return min(
        likely,
        key=lambda at: (
            varies and different[at] <= 2,
            _names_end(rows, at),
            not any(_TIME_NAME.fullmatch(name) for name in _names(rows, at)),
            at,
        ),
    )


def _names(rows: Sequence[SampleRow], position: int) -> list[str]:
    """Return the cells of a column of times that are none, such as its name."""
    cells = (row.cells[position] for row in rows if position < len(row.cells))
    return [cell for cell in cells if cell and not cell[0].isdigit()]


def _names_end(rows: Sequence[SampleRow], position: int) -> bool:
    return any(names_an_end(name) for name in _names(rows, position)[:_MOST_NAMES])


_MOST_NAMES = 20


_LABEL = re.compile(
    r"(?P<word>[^\d]{0,12}?)(?P<hour>[0-9]{1,3})(?:[:.h](?P<minute>[0-9]{2})(?::00)?)?(?P<pass>[ABab])?"
    r"(?P<range> ?[-–] ?[0-9]{1,2}(?:[:.h]?[0-9]{2})?[ABab]?)?(?P<tail>[^\d]{0,8})"
)
_FEWEST_HOURS = 20
_DAY_MINUTES = 1440


_HOUR_WORDS = ("%H", "%I", "%k", "%h", "%n", "%E")


def find_hours(sample: Sample) -> None:
    """Find the hour columns of a file with a day a row: its times are dates without a time of day.

    Raises `UnclearFile` where the layout is given and the file has no such columns.
    """
    given = sample.given
    has_clock = any(word in text for text in sample.time_formats for word in _HOUR_WORDS)
    sample.hours = ()
    if given.layout in (None, "across") and not has_clock:
        sample.hours = hour_columns(sample.columns)
        if given.layout == "across" and not sample.hours:
            raise UnclearFile(
                Message(
                    "no columns of the file are hours of the day; name the header's line with {header_line}, "
                    "or say {layout:wide}"
                )
            )


def hour_columns(names: Sequence[str]) -> tuple[HourColumn, ...]:
    """Return the columns named after hours or parts of hours of a day; empty if there are none.

    Numbers from 0 are hours. Numbers from 1 count the hours (or half or quarter hours) of the day: 1 begins
    at midnight. Times such as 00:15 are used directly; 00:00 after 23:00 is the end of the day.
    """
    labels = [(at, match) for at, name in enumerate(names) if (match := _LABEL.fullmatch(name.strip()))]
    for word in dict.fromkeys(match["word"].strip().casefold() for _, match in labels):
        run = [(at, match) for at, match in labels if match["word"].strip().casefold() == word]
        if len(run) >= _FEWEST_HOURS and (columns := _hour_columns(names, run)):
            return columns
    return ()


def _hour_columns(names: Sequence[str], run: Sequence[tuple[int, re.Match[str]]]) -> tuple[HourColumn, ...]:
    has_minutes = any(match["minute"] for _, match in run)
    minutes = [int(match["hour"]) * 60 + int(match["minute"] or 0) for _, match in run]
    passes = [{"a": 1, "b": 2}.get((match["pass"] or "").lower(), 0) for _, match in run]
    if not has_minutes:
        # Numbered hours: 0 to 23, 1 to 24, 1 to 48 or 1 to 96.
        numbers = [int(match["hour"]) for _, match in run]
        count = max(numbers) + 1 - numbers[0]
        parts = {24: 60, 48: 30, 96: 15, 25: 60, 50: 30, 100: 15}.get(count)
        if numbers[0] not in (0, 1) or parts is None:
            return ()
        if count in (25, 50, 100):
            passes = [COUNTED] * len(run)
        minutes = [(number - numbers[0]) * parts for number in numbers]
    elif minutes[-1] == 0 and len(minutes) > 1:
        minutes[-1] = _DAY_MINUTES
    steps = [after - before for before, after in pairwise(minutes)]
    step = min((step for step in steps if step > 0), default=0)
    # A doubled hour repeats or goes back for some columns; all others advance evenly.
    even = sum(found == step for found in steps)
    if (
        not step
        or (max(minutes) > _DAY_MINUTES and COUNTED not in passes)
        or even < len(steps) * 0.85
        or (60 % step and step % 60)
    ):
        return ()
    return tuple(
        HourColumn(names[at], minute, pass_)
        for (at, _), minute, pass_ in zip(run, minutes, passes, strict=True)
    )
