"""The probable kind and unit of a metric, guessed from its name alone.

A guess holds until the owner sets another. It never looks at readings: new readings must not change the
meaning of a metric on a page or in an answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from joulebook.telemetry.kinds.kinds import AMOUNT, COUNTER, GAUGE, KINDS, STATE, Kind

# States at the end of a name (light_on); elsewhere they are part of a tariff's: energy_off_peak.
_LAST_STATES = frozenset({"on", "off"})
# `total` alone is a register (rain_total); beside a quantity it says nothing: power_total adds phases.
_TOTALS = frozenset({"total", "totals", "sum", "cumulative", "lifetime"})

_UNITS = {
    "power": "W",
    "voltage": "V",
    "volt": "V",
    "current": "A",
    "amp": "A",
    "amps": "A",
    "frequency": "Hz",
    "energy": "kWh",
    "temperature": "°C",
    "temp": "°C",
    "humidity": "%",
    "soc": "%",
    "soh": "%",
    "percent": "%",
    "pct": "%",
    "irradiance": "W/m²",
    "water": "m³",
    "gas": "m³",
    "m3": "m³",
    "m³": "m³",
    "co2": "ppm",
    "ppm": "ppm",
    "illuminance": "lx",
    "lux": "lx",
    **{unit.lower(): unit for unit in ("W", "kW", "Wh", "kWh", "MWh", "VA", "kVA", "var", "kvar", "varh")},
    **{unit.lower(): unit for unit in ("Hz", "hPa", "kvarh", "VAh", "kVAh")},
    "degc": "°C",
    "celsius": "°C",
    "bar": "bar",
}
_KIND_BY_WORD: dict[str, Kind] = {word: kind for kind in KINDS.values() for word in kind.words}
_KNOWN = _KIND_BY_WORD.keys() | _LAST_STATES | _TOTALS | _UNITS.keys()
# Beside these words a quantity's usual unit is wrong: a power factor has none, a gas price not m³.
_NO_UNIT = frozenset(
    {"factor", "price", "ratio", "quality", "rate", "flow", "speed", "level", "density", "limit"}
)
_QUALIFIED_UNITS = (
    (frozenset({"apparent", "power"}), "VA"),
    (frozenset({"reactive", "power"}), "var"),
    (frozenset({"apparent", "energy"}), "kVAh"),
    (frozenset({"reactive", "energy"}), "kvarh"),
    (frozenset({"state", "of", "charge"}), "%"),
    (frozenset({"state", "of", "health"}), "%"),
)

# Names of groups: of the metrics inside they say nothing.
_STATES_OF_GROUPS = frozenset({"state", "status", "mode"})
_PRICES = frozenset({"price", "prices"})
# Beside the word of a register: what flowed since the reading before.
_PER_INTERVAL = frozenset({"interval", "delta", "increment"})

# The registers of meters by their number (OBIS, IEC 62056-61): 1.8.0 is energy taken, 1-0:2.8.1*255 given.
_OBIS_REGISTER = re.compile(r"(?:\d-\d+:)?[1-9]\d?\.8\.\d+(?:\*\d+)?")
_OBIS_STATE_OF = re.compile(r"state[^a-z0-9]*of[^a-z0-9]*(?:charge|health)", re.IGNORECASE)


_NOTHING = "nothing in the name says otherwise"


class Guess(NamedTuple):
    """A guessed kind, and the reason in words for the owner."""

    kind: Kind
    why: str


@lru_cache(maxsize=4096)
def guess_kind(metric: str) -> Guess:
    """Return the kind that a metric of this name usually has.

    The last part of a dotted name decides before its groups: `system_status.wifi_strength` is no state. The
    last telling word decides: `water_temperature` is a temperature, `power_state` a state. A register's word
    does not count beside the word of a level: `energy_price` is a price.
    """
    if _OBIS_REGISTER.fullmatch(metric):
        return Guess(COUNTER, "the name is the number of a meter's register")
    if _OBIS_STATE_OF.search(metric):
        return Guess(GAUGE, "a state of charge or health is a level")
    groups, _dot, last = metric.rpartition(".")
    own = _words(last)
    others = _words(groups)
    if own:
        prices = [word for word in others if word in _PRICES]
        if (found := _guess_by(own, levels=prices)) is not None:
            return found
        others = [word for word in others if word not in _STATES_OF_GROUPS]
    if (found := _guess_by([*others, *own])) is not None:
        return found
    total = next((word for word in reversed([*others, *own]) if word in _TOTALS), None)
    return Guess(COUNTER, f"“{total}” in the name") if total else Guess(GAUGE, _NOTHING)


def _guess_by(words: list[str], *, levels: Sequence[str] = ()) -> Guess | None:
    """Return the kind by these words, None if none of them tells; `levels` are words of levels elsewhere."""
    if words and words[-1] in _LAST_STATES:
        return Guess(STATE, f"“{words[-1]}” at the end of the name")
    for word in reversed(words):
        kind = _KIND_BY_WORD.get(word)
        if kind is None:
            continue
        if kind.is_register:
            if is_level := [*levels, *(other for other in words if other in GAUGE.words)]:
                return Guess(GAUGE, f"“{is_level[-1]}” in the name")
            if per_interval := [other for other in words if other in _PER_INTERVAL]:
                return Guess(AMOUNT, f"“{per_interval[-1]}” beside “{word}” in the name")
        return Guess(kind, f"“{word}” in the name")
    return None


@lru_cache(maxsize=4096)
def guess_unit(metric: str) -> str:
    """Return the usual unit of a metric of this name, or "" if the name does not show it.

    The last telling word decides: `battery.voltage` is a voltage.
    """
    words = _words(metric)
    present = frozenset(words)
    for qualified, unit in _QUALIFIED_UNITS:
        if qualified <= present and not present & _NO_UNIT:
            return unit
    if guess_kind(metric).kind is STATE:
        return ""
    for word in reversed(words):
        if word in _NO_UNIT:
            return ""
        if word in _UNITS:
            return _UNITS[word]
    return ""


_PART = re.compile(r"[kKM]?(?:Wh|VAh|varh?|W|VA)(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[^\WA-Z\d_]+|\d+")


def _words(metric: str) -> list[str]:
    """Return the words of a name in lower case: grid.powerL1 gives grid, power, l; import_kWh import, kwh."""
    words: list[str] = []
    for token in re.findall(r"[^\W_]+", metric):
        if token.lower() in _KNOWN:
            words.append(token.lower())
        else:
            parts = _PART.findall(token)
            words += [part.lower() for part in parts if not part.isdigit()]
    return words
