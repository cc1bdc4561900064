"""Finds times that are spread over columns of whole numbers: year, month, day, hour, minute; or an hour."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from joulebook.telemetry.files.guess.sample import SampleRow
from joulebook.telemetry.files.times import TimeFormat, parse_times

_YEAR = re.compile(r"(?:19[789]|20[0-9])[0-9]")
_WHOLE = re.compile(r"[0-9]{1,4}")
_HUNDREDS = re.compile(r"[0-9]{3,4}")
_HOUR = re.compile(r"[0-9]{1,2}(?P<mark>[ABab])?(?P<range> ?[-–] ?[0-9]{1,2}[ABab]?)?")
_EPOCH = re.compile(r"1[0-9]{9}(?P<fraction>\.[0-9]{1,9})?")
_EPOCH_MS = re.compile(r"1[0-9]{12}")
_MINUTES = re.compile(r"(?i)#?(?:mi|mn|mm|min|minutes?|minut[oe]?n?)")
_QUARTERS = ("0", "00", "15", "30", "45")
_MOSTLY = 0.9

# Behind the year: what the columns that follow mean, by how far they are from it.
_AFTER_YEAR = (
    ("%Y %m %d %H %M %S", (1, 2, 3, 4, 5)),
    ("%Y %m %d %H %M", (1, 2, 3, 4)),
    ("%Y %m %d %k", (1, 2, 3)),
    ("%Y %m %d %H", (1, 2, 3)),
    ("%Y %m %d", (1, 2)),
    ("%Y %m %d %H %M", (2, 3, 4, 5)),  # The day of the year stands between.
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
    """Return the columns that together are a time, and their format, or None where there are none."""
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
            if "%k" in text and all(
                len(cells[columns[-1]]) < 3 or not cells[columns[-1]].isdigit() for cells in alike
            ):
                continue
            if (score := _score(alike, columns, text)) > 0:
                more = -len(columns) + 10 * _are_minutes_named(alike, columns, text)
                found.append((score, more, -rank, columns, text))
    if not found:
        return None
    *_, columns, text = max(found)
    return columns, text


def _are_minutes_named(alike: Sequence[tuple[str, ...]], columns: Sequence[int], text: str) -> bool:
    """Return whether the column behind the hour holds minutes, though they may never change.

    A header says so, or it holds nothing but the same full quarter of an hour.
    """
    words = text.split(" ")
    if "%M" not in words or "%S" in words:
        return False
    counts = Counter(cells[columns[words.index("%M")]] for cells in alike)
    usual, count = counts.most_common(1)[0]
    is_constant = usual in _QUARTERS and count >= _MOSTLY * len(alike)
    return is_constant or any(_MINUTES.fullmatch(cell) for cell in counts)


def find_epoch(rows: Sequence[SampleRow]) -> tuple[int, str] | None:
    """Return a column of seconds or milliseconds since 1970, and its format; None where there is none."""
    width = max((len(row.cells) for row in rows), default=0)
    alike = [row.cells for row in rows if len(row.cells) == width]
    for position in range(width):
        for pattern, text in ((_EPOCH, "%s"), (_EPOCH_MS, "%Q")):
            if not _are_mostly(alike, position, pattern):
                continue
            cells = [cells[position] for cells in alike if pattern.fullmatch(cells[position])]
            steps = np.diff(np.array([float(cell) for cell in cells]))
            in_order = max(np.mean(steps >= 0), np.mean(steps <= 0)) if len(steps) else 0
            if in_order >= _MOSTLY and np.any(steps != 0):
                return position, text + (".%f" if any("." in cell for cell in cells) else "")
    return None


def find_hour(rows: Sequence[SampleRow], date: int) -> tuple[int, str] | None:
    """Return the column that counts the hours (or minutes, as 1430) of each day, and its format."""
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
                return position, "%H%D" if text == "%H" else text
    return None


def _counts_up(alike: Sequence[tuple[str, ...]], date: int, position: int, text: str) -> bool:
    """Return whether the numbers step on within a day and begin anew with the next, as a clock does."""
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
    """Return how many different times the columns give, as a share of the rows; 0 where they are none."""
    joined = pl.Series([" ".join(cells[column] for column in columns) for cells in alike], dtype=pl.String)
    times = parse_times(joined, (TimeFormat(text),))
    if times.fits.mean() < _MOSTLY:
        return 0
    wall = times.wall[times.fits]
    steps = np.diff(wall)
    in_order = max(np.mean(steps >= 0), np.mean(steps <= 0)) if len(steps) else 1.0
    return float(len(np.unique(wall)) / len(alike)) if in_order >= _MOSTLY else 0
