"""Finds the unit that is written in a metric's name, such as kW in `ev_power_kw` and W/m² in `ghi_w_m2`.

A unit is written as a word of the name, in brackets at its end, as Home Assistant's measurement before its
tags, or as a fraction: `price_eur_per_kwh`. Some words of units mean something else in names: `l2` and
`phase_a` are phases, `power_min` is a minimum. A word of one letter is a unit only beside the quantity that
it measures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from joulebook.telemetry.kinds.units import is_known_unit, parse_unit


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


NOT_UNDERSTOOD = ""
"""A unit is written, and its meaning is unknown."""

# `Wh{domain=sensor,entity_id=washer_energy}`: the line protocol's name of Home Assistant's `Wh` and its tags.
_TAGGED = re.compile(r"(?P<measurement>[^{]*)\{(?P<tags>.*)\}")
_ENTITY = re.compile(r"(?:^|,)entity_id=")
_BRACKETED = re.compile(r"(?P<before>.*)(?P<bracket>[\[(])(?P<unit>[^\[\]()]{1,16})[\])](?P<after>.*)")
# G(h) and Gd(h) are symbols: irradiance on the horizontal.
_SYMBOL = re.compile(r"[^\W\d_]{1,2}\([a-z]\)")
_WORD = re.compile(r"[°º˚℃℉%€$£¢]?[^\W_]+|[°℃℉%€$£¢]")
_PART = re.compile(
    r"(?:[kKMGm]?(?:Wh|VAh|varh?|VArh?|VA|W(?!S))|kHz|Hz|hPa|kPa|[mk]V|m?Ah?|[kMG]J)(?![a-z])"
    r"|[A-Z]+(?![^\WA-Z\d_])|[A-Z]?[^\WA-Z\d_]+|\d+"
)
_DIGITS = re.compile(r"\d+")

# Units by their usual spelling in names, which knows no capitals. What may be one of two is not understood:
# `mw` is milli or mega, and the wrong one would be a thousand million times the right one.
_LOWER = {
    **{unit.lower(): unit for unit in ("W", "kW", "GW", "Wh", "kWh", "GWh", "VA", "kVA", "VAh", "kVAh")},
    **{unit.lower(): unit for unit in ("var", "kvar", "varh", "kvarh", "Hz", "kHz", "MHz", "kJ", "GJ")},
    **{unit.lower(): unit for unit in ("mV", "kV", "mA", "Ah", "mAh", "hPa", "kPa", "mbar", "bar", "psi")},
    **{unit.lower(): unit for unit in ("inHg", "mmHg", "ppm", "ppb", "dBm", "rpm", "kg", "mm", "cm", "km")},
    **{unit.lower(): unit for unit in ("BTU", "kBTU", "gal", "impgal", "CCF", "gpm", "cfm", "mph", "ml")},
    **{unit.lower(): unit for unit in ("EUR", "USD", "GBP", "CHF", "SEK", "NOK", "DKK", "PLN", "CZK")},
    **{unit.lower(): unit for unit in ("AUD", "NZD", "CAD", "JPY", "KiB", "MiB", "GiB")},
    **dict.fromkeys(("mw", "mwh", "mj", "mva", "mvar", "mbtu"), NOT_UNDERSTOOD),
    **dict.fromkeys(("watt", "watts"), "W"),
    **dict.fromkeys(("kilowatt", "kilowatts"), "kW"),
    **dict.fromkeys(("volts",), "V"),
    **dict.fromkeys(("amp", "amps", "ampere", "amperes"), "A"),
    **dict.fromkeys(("joule", "joules"), "J"),
    **dict.fromkeys(("amphour", "amphours"), "Ah"),
    **dict.fromkeys(("degc", "celsius", "℃"), "°C"),
    **dict.fromkeys(("degf", "fahrenheit", "℉"), "°F"),
    **dict.fromkeys(("kelvin",), "K"),
    **dict.fromkeys(("percent", "percentage", "pct", "%"), "%"),
    **dict.fromkeys(("lux", "lx"), "lx"),
    **dict.fromkeys(("liter", "liters", "litre", "litres"), "l"),
    **dict.fromkeys(("gallon", "gallons"), "gal"),
    **dict.fromkeys(("m3", "m³", "cbm"), "m³"),
    **dict.fromkeys(("ft3", "ft³", "cuft"), "ft³"),
    **dict.fromkeys(("therm", "therms"), "thm"),
    **dict.fromkeys(("lpm",), "l/min"),
    **dict.fromkeys(("kmh", "kph"), "km/h"),
    **dict.fromkeys(("wm2", "wm²"), "W/m²"),
    **dict.fromkeys(("kwhm2", "kwhm²"), "kWh/m²"),
    **dict.fromkeys(("euro", "euros", "€"), "EUR"),
    "$": "$",
    "£": "GBP",
    "¢": "¢",
    "uj": "µJ",
    "uv": "µV",
    "ua": "µA",
}
# Units whose capitals decide. In a name without small letters M says nothing: BATTERY_MV.
_EXACT = word_set("MW mW MWh mWh MVA Mvar MJ mJ MV MVAr Pa")
_TWO_WORDS = {
    **dict.fromkeys((("watt", "hours"), ("watt", "hour")), "Wh"),
    **dict.fromkeys((("kilowatt", "hours"), ("kilowatt", "hour"), ("kw", "hours"), ("kw", "hour")), "kWh"),
    **dict.fromkeys((("amp", "hours"), ("amp", "hour"), ("ampere", "hours")), "Ah"),
    ("cubic", "meters"): "m³",
    ("cubic", "metres"): "m³",
    ("cubic", "feet"): "ft³",
}
_TIMES = {
    **dict.fromkeys(("seconds", "second", "secs", "sec"), "s"),
    **dict.fromkeys(("minutes", "minute", "mins"), "min"),
    **dict.fromkeys(("hours", "hour", "hrs"), "h"),
    **dict.fromkeys(("days", "day"), "d"),
}
# One letter, and the capital that names in camel case have.
_LETTERS = {
    "w": "W",
    "v": "V",
    "a": "A",
    "c": "°C",
    "f": "°F",
    "k": "K",
    "l": "l",
    "m": "m",
    "s": "s",
    "h": "h",
}
_DENOMINATORS = {
    "m2": "m²",
    "m²": "m²",
    "sqm": "m²",
    "100km": "100km",
    **{word: word for word in ("min", "h", "s", "d", "l", "km")},
}
# Quantities by the words of names: they confirm a unit of one letter.
QUANTITIES = {
    **dict.fromkeys(("power", "load", "consumption", "generation", "production"), "W"),
    **dict.fromkeys(("voltage", "volt", "potential"), "V"),
    **dict.fromkeys(("current", "amp", "amps"), "A"),
    **dict.fromkeys(("temperature", "temp", "dewpoint", "dew"), "°C"),
    **dict.fromkeys(("volume", "water", "gas", "fuel", "oil", "tank"), "l"),
    **dict.fromkeys(("distance", "depth", "height", "range", "odometer", "length"), "m"),
    **dict.fromkeys(("runtime", "uptime", "duration", "age", "elapsed"), "s"),
    **dict.fromkeys(("frequency",), "Hz"),
    **dict.fromkeys(("energy",), "Wh"),
    **dict.fromkeys(("humidity", "soc", "soh"), "%"),
    **dict.fromkeys(("pressure",), "Pa"),
    **dict.fromkeys(("irradiance",), "W/m²"),
    **dict.fromkeys(("speed", "wind"), "m/s"),
}
# Quantities in other languages by the ends of their words, and the symbols that begin names such as `I L1`.
_ENDINGS = {
    **dict.fromkeys(("strom", "stroom", "courant", "corriente", "corrente", "ström", "strøm"), "A"),
    **dict.fromkeys(("spannung", "spanning", "tension", "tensión", "tensione", "spänning"), "V"),
    **dict.fromkeys(("leistung", "vermogen", "puissance", "potencia", "potenza", "effekt"), "W"),
    **dict.fromkeys(("temperatur", "temperatuur", "température", "temperatura"), "°C"),
    **dict.fromkeys(("stunden", "zeit", "dauer", "hours", "uren", "heures", "horas", "ore", "timer"), "h"),
}
_PLAIN_LETTERS = frozenset("hsmlKFJ")
_A_WORD = 4
_SYMBOLS_OF = {"u": "V", "i": "A", "p": "W", "t": "°C"}
_MONEY = word_set("EUR USD GBP CHF SEK NOK DKK PLN CZK AUD NZD CAD JPY $ ¢ ct")
_FLOWING = frozenset(("l", "ml", "m³", "gal", "ft³", "mm", "km", "kg"))
_PHASES = word_set("A B C")
# As a whole name these mean something else: a device, the smallest value, a column of the calendar.
_RATHER_WORDS = word_set("meter metre min in day days hour hours minute minutes second seconds")
# What stands above a stroke; some of it is a unit only there: `ct` alone is a current transformer.
_ABOVE = {
    **{word: unit for word, unit in _LOWER.items() if unit},
    **_LETTERS,
    **dict.fromkeys(("ug", "µg", "μg"), "µg"),
    **dict.fromkeys(("ct", "cent", "cents"), "ct"),
    "mg": "mg",
    "g": "g",
}


def written_unit(metric: str) -> str | None:
    """Return the unit written in a metric's name, `NOT_UNDERSTOOD`, or None if none is written."""
    if tagged := _TAGGED.fullmatch(metric):
        measurement = tagged["measurement"].strip()
        # A measurement is the unit of the field `value` alone: another field's name follows it.
        if measurement and is_known_unit(measurement):
            return measurement
        of_entity = _ENTITY.search(tagged["tags"]) is not None
        unit, _, field = measurement.rpartition(".")
        if of_entity and unit and is_known_unit(unit):
            metric = field
        elif of_entity and "/" in measurement and "/" not in tagged["tags"]:
            return NOT_UNDERSTOOD
    if _SYMBOL.fullmatch(metric):
        return NOT_UNDERSTOOD
    bracketed = _BRACKETED.fullmatch(metric)
    while bracketed:
        unit, before = bracketed["unit"].strip(), name_words(bracketed["before"])
        # `Active energy Wh (B)` is of a phase.
        if unit in _PHASES and (outside := _unit_of_words(before, is_shouted=metric.isupper())):
            return outside
        if is_known_unit(unit) and (bracketed["bracket"] == "[" or _is_no_lone_letter(unit, before)):
            return unit
        if not bracketed["after"].strip() and (
            bracketed["bracket"] == "[" or is_known_unit(unit) or not unit.replace(" ", "").isalnum()
        ):
            return NOT_UNDERSTOOD
        bracketed = _BRACKETED.fullmatch(bracketed["before"])
    if is_known_unit(metric) and len(metric) > 1 and metric not in _RATHER_WORDS:
        return metric
    if metric in _LETTERS.values():
        return metric
    return _unit_of_words(name_words(metric), is_shouted=metric.isupper())


def _is_no_lone_letter(unit: str, before: Sequence[str]) -> bool:
    """Return whether a unit in round brackets is more than a letter, or measures what the name says.

    Alone `(h)` may be horizontal, `(A)` a phase, `(S)` the south: a letter needs a name, not a symbol, and
    one with other meanings a name of its quantity.
    """
    if len(unit) > 1 or not unit.isalpha():
        return True
    lower = [word.lower() for word in before] or [""]
    measured = {word: QUANTITIES[word] for word in lower if word in QUANTITIES}
    if lower[0] in _SYMBOLS_OF:
        measured[lower[0]] = _SYMBOLS_OF[lower[0]]
    measured |= {word: known for word in lower for end, known in _ENDINGS.items() if word.endswith(end)}
    if measured and unit not in {"V", "W"}:
        dimension = parse_unit(unit).dimension
        return any(parse_unit(known).dimension == dimension for known in measured.values())
    return unit in {"V", "W"} or (unit in _PLAIN_LETTERS and len(lower[-1]) >= _A_WORD)


def name_words(metric: str) -> list[str]:
    """Return the words of a name as written: grid.powerL1 gives grid, power, L, 1."""
    words: list[str] = []
    for word in _WORD.findall(metric):
        if word.lower() in _LOWER or word in _EXACT or word.lower() in _DENOMINATORS or word[0] in "°º˚":
            words.append(word)
        else:
            words += _PART.findall(word) or [word]
    return words


def _unit_of_words(words: Sequence[str], *, is_shouted: bool) -> str | None:
    """Return the last unit that the words hold; `is_shouted` if the name has no small letter."""
    lower = [word.lower() for word in words]
    if "per" in lower[1:]:
        return _spoken_fraction(words, lower, is_shouted=is_shouted)
    for place in range(len(words) - 1, -1, -1):
        if place:
            pair = (lower[place - 1], lower[place])
            # Spd80mS: at 80 metres, in the south.
            is_height = words[place - 1 : place + 1] == ["m", "S"]
            unit = _TWO_WORDS.get(pair) or (None if is_height else _fraction(*pair))
            if unit is not None:
                return unit
        unit = _word_unit(words, place, is_shouted=is_shouted)
        if unit is not None:
            return unit
    return None


def _fraction(above: str, below: str) -> str | None:
    """Return the unit of two words that are one without a stroke: `w_m2`, `l_min`, `eur_kwh`."""
    unit = _ABOVE.get(above)
    if unit is None:
        return None
    if below in {"m2", "m²", "sqm"} and unit in {"W", "kW", "Wh", "kWh", "MJ", "J"}:
        return f"{unit}/m²"
    if below in {"m3", "m³"} and unit in {"g", "mg", "µg", *_MONEY}:
        return f"{unit}/m³"
    # Metres pass in seconds: `level_m_min` is a minimum.
    if (below in {"min", "h", "s"} and unit in _FLOWING) or (unit, below) == ("m", "s"):
        return f"{unit}/{below}"
    if unit in _MONEY and below in {"kwh", "wh", "mwh", "l"}:
        return f"{unit}/{'MWh' if below == 'mwh' else _LOWER.get(below, below)}"
    return None


def _word_unit(words: Sequence[str], place: int, *, is_shouted: bool) -> str | None:
    """Return the unit that a word is, None for any other word."""
    word, lower = words[place], [word.lower() for word in words]
    text, is_last = lower[place], place == len(words) - 1
    follows_number = place > 0 and _DIGITS.fullmatch(words[place - 1]) is not None
    if word[0] in "°º˚":
        return word if is_known_unit(word) else NOT_UNDERSTOOD
    if word in _EXACT:
        return NOT_UNDERSTOOD if is_shouted and word[0] == "M" else word
    if text in _LOWER:
        return _LOWER[text]
    if not is_last or follows_number:
        return None
    has_quantity = any(each in QUANTITIES for each in lower)
    if unit := _TIMES.get(text):
        return unit if not has_quantity or _is_confirmed(unit, lower) else None
    if unit := _LETTERS.get(text):
        is_lone_volt = word == "V" and place > 0
        return unit if unit == "W" or is_lone_volt or _is_confirmed(unit, lower[:-1]) else None
    return None


def _is_confirmed(unit: str, words: Sequence[str]) -> bool:
    """Return whether a word names the quantity that `unit` measures."""
    dimension = parse_unit(unit).dimension
    return any(parse_unit(QUANTITIES[word]).dimension == dimension for word in words if word in QUANTITIES)


def _spoken_fraction(words: Sequence[str], lower: Sequence[str], *, is_shouted: bool) -> str:
    """Return the unit of a name with `per`; both sides must be units."""
    stroke = max(place for place, word in enumerate(lower) if word == "per")
    above = _ABOVE.get(lower[stroke - 1]) or _word_unit(words[:stroke], stroke - 1, is_shouted=is_shouted)
    rest = lower[stroke + 1 :]
    if not above or not rest:
        return NOT_UNDERSTOOD
    first = "".join(rest[:2]) if rest[0].isdigit() else rest[0]
    below = _DENOMINATORS.get(first) or _TIMES.get(first) or _LOWER.get(first)
    if first == "mwh" and above in _MONEY:
        below = "MWh"
    unit = f"{above}/{below}"
    return unit if below and is_known_unit(unit) else NOT_UNDERSTOOD
