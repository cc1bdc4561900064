"""Finds the hours of the day among the names of columns: files with a day a row and the hours across."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from joulebook.telemetry.files.profile import HourColumn

_LABEL = re.compile(
    r"(?P<word>[^\d]{0,12}?)(?P<hour>[0-9]{1,3})(?:[:.h](?P<minute>[0-9]{2})(?::00)?)?(?P<pass>[ABab])?"
    r"(?P<range> ?[-–] ?[0-9]{1,2}(?:[:.h]?[0-9]{2})?[ABab]?)?(?P<tail>[^\d]{0,8})"
)
_FEWEST = 20
_DAY = 1440


def find_hours(names: Sequence[str]) -> tuple[HourColumn, ...]:
    """Return the columns (by their names) that are hours or parts of hours of a day; empty where none are.

    Numbers from 0 are hours, numbers from 1 count the hours (or the half or quarter hours) of the day, so
    that 1 begins at midnight. Times such as 00:15 are taken as they stand; 00:00 behind 23:00 ends the day.
    """
    labels = [(at, match) for at, name in enumerate(names) if (match := _LABEL.fullmatch(name.strip()))]
    for word in dict.fromkeys(match["word"].strip().casefold() for _, match in labels):
        run = [(at, match) for at, match in labels if match["word"].strip().casefold() == word]
        if len(run) >= _FEWEST and (columns := _columns(names, run)):
            return columns
    return ()


def _columns(names: Sequence[str], run: Sequence[tuple[int, re.Match[str]]]) -> tuple[HourColumn, ...]:
    has_minutes = any(match["minute"] for _, match in run)
    minutes = [int(match["hour"]) * 60 + int(match["minute"] or 0) for _, match in run]
    passes = [{"a": 1, "b": 2}.get((match["pass"] or "").lower(), 0) for _, match in run]
    if not has_minutes:
        minutes = _counted([int(match["hour"]) for _, match in run])
    elif minutes[-1] == 0 and len(minutes) > 1:
        minutes[-1] = _DAY
    steps = [after - before for before, after in pairwise(minutes)]
    step = min((step for step in steps if step > 0), default=0)
    # A doubled hour stands still or goes back for a while; everything else steps on evenly.
    even = sum(found == step for found in steps)
    if (
        not step
        or not minutes
        or max(minutes) > _DAY
        or even < len(steps) * 0.85
        or (60 % step and step % 60)
    ):
        return ()
    return tuple(
        HourColumn(names[at], minute, pass_)
        for (at, _), minute, pass_ in zip(run, minutes, passes, strict=True)
    )


def _counted(numbers: Sequence[int]) -> list[int]:
    """Return minutes for hours that are numbered: 0 to 23, 1 to 24, 1 to 48 or 1 to 96."""
    first = numbers[0]
    if first not in (0, 1):
        return []
    highest = max(numbers) + 1 - first
    parts = {24: 60, 48: 30, 96: 15}.get(highest)
    return [] if parts is None else [(number - first) * parts for number in numbers]
