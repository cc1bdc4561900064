"""What is suspicious about a counter: glitches, resets, rises above the believed one, and traps by its name.

Decisions of the owner do not change the list: a suspect stays in it with its decision.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal, cast

import numpy as np

from joulebook.telemetry.connection import Connection, one_snapshot, translated_errors
from joulebook.telemetry.history.buckets import BucketReader, Window
from joulebook.telemetry.history.columns import Wanted
from joulebook.telemetry.history.counters import Register, read_register
from joulebook.telemetry.history.registers import RegisterRule, Steps
from joulebook.telemetry.kinds.settings import SettingsByMetric
from joulebook.telemetry.readings import HOUR, from_microseconds, to_microseconds
from joulebook.telemetry.rollups.state import read_state

TakenFor = Literal["glitch", "reset", "rise"]
"""What a suspect is taken for."""

TrapName = Literal["yesterday", "today", "total_of_tariffs"]

_HAS_READING = """
SELECT EXISTS (
    SELECT FROM readings WHERE series_id = %(series)s AND time = %(time)s AND value <> 'NaN'
)
"""
_NEWEST_VALUES = """
SELECT asked.id, newest.value FROM unnest(%(series)s::int[]) AS asked (id)
CROSS JOIN LATERAL (
    SELECT value FROM readings WHERE series_id = asked.id AND value <> 'NaN' ORDER BY time DESC LIMIT 1
) AS newest
"""

MOST_SUSPECTS = 500
_MOST_FALLS = 0.01
_FEWEST_STEPS = 100
_EQUAL = 0.01


@dataclass(frozen=True)
class Suspect:
    """A suspicious reading of a counter, or the first of several that belong together.

    Values are as shown: the good reading before, the suspicious one, and the next good one (None if there is
    none yet). `effect` is the rise in question: it counts now if `is_counted`, else it would if the suspect
    were confirmed. `is_ignored` is the owner's decision, None without one.
    """

    time: datetime
    taken_for: TakenFor
    readings: int
    before: float
    value: float
    after: float | None
    effect: float
    is_counted: bool
    is_ignored: bool | None


@dataclass(frozen=True)
class Suspects:
    """The newest suspects of a counter in a range; earlier ones are left if `has_more`.

    `is_whole` is false if the register falls so often that its falls were not looked at one by one.
    """

    suspects: list[Suspect]
    has_more: bool
    is_whole: bool
    looks_like_amount: bool


@dataclass(frozen=True)
class Trap:
    """A usual mistake about a metric: its name, and what to do about it in words for the owner."""

    name: TrapName
    advice: str


def find_suspects(
    conn: Connection,
    wanted: Wanted,
    start: datetime,
    end: datetime,
    *,
    silence: timedelta | None = None,
    most: int = MOST_SUSPECTS,
) -> Suspects:
    """Return the suspects of a counter in [start, end), the newest first, up to `most` of them."""
    first, last = to_microseconds(start), to_microseconds(end)
    edges = np.array([first // HOUR * HOUR, -(-last // HOUR) * HOUR], np.int64)
    with one_snapshot(conn):
        reader = BucketReader(conn, Window(first, last, edges, silence), read_state(conn))
        register = read_register(reader, wanted)
    undecided = replace(
        register, rule=replace(register.rule, ignored=np.empty(0, np.int64), confirmed=np.empty(0, np.int64))
    )
    steps = undecided.steps()
    found = [*_glitches(undecided, steps), *_resets_and_rises(steps)]
    decided = {to_microseconds(each.time): each.is_ignored for each in wanted.settings.decisions}
    factor = wanted.settings.factor
    suspects = [
        _as_shown(each, factor, decided.get(at))
        for at, each in sorted(found, reverse=True, key=lambda x: x[0])
        if first <= at < last
    ]
    return Suspects(
        suspects[:most],
        has_more=len(suspects) > most,
        is_whole=register.is_whole,
        looks_like_amount=looks_like_amount(register, steps),
    )


def looks_like_amount(register: Register, steps: Steps) -> bool:
    """Return whether a counter falls so often that its readings are more likely amounts."""
    if register.rule.runs_both_ways:
        return False
    number = int(register.rows["count"].sum()) - 1
    falls = int(steps.resets.sum()) + len(steps.glitches)
    return number >= _FEWEST_STEPS and falls > _MOST_FALLS * number


def _glitches(register: Register, steps: Steps) -> list[tuple[int, Suspect]]:
    """Return the groups of neighbouring glitches, each with its time."""
    rows, rule = register.rows, register.rule
    at = np.searchsorted(rows["first_at"], steps.glitches["first_at"])
    found = []
    for group in np.split(at, 1 + np.flatnonzero(np.diff(at) > 1)):
        if not len(group) or group[0] == 0 or group[-1] + 1 >= len(rows):
            continue
        begin, end = int(group[0]), int(group[-1]) + 1
        before, after = float(rows["last"][begin - 1]), float(rows["first"][end])
        values = [before, *rows["first"][begin:end].tolist(), after]
        invented = sum(_rise_if_real(earlier, later, rule) for earlier, later in pairwise(values))
        found.append(
            (
                int(rows["first_at"][begin]),
                Suspect(
                    from_microseconds(int(rows["first_at"][begin])),
                    "glitch",
                    len(group),
                    before,
                    values[1],
                    after,
                    invented - max(after - before, 0.0),
                    is_counted=False,
                    is_ignored=None,
                ),
            )
        )
    return found


def _rise_if_real(before: float, after: float, rule: RegisterRule) -> float:
    """Return the rise between two readings if both are real."""
    is_reset = not rule.runs_both_ways and before > 0 and before - after >= rule.tolerance * before
    return max(after, 0.0) if is_reset else max(after - before, 0.0)


def _resets_and_rises(steps: Steps) -> list[tuple[int, Suspect]]:
    found = []
    following = np.append(steps.value[1:], np.nan)
    for place in np.flatnonzero(steps.is_reset | steps.is_disbelieved).tolist():
        after = float(following[place])
        at = int(steps.until[place])
        is_disbelieved = bool(steps.is_disbelieved[place])
        found.append(
            (
                at,
                Suspect(
                    from_microseconds(at),
                    "rise" if is_disbelieved else "reset",
                    1,
                    float(steps.before[place]),
                    float(steps.value[place]),
                    None if np.isnan(after) else after,
                    float(steps.entry[place] - steps.entry_down[place]),
                    is_counted=not is_disbelieved,
                    is_ignored=None,
                ),
            )
        )
    return found


def _as_shown(suspect: Suspect, factor: float, is_ignored: bool | None) -> Suspect:
    """Return a suspect with the shown unit's values and its decision."""
    is_counted = suspect.is_counted if is_ignored is None else not is_ignored
    return replace(
        suspect,
        before=suspect.before * factor,
        value=suspect.value * factor,
        after=None if suspect.after is None else suspect.after * factor,
        effect=round(suspect.effect * factor, 6),
        is_counted=is_counted,
        is_ignored=is_ignored,
    )


def has_reading(conn: Connection, series: int, time: datetime) -> bool:
    """Return whether a series has a reading at this instant."""
    with translated_errors():
        ((found,),) = conn.execute(_HAS_READING, {"series": series, "time": time}).fetchall()
    return bool(found)


# Traps by names --------------------------------------------------------------------------------------

_YESTERDAY = re.compile(r"yesterday|gestern|prev(ious)?_?day|last_?day", re.IGNORECASE)
_TODAY = re.compile(r"today|heute|daily|this_?day|day_?(energy|yield)", re.IGNORECASE)
_TARIFF = re.compile(r"(?<![a-z0-9])(?:t|tariff_?|tarif_?|ht|nt)?([12])$", re.IGNORECASE)


def newest_values(conn: Connection, series: Mapping[str, int]) -> dict[str, float]:
    """Return the newest stored value of each series by its metric; those without readings are left out."""
    names = {number: name for name, number in series.items()}
    with translated_errors():
        rows = conn.execute(_NEWEST_VALUES, {"series": list(names)}).fetchall()
    return {names[cast("int", number)]: cast("float", value) for number, value in rows}


def find_traps(metric: str, settings: SettingsByMetric, newest: Mapping[str, float]) -> list[Trap]:
    """Return the traps of a counter among the metrics of its device.

    `newest` are the newest stored values by metric.
    """
    found = []
    if _YESTERDAY.search(metric):
        found.append(
            Trap("yesterday", "it holds the sum of the day before: its energy appears a day late, and again "
                 "beside the register that it is taken from")
        )  # fmt: skip
    elif _TODAY.search(metric) and not settings[metric].resets_daily:
        found.append(
            Trap(
                "today",
                "it holds the sum of the present day: choose “resets daily”, so that midnight is no reset",
            )
        )
    if tariffs := _tariffs_of(metric, settings, newest):
        found.append(
            Trap("total_of_tariffs", f"it is the sum of {' and '.join(tariffs)}: adding all of them counts "
                 "the energy twice")
        )  # fmt: skip
    return found


def _tariffs_of(metric: str, settings: SettingsByMetric, newest: Mapping[str, float]) -> list[str]:
    """Return the two registers of tariffs that this register is the sum of, by their names and values."""
    shown = {
        name: value * settings[name].factor
        for name, value in newest.items()
        if settings[name].kind.is_register and settings[name].unit == settings[metric].unit
    }
    by_stem: dict[str, dict[str, str]] = {}
    for name in shown:
        if name != metric and (tariff := _TARIFF.search(name)):
            by_stem.setdefault(name[: tariff.start()], {})[tariff[1]] = name
    for tariffs in by_stem.values():
        if tariffs.keys() == {"1", "2"} and metric in shown:
            both = sorted(tariffs.values())
            total = sum(shown[name] for name in both)
            if (
                total > 0
                and min(shown[name] for name in both) > 0
                and abs(shown[metric] - total) <= _EQUAL * total
            ):
                return both
    return []
