"""The settings of a metric, set by its owner, reported by its sender, or guessed from its name."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from joulebook.telemetry.kinds.guesses import guess_kind, guess_unit
from joulebook.telemetry.kinds.kinds import STATE, Kind

# Rollups use this one. Answers about a metric with another tolerance are made from readings.
DIP_TOLERANCE = 0.1
"""A counter falling by less than this share of its reading has dipped; it was not reset."""

DEFAULT_SILENCE = timedelta(minutes=5)
USUAL_DISTANCES = 3

NUMBERS, TRUTH_VALUES, TEXTS, LISTS_OF_TEXTS = range(4)
"""The forms of a series' values: as its first reading came."""

_LONG_WORDS = {"soc": "state of charge", "soh": "state of health", "temp": "temperature"}


@dataclass(frozen=True, slots=True)
class Replacement:
    """Another meter took over at `replaced_at`.

    Registers are as shown (stored value x factor), or None: the last reading before, the first after.
    """

    replaced_at: datetime
    final_register: float | None
    start_register: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The owner's answer to a suspect at `time`: it counts for nothing, or it is real."""

    time: datetime
    is_ignored: bool


@dataclass(frozen=True, slots=True)
class StateWord:
    """The owner's word and colour for one value of a state, as shown; for a text, `text` names it.

    An empty `word` shows the value, an empty `colour` the usual one. A colour is written `#rrggbb`.
    """

    value: float
    word: str
    colour: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class MetricSettings:
    """The settings of one metric: set by the owner, or guessed if the matching `…_guessed` is true.

    A stored value times `factor` is the value in `unit`. For gauges: `holds_until_next`, or each reading
    counts the same. For amounts: `covers_before`, if the interval of a reading ends at its time instead of
    beginning there. For counters: `resets_daily` at local midnight; `rolls_over_at` (shown unit), the number
    after which the register continues at zero; `runs_both_ways`; `greatest_rise` (shown unit per hour), the
    most that is believed; `spreads`, if a rise over several buckets is spread evenly over its time instead of
    being unallocated. `silence_limit` is None for the device's. `time_zone` is the device's, with the
    midnights of `resets_daily`.

    The sender decides `form` (one of the forms above) and `unit_sent`. `unit_refused` is another unit, sent
    later.
    """

    name: str
    kind: Kind
    unit: str
    display_name: str
    factor: float = 1.0
    dip_tolerance: float = DIP_TOLERANCE
    replacements: tuple[Replacement, ...] = ()
    kind_guessed: bool = True
    unit_guessed: bool = True
    display_name_guessed: bool = True
    dip_tolerance_guessed: bool = True
    silence_limit: timedelta | None = None
    holds_until_next: bool = False
    covers_before: bool = False
    resets_daily: bool = False
    time_zone: str = "UTC"
    rolls_over_at: float | None = None
    runs_both_ways: bool = False
    greatest_rise: float | None = None
    spreads: bool = False
    decisions: tuple[Decision, ...] = ()
    words: tuple[StateWord, ...] = ()
    form: int = NUMBERS
    unit_sent: str = ""
    unit_refused: str = ""

    def as_sent(self, *, form: int, unit: str = "", refused_unit: str = "") -> MetricSettings:
        """Return the settings with what the sender reports: it decides what the owner has not set.

        Values other than numbers are states. The sender's unit is better than a guessed one.
        """
        return replace(
            self,
            kind=STATE if form != NUMBERS and self.kind_guessed else self.kind,
            unit=unit if unit and self.unit_guessed else self.unit,
            form=form,
            unit_sent=unit,
            unit_refused=refused_unit,
        )


class SettingsByMetric(dict[str, MetricSettings]):
    """Settings by metric. Indexing by a metric without stored settings returns guessed ones.

    Iterating yields the stored ones only: the names of all metrics are in telemetry.
    """

    def __missing__(self, name: str) -> MetricSettings:
        return guessed_settings(name)


def metric_label(metric: str, display_name: str = "") -> str:
    """Return the metric's name for people: the owner's, else made from its own ("Battery voltage")."""
    if display_name:
        return display_name
    words = [_LONG_WORDS.get(word, word) for word in re.split(r"[._\s]+", metric) if word]
    label = " ".join(words)
    return label[:1].upper() + label[1:] if label else metric


def guessed_settings(name: str) -> MetricSettings:
    """Return the settings of a metric without any from its owner."""
    return MetricSettings(
        name=name, kind=guess_kind(name).kind, unit=guess_unit(name), display_name=metric_label(name)
    )


def silence_rule(own: timedelta | None, *, usual: timedelta) -> timedelta:
    """Return the silence limit: the owner's `own`, else five minutes or three times `usual`, if longer.

    `usual` is the usual distance between readings.
    """
    return max(DEFAULT_SILENCE, USUAL_DISTANCES * usual) if own is None else own
