"""The units of meters and sensors, and their conversion by factor and offset.

A unit is a product of base units, each with its power, times a factor; factors are exact fractions. Sources:
the SI brochure (BIPM, 9th edition); NIST SP 811, appendix B, for foot, mile, nautical mile, gallon, psi,
conventional mercury, calorie, British thermal unit, metric horsepower and degree Fahrenheit; the Weights and
Measures Act 1985 for the British gallon.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

Dimension = frozenset[tuple[str, int]]
"""Base units with their powers, none of them zero."""


@dataclass(frozen=True)
class Unit:
    """A unit in terms of base units.

    The value 1 in this unit is `factor` in the base units of `dimension`. The value 0 is `zero` in them: for
    °C 273.15 K.
    """

    dimension: Dimension
    factor: Fraction
    zero: Fraction = Fraction(0)

    def __mul__(self, other: Unit) -> Unit:
        powers = Counter(dict(self.dimension))
        for base, power in other.dimension:
            powers[base] += power
        return Unit(_dimension(powers), self.factor * other.factor)

    def __pow__(self, power: int) -> Unit:
        return Unit(_dimension({base: p * power for base, p in self.dimension}), self.factor**power)


def _dimension(powers: Mapping[str, int]) -> Dimension:
    return frozenset((base, power) for base, power in powers.items() if power)


def _unit(factor: Fraction | int | str = 1, *, zero: str = "0", **powers: int) -> Unit:
    return Unit(_dimension(powers), Fraction(factor), Fraction(zero))


_HOUR = 3600
_FAHRENHEIT = Fraction(5, 9)

# Apparent and reactive power have dimensions of their own: a volt-ampere cannot be billed as a watt.
_WITH_PREFIX: dict[str, Unit] = {
    "m": _unit(m=1),
    "s": _unit(s=1),
    "g": _unit(g=1),
    "A": _unit(A=1),
    "K": _unit(K=1),
    "VA": _unit(VA=1),
    "var": _unit(var=1),
    "lm": _unit(lm=1),
    "lx": _unit(lm=1, m=-2),
    "l": _unit("1/1000", m=3),
    "L": _unit("1/1000", m=3),
    "N": _unit(1000, g=1, m=1, s=-2),
    "Pa": _unit(1000, g=1, m=-1, s=-2),
    "bar": _unit(1000 * 100_000, g=1, m=-1, s=-2),
    "J": _unit(1000, g=1, m=2, s=-2),
    "W": _unit(1000, g=1, m=2, s=-3),
    "Wh": _unit(1000 * _HOUR, g=1, m=2, s=-2),
    "cal": _unit(4184, g=1, m=2, s=-2),
    "V": _unit(1000, g=1, m=2, s=-3, A=-1),
    "Ω": _unit(1000, g=1, m=2, s=-3, A=-2),
    "S": _unit("1/1000", g=-1, m=-2, s=3, A=2),
    "Ws": _unit(1000, g=1, m=2, s=-2),
    "Bq": _unit(Bq=1),
    "Sv": _unit(Sv=1),
    "bit": _unit(bit=1),
    "B": _unit(8, bit=1),
    "Ah": _unit(_HOUR, A=1, s=1),
    "VAh": _unit(_HOUR, VA=1, s=1),
    "varh": _unit(_HOUR, var=1, s=1),
    "Hz": _unit(s=-1),
}
_POUND_FORCE = 1000 * Fraction("6894.757293168")
_MERCURY = 1000 * Fraction("13595.1") * Fraction("9.80665")  # conventional density times standard gravity
# Each currency is a quantity of its own: no factor between two of them is constant.
_CURRENCIES: tuple[str, ...] = (
    *("EUR", "USD", "GBP", "CHF", "SEK", "NOK", "DKK", "ISK", "PLN", "CZK", "HUF", "RON", "BGN", "TRY"),
    *("AUD", "NZD", "CAD", "JPY", "CNY", "INR", "KRW", "BRL", "MXN", "ZAR"),
)
_WITHOUT_PREFIX: dict[str, Unit] = {
    "min": _unit(60, s=1),
    "h": _unit(_HOUR, s=1),
    "d": _unit(24 * _HOUR, s=1),
    "cm": _unit("1/100", m=1),
    "dm": _unit("1/10", m=1),
    "100km": _unit(100_000, m=1),
    "in": _unit("0.0254", m=1),
    "ft": _unit("0.3048", m=1),
    "yd": _unit("0.9144", m=1),
    "mi": _unit("1609.344", m=1),
    "mph": _unit(Fraction("1609.344") / _HOUR, m=1, s=-1),
    "kn": _unit(Fraction(1852, _HOUR), m=1, s=-1),
    "gal": _unit("0.003785411784", m=3),
    "kgal": _unit("3.785411784", m=3),
    "impgal": _unit("0.00454609", m=3),
    "CCF": _unit(100 * Fraction("0.3048") ** 3, m=3),
    "gpm": _unit(Fraction("0.003785411784") / 60, m=3, s=-1),
    "cfm": _unit(Fraction("0.3048") ** 3 / 60, m=3, s=-1),
    "hl": _unit("1/10", m=3),
    "t": _unit(1_000_000, g=1),
    "lb": _unit("453.59237", g=1),
    "hPa": _unit(1000 * 100, g=1, m=-1, s=-2),
    "atm": _unit(1000 * 101_325, g=1, m=-1, s=-2),
    "psi": _unit(_POUND_FORCE, g=1, m=-1, s=-2),
    "inHg": _unit(_MERCURY * Fraction("0.0254"), g=1, m=-1, s=-2),
    "mmHg": _unit(_MERCURY / 1000, g=1, m=-1, s=-2),
    "BTU": _unit(1000 * Fraction("1055.05585262"), g=1, m=2, s=-2),
    "kBTU": _unit(1000**2 * Fraction("1055.05585262"), g=1, m=2, s=-2),
    "MMBTU": _unit(1000**3 * Fraction("1055.05585262"), g=1, m=2, s=-2),
    "thm": _unit(1000 * Fraction("105505585.262"), g=1, m=2, s=-2),
    "Wmin": _unit(1000 * 60, g=1, m=2, s=-2),
    "PS": _unit(1000 * Fraction("735.49875"), g=1, m=2, s=-3),
    "rpm": _unit("1/60", s=-1),
    "%": _unit("1/100"),
    "‰": _unit("1/1000"),
    "ppm": _unit("1/1000000"),
    "ppb": _unit("1/1000000000"),
    "°": _unit(degree=1),
    # Levels of sound and signals are logarithms: no factor leads to another unit.
    "dB": _unit(dB=1),
    "dBA": _unit(dBA=1),
    "dBm": _unit(dBm=1),
    "pulse": _unit(pulse=1),
    **{code: Unit(_dimension({code: 1}), Fraction(1)) for code in _CURRENCIES},
    "ct": _unit("1/100", EUR=1),
    "$": _unit(dollar=1),
    "¢": _unit("1/100", dollar=1),
    "KiB": _unit(8 * 1024, bit=1),
    "MiB": _unit(8 * 1024**2, bit=1),
    "GiB": _unit(8 * 1024**3, bit=1),
    "°C": _unit(1, K=1, zero="273.15"),
    "°F": Unit(_dimension({"K": 1}), _FAHRENHEIT, Fraction("459.67") * _FAHRENHEIT),
}
_PREFIXES: dict[str, Fraction] = {
    "n": Fraction(1, 1000**3),
    "µ": Fraction(1, 1_000_000),  # the sign of Latin-1
    "μ": Fraction(1, 1_000_000),  # the Greek letter
    "m": Fraction(1, 1000),
    "k": Fraction(1000),
    "M": Fraction(1000**2),
    "G": Fraction(1000**3),
    "T": Fraction(1000**4),
}
_ALIASES: dict[str, str] = {
    **dict.fromkeys(("percent", "Percent", "%RH", "%rH", "pct"), "%"),
    **dict.fromkeys(("℃", "C", "degC", "deg C", "Deg C", "° C", "celsius", "Celsius"), "°C"),
    **dict.fromkeys(("℉", "F", "degF", "deg F", "Deg F", "° F", "fahrenheit", "Fahrenheit"), "°F"),
    **dict.fromkeys(("VAr", "VAR"), "var"),
    **dict.fromkeys(("kVAr", "kVAR"), "kvar"),
    **dict.fromkeys(("MVAr", "MVAR"), "Mvar"),
    **dict.fromkeys(("VArh", "VARh"), "varh"),
    **dict.fromkeys(("kVArh", "kVARh"), "kvarh"),
    **dict.fromkeys(("ohm", "Ohm"), "Ω"),
    **dict.fromkeys(("w", "watt", "Watt", "watts", "Watts"), "W"),
    **dict.fromkeys(("kw", "KW", "kilowatt", "kilowatts"), "kW"),
    **dict.fromkeys(("wh", "WH"), "Wh"),
    **dict.fromkeys(("kwh", "KWh", "KWH"), "kWh"),
    **dict.fromkeys(("joule", "joules"), "J"),
    **dict.fromkeys(("v", "volt", "Volt", "volts", "Volts"), "V"),
    **dict.fromkeys(("a", "Amp", "amp", "amps", "Amps", "ampere", "Ampere", "amperes"), "A"),
    **dict.fromkeys(("hz", "HZ", "hertz", "Hertz"), "Hz"),
    **dict.fromkeys(("sec", "second", "seconds"), "s"),
    **dict.fromkeys(("minute", "minutes"), "min"),
    **dict.fromkeys(("hr", "hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
    **dict.fromkeys(("meter", "meters", "metre", "metres"), "m"),
    **dict.fromkeys(("liter", "liters", "litre", "litres"), "l"),
    **dict.fromkeys(("gallon", "gallons", "USgal"), "gal"),
    **dict.fromkeys(("cbm", "qbm"), "m³"),
    **dict.fromkeys(("cf", "CF", "cuft"), "ft³"),
    **dict.fromkeys(("ccf", "hcf", "HCF"), "CCF"),
    **dict.fromkeys(("GPM", "gal/m"), "gpm"),
    **dict.fromkeys(("CFM", "ft³/m"), "cfm"),
    **dict.fromkeys(("lpm", "LPM"), "l/min"),
    **dict.fromkeys(("kmh", "kph", "km/hr"), "km/h"),
    **dict.fromkeys(("kt", "kts", "knot", "knots"), "kn"),
    **dict.fromkeys(("mile", "miles"), "mi"),
    **dict.fromkeys(("lbs", "pound", "pounds"), "lb"),
    **dict.fromkeys(("therm", "therms"), "thm"),
    **dict.fromkeys(("deg", "degree", "degrees"), "°"),
    **dict.fromkeys(("lux", "Lux"), "lx"),
    **dict.fromkeys(("gCO2", "gCO2e", "gCO2eq", "gCO₂", "gCO₂e", "gCO₂eq"), "g"),
    **dict.fromkeys(("kgCO2", "kgCO2e", "kgCO2eq", "kgCO₂", "kgCO₂e", "kgCO₂eq"), "kg"),
    **dict.fromkeys(("pulses", "imp", "impulse", "impulses"), "pulse"),
    **dict.fromkeys(("€", "Euro", "euro"), "EUR"),
    **dict.fromkeys(("cent", "Cent", "c€", "€ct"), "ct"),
    **dict.fromkeys(("£",), "GBP"),
    **dict.fromkeys(("W m-2", "Wm-2", "W m^-2", "W/sqm", "W/qm"), "W/m²"),
    "Btu": "BTU",
}
# Signs that look alike.
_SIGNS = str.maketrans({"º": "°", "˚": "°", "\u2126": "Ω", "\u2044": "/", "\u2215": "/"})

_TERM = re.compile(r"(?P<name>[^\W\d_²³]+|[°℃℉%‰€$£¢][^\W\d_²³]*)(?:\^(?=\d))?(?P<power>[²³23]?)")
_POWERS = {"": 1, "2": 2, "²": 2, "3": 3, "³": 3}
LONGEST_UNIT = 32
_TIMES_AN_HOUR = re.compile(r"[mkMGT]?(?:W|VA|var|A)")

# The units offered by pages, by quantity. Messages use the quantities' names.
_USUAL: dict[str, tuple[str, ...]] = {
    "power": ("W", "kW", "MW", "BTU/h"),
    "energy": ("Wh", "kWh", "MWh", "MJ", "BTU"),
    "apparent power": ("VA", "kVA"),
    "apparent energy": ("VAh", "kVAh"),
    "reactive power": ("var", "kvar"),
    "reactive energy": ("varh", "kvarh"),
    "voltage": ("mV", "V", "kV"),
    "current": ("mA", "A"),
    "charge": ("mAh", "Ah"),
    "resistance": ("Ω", "kΩ"),
    "frequency": ("Hz", "rpm"),
    "temperature": ("°C", "°F", "K"),
    "volume": ("l", "m³", "ft³", "gal"),
    "flow": ("l/min", "l/h", "m³/h"),
    "pressure": ("Pa", "hPa", "bar", "psi", "inHg", "mmHg"),
    "irradiance": ("W/m²", "kW/m²"),
    "irradiation": ("Wh/m²", "kWh/m²"),
    "illuminance": ("lx", "klx"),
    "length": ("mm", "cm", "m", "km", "in", "ft", "mi"),
    "speed": ("m/s", "km/h", "mph", "kn"),
    "mass": ("g", "kg", "t", "lb"),
    "time": ("s", "min", "h", "d"),
    "share": ("%", "‰", "ppm"),
    "density": ("µg/m³", "mg/m³", "g/m³"),
    "data": ("B", "kB", "MB", "GB"),
    "rate of data": ("bit/s", "kbit/s", "Mbit/s", "MB/s"),
    "conductance": ("µS", "mS", "S"),
    "angle": ("°",),
    "pulses": ("pulse",),
    "level of a signal": ("dBm",),
    "level of sound": ("dB",),
    **{f"money in {code}": (code,) for code in _CURRENCIES if code != "EUR"},
    "money in EUR": ("EUR", "ct"),
    "money in $": ("$", "¢"),
    **{f"price in {code}": (f"{code}/kWh", f"{code}/MWh") for code in _CURRENCIES if code != "EUR"},
    "price in EUR": ("EUR/kWh", "ct/kWh", "EUR/MWh"),
    "price in $": ("$/kWh", "¢/kWh", "$/MWh"),
}


class UnitProblem(ValueError):
    """A unit cannot be used. The message names it and the possible units."""


class UnknownUnit(UnitProblem):
    """The text names no known unit, so no value can be converted from or to it."""


class NotComparable(UnitProblem):
    """The two units measure different quantities."""


class Conversion(NamedTuple):
    """Turns a value in one unit into another: `value * factor + offset`."""

    factor: float
    offset: float


def unit_problem(text: str) -> str | None:
    """Return why a text cannot be kept as a unit, known or not; None if it can."""
    if not text.strip() or text != text.strip():
        return "a unit is not empty, and has no blanks around it"
    if len(text) > LONGEST_UNIT or not text.isprintable():
        return f"a unit has at most {LONGEST_UNIT} printable characters"
    return None


@lru_cache(maxsize=4096)
def is_known_unit(text: str) -> bool:
    """Return whether values in this unit can be converted."""
    try:
        parse_unit(text)
    except UnknownUnit:
        return False
    return True


def usual_spelling(text: str) -> str:
    """Return a unit in its usual spelling: kWh for kwh, °C for Deg C; unchanged if there is no other."""
    return _ALIASES.get(text, text)


def is_same_unit(one: str, other: str) -> bool:
    """Return whether two texts are the same unit, as kWh and KWh are."""
    try:
        return one == other or convert_factor_offset(one, other) == (1.0, 0.0)
    except UnitProblem:
        return False


@lru_cache(maxsize=1024)
def convert_factor_offset(from_unit: str, to_unit: str) -> Conversion:
    """Return the factor and offset from `from_unit` to `to_unit`.

    The offset is zero except between temperatures. Differences of two values take only the factor.
    Raises `UnknownUnit` or `NotComparable`, both `UnitProblem`.
    """
    if from_unit == to_unit:
        return Conversion(1.0, 0.0)
    source, target = parse_unit(from_unit), parse_unit(to_unit)
    if source.dimension != target.dimension:
        others = ", ".join(other for other in comparable_units(from_unit) if other != from_unit)
        raise NotComparable(
            f"{from_unit} cannot be shown as {to_unit}: {_describe(from_unit)}, {_describe(to_unit)}; "
            f"{from_unit} can be shown as {others or 'itself only'}"
        )
    return Conversion(
        float(source.factor / target.factor), float((source.zero - target.zero) / target.factor)
    )


def comparable_units(unit: str) -> tuple[str, ...]:
    """Return the usual units of the same quantity, `unit` itself included if it is usual.

    Raises `UnknownUnit`.
    """
    quantity = quantity_of(unit)
    return _USUAL[quantity] if quantity else (unit,)


def energy_unit(unit: str) -> str | None:
    """Return the unit of a value in `unit` times one hour: Wh for W, kvarh for kvar.

    None unless `unit` is a usual unit of power or current: W/m² is no power.
    """
    written = _ALIASES.get(unit, unit)
    return f"{written}h" if _TIMES_AN_HOUR.fullmatch(written) else None


@lru_cache(maxsize=1024)
def parse_unit(text: str) -> Unit:
    """Return the unit written as `text`, such as kWh, m³/h or W/m². Raises `UnknownUnit`."""
    if not text:
        raise UnknownUnit("no unit is known here: name the metric's unit in the device's settings first")
    terms = list(_split_terms(text))
    if len(terms) == 1 and terms[0][1] == 1:
        return _look_up(terms[0][0], whole=text)
    product = _unit()
    for name, power in terms:
        # In a rate such as kWh/°C, a degree is a difference: products drop the zero.
        product *= _look_up(name, whole=text) ** power
    return product


def _split_terms(text: str) -> Iterator[tuple[str, int]]:
    """Yield the names in a unit's text with their powers: m³/h gives (m, 3) and (h, -1)."""
    written = text.translate(_SIGNS)
    written = _ALIASES.get(written, written)
    above, slash, below = written.partition("/")
    for part, sign in ((above, 1), (below, -1)):
        for factor in re.split(r"[·*]", part) if part or sign > 0 or slash else ():
            # A name of the table may hold digits: kWh/100km, gCO2/kWh.
            name = _ALIASES.get(factor, factor)
            if name in _WITHOUT_PREFIX:
                yield name, sign
                continue
            match = _TERM.fullmatch(name) if len(written) <= LONGEST_UNIT else None
            if match is None:
                raise UnknownUnit(_unknown(text))
            yield match["name"], sign * _POWERS[match["power"]]


def _look_up(name: str, *, whole: str) -> Unit:
    name = _ALIASES.get(name, name)
    if (unit := _WITHOUT_PREFIX.get(name) or _WITH_PREFIX.get(name)) is not None:
        return unit
    prefix, base = _PREFIXES.get(name[:1]), _WITH_PREFIX.get(name[1:])
    if prefix is None or base is None:
        raise UnknownUnit(_unknown(whole))
    return Unit(base.dimension, prefix * base.factor)


def quantity_of(unit: str) -> str | None:
    """Return the name of the quantity measured in `unit`, None for an unusual one. Raises `UnknownUnit`."""
    dimension = parse_unit(unit).dimension
    return next((name for name, units in _USUAL.items() if parse_unit(units[0]).dimension == dimension), None)


def _describe(unit: str) -> str:
    return f"{unit} measures {quantity_of(unit) or 'something else'}"


def _unknown(text: str) -> str:
    known = "W, kWh, V, A, °C, m³ or l/min"
    return f"{text[:LONGEST_UNIT]!r} is not a unit that is known here; known are units such as {known}"
