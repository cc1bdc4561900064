"""A unit for a metric whose owner has not named one: guessed from its name, never from its values."""

from __future__ import annotations

import re

_BY_WORD = {
    "power": "W",
    "voltage": "V",
    "current": "A",
    "frequency": "Hz",
    "energy": "kWh",
    "temperature": "°C",
    "humidity": "%",
    "soc": "%",
    "irradiance": "W/m²",
}


def guess_unit(metric: str) -> str:
    """Return the usual unit of a metric named so, or nothing where the name does not tell.

    The last word that tells decides: `battery.voltage` is a voltage.
    """
    for word in reversed(re.split(r"[^a-z]+", metric.lower())):
        if word in _BY_WORD:
            return _BY_WORD[word]
    return ""
