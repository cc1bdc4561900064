"""Numbers, times, durations and colours of metrics for people.

`static/joulebook/quantity.js` formats numbers in the same way.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from joulebook.time_zones import ZoneInfo

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
    """Return whole seconds for a text such as `15 min`; a number alone is seconds.

    Raises ValueError with examples.
    """
    match = _WRITTEN.fullmatch(text)
    unit = _WORDS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f"{text.strip()[:40]!r} is no length of time; write 90 s, 15 min, 2 h or 1 d")
    return round(float(match[1].replace(",", ".")) * unit)


def format_duration(seconds: int) -> str:
    """Return seconds in the coarsest exact unit."""
    size, unit = next((size, unit) for unit, size in _SECONDS.items() if seconds % size == 0)
    return f"{seconds // size} {unit}"


def format_ago(time: datetime, *, now: datetime) -> str:
    """Return how long ago `time` was in the coarsest fitting unit: now, 4 s ago, 3 min ago, 5 d ago."""
    seconds = round((now - time) / timedelta(seconds=1))
    if seconds < 2:
        return "now"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def format_instant(time: datetime, *, tz: str) -> str:
    """Return date and time of day in the zone `tz`: Fri 20 Nov 2026, 07:12:30."""
    local = time.astimezone(ZoneInfo(tz))
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M:%S}"


def format_since(time: datetime, *, now: datetime, tz: str) -> str:
    """Return `time` in the zone `tz` as briefly as `now` allows: 07:12, Fri 07:12, 20 Nov, 28 Feb 2023."""
    local, today = time.astimezone(ZoneInfo(tz)), now.astimezone(ZoneInfo(tz))
    if local.date() == today.date():
        return f"{local:%H:%M}"
    if today.date() - local.date() < timedelta(days=7):
        return f"{local:%a %H:%M}"
    if local.year == today.year:
        return f"{local.day} {local:%b}"
    return f"{local.day} {local:%b %Y}"


NO_VALUE = "–"
_NARROW_SPACE = "\u202f"
_MINUS = "\u2212"
_SCALED_UNITS = frozenset({"W", "Wh", "VA", "VAh", "var", "varh"})
_PREFIXES = ("", "k", "M", "G", "T")
_TINY = 0.00001
_HUGE = 1e15


def format_quantity(value: float | None, unit: str = "") -> str:
    """Return `value` with sensible digits and its unit: 1.24 kW, 230.1 V, 50.02 Hz, 18 343 kWh.

    W, Wh, VA and var get k, M, G or T; a unit with a prefix of its own stays. None, NaN and infinities are a
    dash.
    """
    if value is None or not math.isfinite(value):
        return NO_VALUE
    number, step = abs(value), 0
    if unit in _SCALED_UNITS:
        # A larger prefix leaves at most three digits before the point.
        while number >= 999.5 and step < len(_PREFIXES) - 1:
            number /= 1000
            step += 1
    digits = _digits(number, unit)
    sign = _MINUS if value < 0 and any(c in "123456789" for c in digits) else ""
    full_unit = f"{_PREFIXES[step]}{unit}"
    return f"{sign}{digits}{_NARROW_SPACE}{full_unit}" if full_unit else f"{sign}{digits}"


def format_exact(value: Decimal) -> str:
    """Return `value` with all of its digits, grouped: 18 343.250 125. A table's rows add up to its total."""
    sign = _MINUS if value < 0 else ""
    whole, _, fraction = f"{abs(value):f}".partition(".")
    grouped = f"{int(whole):,}".replace(",", _NARROW_SPACE)
    if len(fraction) > 4:
        fraction = _NARROW_SPACE.join(fraction[at : at + 3] for at in range(0, len(fraction), 3))
    return f"{sign}{grouped}.{fraction}" if fraction else f"{sign}{grouped}"


def _digits(number: float, unit: str) -> str:
    if number == 0:
        return "0"
    if number < _TINY or number >= _HUGE:
        mantissa, exponent = f"{number:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    step = Decimal(1).scaleb(-_decimals(number, unit))
    rounded = str(Decimal(number).quantize(step, rounding=ROUND_HALF_UP))
    whole, _, fraction = rounded.partition(".")
    if len(whole) > 4:
        whole = f"{int(whole):,}".replace(",", _NARROW_SPACE)
    return f"{whole}.{fraction}" if fraction else whole


def _decimals(number: float, unit: str) -> int:
    """Return the number of meaningful digits after the point in this unit."""
    if unit == "" and number == round(number):
        return 0
    if unit == "Hz" and number < 999.5:
        return 2
    if number >= 999.5 or (unit.removeprefix("k").removeprefix("M") in _SCALED_UNITS and number >= 99.95):
        return 0
    for limit, decimals in ((9.995, 1), (0.9995, 2), (0.01, 3)):
        if number >= limit:
            return decimals
    return 5


# The first pattern matching a metric's name decides; `static/joulebook/joulebook.css` has the colours.
_COLOURS = (
    ("solar", re.compile(r"solar|pv|photovoltaic|production|generation|irradiance")),
    ("battery", re.compile(r"batter|storage|soc\b|state_of_charge")),
    ("grid", re.compile(r"grid|mains|utility|import|export|feed_?in|frequency")),
    ("load", re.compile(r"load|consum|house|home|usage|demand|power|energy")),
    ("volt", re.compile(r"volt|\bv\d?\b")),
    ("current", re.compile(r"current|amp")),
    ("warm", re.compile(r"temp|heat")),
)
_OTHER_COLOURS = ("sky", "warm", "volt", "current")


def metric_colour(metric: str, position: int = 0) -> str:
    """Return the name of the metric's series colour: by its name, else by its position on the page."""
    for colour, pattern in _COLOURS:
        if pattern.search(metric.lower()):
            return colour
    return _OTHER_COLOURS[position % len(_OTHER_COLOURS)]
