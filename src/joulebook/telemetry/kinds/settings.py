"""The settings of a metric, set by its owner, reported by its sender, or guessed from its name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from joulebook.telemetry.kinds.guesses import guess_kind, guess_unit
from joulebook.telemetry.kinds.kinds import STATE, Kind
from joulebook.telemetry.kinds.units import UnitProblem, convert_factor_offset, is_same_unit

# Rollups use this one. Answers about a metric with another tolerance are made from readings.
DIP_TOLERANCE = 0.1
"""A counter falling by less than this share of its reading has dipped; it was not reset."""

DEFAULT_SILENCE = timedelta(minutes=5)
USUAL_DISTANCES = 3

NUMBERS, TRUTH_VALUES, TEXTS, LISTS_OF_TEXTS = range(4)
"""The forms of a series' values: as its first reading came."""
FORMS = ("numbers", "truth_values", "texts", "lists_of_texts")
"""Their names."""

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

    Senders decide `form` (one of the forms above) and `unit_sent`, the unit unless the owner sets another.
    `unit_refused` is a different unit that a sender named later, until the owner settles it by setting one:
    then it is `unit_settled`.
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
    unit_settled: str = ""

    @property
    def kind_reason(self) -> str:
        """Why the metric is of its kind, in words for its owner."""
        if self.form in {TEXTS, LISTS_OF_TEXTS} or (self.kind_guessed and self.form == TRUTH_VALUES):
            return f"its values are {FORMS[self.form].replace('_', ' ')}"
        if not self.kind_guessed:
            return "set by the owner"
        return guess_kind(self.name).why

    @property
    def unit_reason(self) -> str:
        """Why the metric has its unit, in words for its owner."""
        if self.unit and self.unit == self.unit_sent:
            return "named by the device"
        if not self.unit_guessed:
            return "set by the owner" + self._doubt_about_unit()
        if self.form != NUMBERS:
            return "its values are no numbers"
        return "guessed from the name" if self.unit else "the name shows none"

    def _doubt_about_unit(self) -> str:
        """Return what speaks against the owner's unit and factor: the unit that senders name."""
        if not self.unit_sent:
            return ""
        try:
            needed = convert_factor_offset(self.unit_sent, self.unit).factor
        except UnitProblem:
            return f"; the device names {self.unit_sent}, another quantity"
        if math.isclose(needed, self.factor):
            return ""
        return f"; the device names {self.unit_sent}: as {self.unit} its values need the factor {needed:g}"

    def word_of(self, value: float, *, text: str = "") -> StateWord:
        """Return the word and colour of a state's value as shown, or of a text: the owner's, else the usual.

        A truth value is on or off; another one is its own word.
        """
        key = text or value
        said = next((each for each in self.words if (each.text or each.value) == key), None)
        word = said.word if said else ""
        if not word and self.form == TRUTH_VALUES and value in {0.0, 1.0}:
            word = "on" if value else "off"
        return StateWord(value, word or text or f"{value:g}", said.colour if said else "", text)

    def as_sent(self, said: SaidBySenders) -> MetricSettings:
        """Return the settings with what senders say: it decides what the owner has not set.

        Truth values are states, and no unit is guessed for them. Texts are states whatever the owner says:
        their stored values are codes.
        """
        kind, unit, is_guessed = self.kind, self.unit, self.unit_guessed
        is_text = said.form in {TEXTS, LISTS_OF_TEXTS}
        if is_text or (self.kind_guessed and said.form == TRUTH_VALUES):
            kind = STATE
        if is_guessed and said.form != NUMBERS:
            unit = ""
        if is_guessed and said.unit:
            unit, is_guessed = said.unit, False
        is_settled = said.refused_unit in {self.unit_settled, unit} or is_same_unit(
            said.unit, said.refused_unit
        )
        return replace(
            self,
            kind=kind,
            unit=unit,
            factor=1.0 if is_text else self.factor,
            unit_guessed=is_guessed,
            form=said.form,
            unit_sent=said.unit,
            unit_refused="" if is_settled else said.refused_unit,
        )


class SaidBySenders(Protocol):
    """What senders say of a metric's values: their form and unit, and a later unit that differs."""

    @property
    def form(self) -> int:
        """One of the forms of values."""

    @property
    def unit(self) -> str:
        """The unit; empty if no sender names one."""

    @property
    def refused_unit(self) -> str:
        """The newest unit that differs from `unit`; empty if there is none."""


class SettingsByMetric(dict[str, MetricSettings]):
    """Settings by metric. Indexing by a metric without stored settings returns guessed ones.

    Iterating yields the stored ones only: the names of all metrics are in telemetry, and `said` is what is
    known of them there.
    """

    def __init__(self, said: Mapping[str, SaidBySenders] | None = None) -> None:
        super().__init__()
        self._said = said or {}

    def __setitem__(self, name: str, settings: MetricSettings) -> None:
        said = self._said.get(name)
        super().__setitem__(name, settings.as_sent(said) if said else settings)

    def __missing__(self, name: str) -> MetricSettings:
        said = self._said.get(name)
        return guessed_settings(name).as_sent(said) if said else guessed_settings(name)


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
