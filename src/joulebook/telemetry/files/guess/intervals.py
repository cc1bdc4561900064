"""Finds what the times of a file mark: beginnings or ends of intervals, and how long these are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.files.errors import Message, UnclearFile
from joulebook.telemetry.files.guess.questions import Answer, Question
from joulebook.telemetry.files.guess.sample import Sample
from joulebook.telemetry.files.guess.times import names_an_end
from joulebook.telemetry.files.profile import ValueColumn
from joulebook.telemetry.files.times import DAY, MINUTE
from joulebook.telemetry.readings import MICROSECONDS


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
            Message(
                "{time_marks:end}: the file's times do not show how long its intervals are; "
                "say {time_marks:start}"
            )
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


_DAY_MINUTES = 1440


def _reason_for_ends(sample: Sample, wall: NDArray[np.int64], interval: int) -> str:
    """Return why the times mark ends of intervals, or "" if they do not seem to."""
    if sample.hours:
        minutes = [hour.minutes for hour in sample.hours]
        are_ends = min(minutes) > 0 and max(minutes) == _DAY_MINUTES
        return f"the hours across end with {sample.hours[-1].column!r}" if are_ends else ""
    if name := next((name for name in sample.time_columns if names_an_end(name)), ""):
        return f"{name!r} names the end of an interval"
    # 24:00 is the end of its day. Counted hours begin where their number says.
    hour = {"%k": " 2400$", "%H:": r"[T ]24:00(?::00|$)", "%H%D": " 24$"}
    for word, midnight in hour.items():
        if (
            any(word in text for text in sample.time_formats)
            and sample.time_text.str.contains(midnight).any()
        ):
            return "times such as 24:00 mark the end of an interval"
    step = interval * MICROSECONDS
    first, last = int(wall.min()), int(wall.max())
    # Hours run so by chance, too.
    runs = first % DAY == step and last % DAY == 0 and last > first and step < 60 * MINUTE
    if runs and sample.is_whole:
        begin = f"{interval // 3600:02d}:{interval // 60 % 60:02d}"
        return f"the times run from {begin} to 00:00, so they mark the end of an interval"
    return ""
