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
from joulebook.telemetry.kinds.units import is_known_unit, quantity_of
from joulebook.telemetry.kinds.written_units import name_words, word_set, written_unit

# States at the end of a name (light_on); elsewhere they are part of a tariff's: energy_off_peak.
_LAST_STATES = frozenset({"on", "off"})
# `total` alone is a register (rain_total); beside a quantity it says nothing: power_total adds phases.
_TOTALS = frozenset({"total", "totals", "sum", "cumulative", "lifetime"})

# The usual unit of a quantity whose name holds no unit.
_UNITS = {
    "power": "W",
    "voltage": "V",
    "volt": "V",
    "current": "A",
    "frequency": "Hz",
    "energy": "kWh",
    "temperature": "°C",
    "temp": "°C",
    "humidity": "%",
    "soc": "%",
    "soh": "%",
    "irradiance": "W/m²",
    "water": "m³",
    "gas": "m³",
    "co2": "ppm",
    "illuminance": "lx",
}
_KIND_BY_WORD: dict[str, Kind] = {word: kind for kind in KINDS.values() for word in kind.words}
_KNOWN = _KIND_BY_WORD.keys() | _LAST_STATES | _TOTALS | _UNITS.keys()
# Beside these words a quantity's usual unit is wrong: a power factor has none, a gas price not m³.
_NO_UNIT = word_set(
    """
    factor price prices cost costs tariff fee ratio quality rate flow speed level density limit angle thd
    harmonic harmonics unbalance imbalance resistance leak valve pump heater boiler count time period
    emission emissions saved avoided intensity absolute class
    """
)
# Beside these words, and other quantities, "current" is no quantity: the present state, the price of now.
_NOW = word_set(
    """
    month months day days year years week hour today state status mode program version consumption production
    generation usage demand position
    """
)
_QUALIFIED_UNITS = (
    (frozenset({"act", "energy"}), "Wh"),  # Shelly's
    (frozenset({"aprt", "power"}), "VA"),
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
_ALWAYS_COUNTED = frozenset({"energy", "apparent energy", "reactive energy"})
# Quantities of registers: of what flowed, passed or was paid.
_COUNTED = _ALWAYS_COUNTED | {
    *("charge", "volume", "length", "mass", "time", "pulses", "data", "irradiation"),
}


class Guess(NamedTuple):
    """A guessed kind, and the reason in words for the owner."""

    kind: Kind
    why: str


@lru_cache(maxsize=4096)
def guess_kind(metric: str) -> Guess:
    """Return the kind that a metric of this name usually has.

    The last part of a dotted name decides before its groups: `system_status.wifi_strength` is no state. The
    last telling word decides: `water_temperature` is a temperature, `power_state` a state. A register's word
    does not count beside the word of a level: `energy_price` is a price. A unit in the name excludes kinds:
    kW is no register, and a state has no unit.
    """
    guess = _guess_by_words(metric)
    unit = written_unit(metric)
    if not unit:
        return guess
    counts = _is_counted(quantity_of(unit))
    if guess.kind is STATE or (guess.kind is COUNTER and not counts):
        return Guess(GAUGE, f"the unit {unit} in the name")
    if guess.why == _NOTHING and quantity_of(unit) in _ALWAYS_COUNTED:
        return Guess(COUNTER, f"the unit {unit} in the name")
    return guess


def says_nothing(guess: Guess) -> bool:
    """Return whether a guess was made without any sign in the name."""
    return guess.why == _NOTHING


def is_unit_of_registers(unit: str) -> bool:
    """Return whether the unit is one of energy: a level has none of these, a register or an amount has."""
    return is_known_unit(unit) and quantity_of(unit) in _ALWAYS_COUNTED


def _is_counted(quantity: str | None) -> bool:
    return quantity is not None and (quantity in _COUNTED or quantity.startswith("money"))


def _guess_by_words(metric: str) -> Guess:
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

    A unit in the name wins, and one that is not understood means that none is known. Else the last telling
    word decides: `battery.voltage` is a voltage.
    """
    if guess_kind(metric).kind is STATE:
        return ""
    if (written := written_unit(metric)) is not None:
        return written
    words = _words(metric)
    present = frozenset(words)
    if present & _NO_UNIT:
        return ""
    for qualified, unit in _QUALIFIED_UNITS:
        if qualified <= present:
            return unit
    told = [word for word in words if word in _UNITS]
    if "current" in told and (present & _NOW or len({*told}) > 1):
        # `current_power` is the power of now; of `power_supply_current` either may be meant.
        told = told if told[-1] != "current" else []
        told = [] if present & _NOW and told == ["current"] else told
    return _UNITS[told[-1]] if told else ""


def _words(metric: str) -> list[str]:
    """Return the words of a name in lower case: grid.powerL1 gives grid, power, l; import_kWh import, kwh."""
    words: list[str] = []
    for token in re.findall(r"[^\W_]+", metric):
        if token.lower() in _KNOWN:
            words.append(token.lower())
        else:
            words += [part.lower() for part in name_words(token) if not part.isdigit()]
    return words
