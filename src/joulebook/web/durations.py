"""How a length of time is written by people: 90 s, 15 min, 2 h, 1 d."""

from __future__ import annotations

import re

_SECONDS = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
_WORDS = {
    "": 1,
    "s": 1,
    "sec": 1,
    "second": 1,
    "seconds": 1,
    "m": 60,
    "min": 60,
    "minute": 60,
    "minutes": 60,
    "h": 3_600,
    "hour": 3_600,
    "hours": 3_600,
    "d": 86_400,
    "day": 86_400,
    "days": 86_400,
}
_WRITTEN = re.compile(r"\s*([0-9]{1,9}(?:[.,][0-9]{1,6})?)\s*([a-z]*)\.?\s*", re.IGNORECASE)


def read_duration(text: str) -> int:
    """Return whole seconds for what a person wrote; a number alone is seconds.

    Raises ValueError that says how to write it.
    """
    match = _WRITTEN.fullmatch(text)
    unit = _WORDS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f"{text.strip()[:40]!r} is no length of time; write 90 s, 15 min, 2 h or 1 d")
    return round(float(match[1].replace(",", ".")) * unit)


def format_duration(seconds: int) -> str:
    """Return seconds in the coarsest unit that tells them exactly."""
    size, unit = next((size, unit) for unit, size in _SECONDS.items() if seconds % size == 0)
    return f"{seconds // size} {unit}"
