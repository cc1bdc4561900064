"""Units as the field writes them: which of them can be converted into which, and by what numbers.

The arithmetic is pint's, on a registry of its own that knows the units of this field and no others:
pint's usual one takes `VA` for `W` and `C` for coulomb. It is loaded when it is first asked for, since
importing pint takes longer than everything that a page without a conversion does.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from fractions import Fraction
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pint

# Apparent and reactive power have dimensions of their own: a volt-ampere is no watt that can be billed.
_DEFINITIONS = """
milli- = 1/1000 = m-
micro- = 1/1000000 = µ- = μ-
kilo- = 1000 = k-
mega- = 1000000 = M-
giga- = 1000000000 = G-
tera- = 1000000000000 = T-
meter = [length] = m
second = [time] = s
gram = [mass] = g
ampere = [current] = A
kelvin = [temperature]; offset: 0 = K
volt_ampere = [apparent_power] = VA
reactive = [reactive_power] = var
lumen = [luminous_flux] = lm
minute = 60 * second = min
hour = 3600 * second = h
day = 86400 * second = d
centimeter = meter / 100 = cm
foot = 3048 / 10000 * meter = ft
liter = meter ** 3 / 1000 = l = L
gallon = 3785411784 / 1000000000000 * meter ** 3 = gal
tonne = 1000000 * gram = t
newton = 1000 * gram * meter / second ** 2 = N
pascal = newton / meter ** 2 = Pa
hectopascal = 100 * pascal = hPa
bar = 100000 * pascal
psi = 6894757293168 / 1000000000 * pascal
joule = newton * meter = J
watt = joule / second = W
watt_hour = 3600 * joule = Wh
calorie = 4184 / 1000 * joule = cal
british_thermal_unit = 105505585262 / 100000000 * joule = BTU
therm = 100000 * british_thermal_unit = thm
volt = watt / ampere = V
ohm = volt / ampere = Ω
ampere_hour = 3600 * ampere * second = Ah
volt_ampere_hour = 3600 * volt_ampere * second = VAh
reactive_hour = 3600 * reactive * second = varh
hertz = 1 / second = Hz
revolution_per_minute = 1 / minute = rpm
lux = lumen / meter ** 2 = lx
percent = 1 / 100
permille = 1 / 1000
ppm = 1 / 1000000
degreeC = kelvin; offset: 5463 / 20 = celsius
degreeF = 5 / 9 * kelvin; offset: 45967 / 180 = fahrenheit
rankine = 5 / 9 * kelvin
"""

_ALIASES = {
    "%": "percent",
    "‰": "permille",
    "°C": "celsius",
    "℃": "celsius",
    "C": "celsius",
    "degC": "celsius",
    "°F": "fahrenheit",
    "℉": "fahrenheit",
    "F": "fahrenheit",
    "degF": "fahrenheit",
    "VAr": "var",
    "VAR": "var",
    "kVAr": "kvar",
    "kVAR": "kvar",
    "VArh": "varh",
    "kVArh": "kvarh",
    "kVARh": "kvarh",
    "ohm": "Ω",
    "Ohm": "Ω",
    "w": "W",
    "watt": "W",
    "Watt": "W",
    "kw": "kW",
    "KW": "kW",
    "wh": "Wh",
    "WH": "Wh",
    "kwh": "kWh",
    "KWh": "kWh",
    "KWH": "kWh",
    "v": "V",
    "Volt": "V",
    "a": "A",
    "Amp": "A",
    "hz": "Hz",
    "HZ": "Hz",
    "sec": "s",
    "hr": "h",
    "day": "d",
    "Btu": "BTU",
}

# In a rate (kWh/°C) a degree is a difference, which begins at no zero of its own.
_DIFFERENCES = {"celsius": "kelvin", "fahrenheit": "rankine"}
_TERM = re.compile(r"(?P<name>[^\W\d_²³]+|[°℃℉%‰][^\W\d_²³]*)(?:\^(?=\d))?(?P<power>[²³23]?)")
_POWERS = {"": 1, "2": 2, "²": 2, "3": 3, "³": 3}
_LENGTH = 32
_TIMES_AN_HOUR = re.compile(r"(?P<unit>[mkMGT]?(?:W|VA|var|A))(?P<rest>/[^/]+)?")

# What people ask for, by what it measures; the words stand in messages.
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
    "pressure": ("Pa", "hPa", "bar", "psi"),
    "irradiance": ("W/m²", "kW/m²"),
    "irradiation": ("Wh/m²", "kWh/m²"),
    "illuminance": ("lx", "klx"),
    "length": ("mm", "cm", "m", "km"),
    "speed": ("m/s", "km/h"),
    "mass": ("g", "kg", "t"),
    "time": ("s", "min", "h", "d"),
    "share": ("%", "‰", "ppm"),
}
_loading = threading.Lock()


class UnitProblem(ValueError):
    """A unit cannot be used; the message names it and says what can."""


class UnknownUnit(UnitProblem):
    """The text is no unit that is known here, so nothing can be converted from or to it."""


class NotComparable(UnitProblem):
    """The two units measure different things."""


class Conversion(NamedTuple):
    """Turns a value in one unit into another: `value * factor + offset`."""

    factor: float
    offset: float


def is_known_unit(text: str) -> bool:
    """Return whether a text is a unit that can be converted into others of its kind."""
    try:
        _parse(text)
    except UnknownUnit:
        return False
    return True


@lru_cache(maxsize=1024)
def convert_factor_offset(from_unit: str, to_unit: str) -> Conversion:
    """Return what turns values in `from_unit` into `to_unit`: `value * factor + offset`.

    The offset is 0 but between temperatures; for a difference of two values only the factor counts.
    Raises `UnknownUnit` or `NotComparable`, both `UnitProblem`.
    """
    if from_unit == to_unit:
        return Conversion(1.0, 0.0)
    source, target = _parse(from_unit), _parse(to_unit)
    if source.dimensionality != target.dimensionality:
        raise NotComparable(
            f"{from_unit} cannot be shown as {to_unit}: "
            f"{_told(from_unit)}, {_told(to_unit)}; {from_unit} can be shown as {_listed(from_unit)}"
        )
    zero, one = (_convert(number, source, target) for number in (0, 1))
    return Conversion(float(one - zero), float(zero))


def comparable_units(unit: str) -> tuple[str, ...]:
    """Return the usual units that values in `unit` can be shown in, itself included where it is usual.

    Raises `UnknownUnit`.
    """
    dimension = _parse(unit).dimensionality
    return next((units for units in _USUAL.values() if _parse(units[0]).dimensionality == dimension), (unit,))


def energy_unit(unit: str) -> str | None:
    """Return the unit of a value in `unit` times one hour: Wh for W, kvarh for kvar, Wh/m² for W/m².

    None where the unit is not one of power, current or irradiance as they are usually written.
    """
    match = _TIMES_AN_HOUR.fullmatch(_ALIASES.get(unit, unit))
    return f"{match['unit']}h{match['rest'] or ''}" if match else None


def _told(unit: str) -> str:
    """Return what a unit measures, for a message: "kWh measures energy"."""
    dimension = _parse(unit).dimensionality
    for quantity, units in _USUAL.items():
        if _parse(units[0]).dimensionality == dimension:
            return f"{unit} measures {quantity}"
    return f"{unit} measures something else"


def _listed(unit: str) -> str:
    others = [other for other in comparable_units(unit) if other != unit]
    return ", ".join(others) if others else "itself only"


def _convert(number: int, source: pint.Unit, target: pint.Unit) -> Fraction:
    converted = _registry().Quantity(Fraction(number), source).to(target).magnitude
    return Fraction(converted)


@lru_cache(maxsize=1024)
def _parse(text: str) -> pint.Unit:
    """Return the unit that a text of the field means. Raises `UnknownUnit`.

    Only the names are pint's to read: its expressions know powers of powers, which take for ever.
    """
    if not text:
        raise UnknownUnit("no unit is known here: name the metric's unit in the device's settings first")
    terms = [(_ALIASES.get(name, name), power) for name, power in _terms(text)]
    if len(terms) == 1 and terms[0][1] == 1:
        return _named(terms[0][0], whole=text)
    unit = _registry().Unit("")
    for name, power in terms:
        unit *= _named(_DIFFERENCES.get(name, name), whole=text) ** power
    return unit


def _terms(text: str) -> Iterator[tuple[str, int]]:
    """Yield the names of a unit's text with their powers: m³/h gives (m, 3) and (h, -1)."""
    written = _ALIASES.get(text, text)
    above, slash, below = written.partition("/")
    for part, sign in ((above, 1), (below, -1)):
        for factor in re.split(r"[·*]", part) if part or sign > 0 or slash else ():
            match = _TERM.fullmatch(factor) if len(written) <= _LENGTH else None
            if match is None:
                raise UnknownUnit(_unknown(text))
            yield match["name"], sign * _POWERS[match["power"]]


def _named(name: str, *, whole: str) -> pint.Unit:
    registry = _registry()
    # A scale that does not begin at zero takes no prefix: there are no millidegrees.
    readings = [
        f"{prefix}{unit}"
        for prefix, unit, _suffix in registry.parse_unit_name(name)
        if not (prefix and unit.startswith("degree"))
    ]
    if not readings:
        raise UnknownUnit(_unknown(whole))
    # Not by text, which pint would take for an expression and rewrite.
    return registry.Unit(registry.UnitsContainer({readings[0]: 1}))


def _unknown(text: str) -> str:
    known = "W, kWh, V, A, °C, m³, l/min and their kin"
    return f"{text[:_LENGTH]!r} is not a unit that is known here; known are {known}"


def _registry() -> pint.UnitRegistry[Any]:
    # Units of two registries do not mix, so two threads must not make one each.
    with _loading:
        return _load_registry()


@cache
def _load_registry() -> pint.UnitRegistry[Any]:
    import pint

    registry: pint.UnitRegistry[Any] = pint.UnitRegistry(None, non_int_type=Fraction)
    registry.load_definitions(_DEFINITIONS.strip().splitlines())
    return registry
