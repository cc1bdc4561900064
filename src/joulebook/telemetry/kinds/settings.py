"""What one metric means: its kind, unit, factor and meter replacements; guesses where the owner set none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from joulebook.telemetry.kinds.guesses import guess_kind, guess_unit
from joulebook.telemetry.kinds.kinds import Kind

# The rollups' own: of a metric with another, answers are made from readings.
DIP_TOLERANCE = 0.1
"""A counter that falls by less than this share of its reading has dipped, not been reset."""

DEFAULT_SILENCE = timedelta(minutes=5)
USUAL_DISTANCES = 3
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
class MetricSettings:
    """What one metric means, as it is in force: said by the owner, or guessed where `…_guessed`.

    A stored value times `factor` is the value in `unit`. Equal settings have equal hashes, so they can
    stand for what an answer depends on.
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


class SettingsByMetric(dict[str, MetricSettings]):
    """Settings by metric. Indexing by a metric that nobody configured gives what is guessed of it.

    Iterating gives the configured ones only: which others there are, telemetry alone knows.
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
    """Return the settings of a metric whose owner has said nothing of it."""
    return MetricSettings(
        name=name, kind=guess_kind(name).kind, unit=guess_unit(name), display_name=metric_label(name)
    )


def silence_rule(own: timedelta | None, *, usual: timedelta) -> timedelta:
    """Return the silence limit in force: the owner's `own`, else five minutes, or three times `usual`, the
    readings' usual distance, where that is longer.
    """
    return max(DEFAULT_SILENCE, USUAL_DISTANCES * usual) if own is None else own
