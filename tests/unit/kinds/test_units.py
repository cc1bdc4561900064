"""Units: which can be converted, by what numbers, and what is said of those that cannot."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.telemetry.kinds.units import (
    NotComparable,
    UnitProblem,
    UnknownUnit,
    comparable_units,
    convert_factor_offset,
    energy_unit,
    is_known_unit,
)


@pytest.mark.parametrize(
    ("from_unit", "to_unit", "factor", "offset"),
    [
        ("W", "kW", 0.001, 0),
        ("kW", "W", 1000, 0),
        ("kWh", "Wh", 1000, 0),
        ("Wh", "kWh", 0.001, 0),
        ("MWh", "kWh", 1000, 0),
        ("kWh", "MJ", 3.6, 0),
        ("m3", "l", 1000, 0),
        ("m³", "L", 1000, 0),
        ("m³/h", "l/min", 1000 / 60, 0),
        ("W/m2", "kW/m²", 0.001, 0),
        ("W/m^2", "W/m²", 1, 0),
        ("mbar", "hPa", 1, 0),
        ("kVAr", "var", 1000, 0),
        ("mAh", "Ah", 0.001, 0),
        ("%", "ppm", 10_000, 0),
        ("km/h", "m/s", 1 / 3.6, 0),
        ("°C", "°F", 1.8, 32),
        ("°F", "K", 5 / 9, 459.67 * 5 / 9),
        ("°C", "K", 1, 273.15),
        ("C", "°C", 1, 0),
        ("kWh/°C", "Wh/K", 1000, 0),
        ("Wh/°F", "Wh/K", 1.8, 0),
        ("an odd one", "an odd one", 1, 0),
    ],
)
def test_values_are_converted_exactly(from_unit, to_unit, factor, offset):
    assert convert_factor_offset(from_unit, to_unit) == pytest.approx((factor, offset), rel=1e-15)


@pytest.mark.parametrize(
    ("from_unit", "to_unit", "message"),
    [
        ("W", "Wh", "W measures power, Wh measures energy; W can be shown as kW, MW, BTU/h"),
        ("VA", "W", "VA measures apparent power, W measures power; VA can be shown as kVA"),
        ("var", "VA", "var measures reactive power, VA measures apparent power"),
        ("m³", "kWh", "m³ measures volume, kWh measures energy; m³ can be shown as l, ft³, gal"),
        ("°C", "kWh/°C", "°C measures temperature"),
    ],
)
def test_what_measures_something_else_is_refused_with_both_units_and_what_would_do(
    from_unit, to_unit, message
):
    with pytest.raises(NotComparable, match=f"^{from_unit} cannot be shown as {to_unit}: ") as refused:
        convert_factor_offset(from_unit, to_unit)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "unit",
    [
        "",
        "blub",
        "<b>W",
        "W/",
        "/h",
        "W//h",
        "°x",
        "2",
        "k",
        "m°C",
        "W h",
        "kW\x00",
        "W" * 400,
        "2**2**2**99999999",
        "W**9999999999",
        "9" * 30,
        "__import__('os')",
        "delta_degC",
    ],
)
def test_texts_that_are_no_unit_are_refused_at_once(unit):
    begun = time.monotonic()
    for pair in ((unit, "W"), ("W", unit)):
        with pytest.raises(UnknownUnit):
            convert_factor_offset(*pair)
    assert time.monotonic() - begun < 30
    assert not is_known_unit(unit)


@given(st.text(alphabet="kmMWhVAvarΩ°CFKl³²23/·*^%gstd µ", max_size=12), st.sampled_from(["W", "°C", "m³"]))
def test_no_text_does_anything_but_convert_or_be_refused(text, other):
    for pair in ((text, other), (other, text)):
        try:
            factor, _ = convert_factor_offset(*pair)
        except UnitProblem:
            continue
        assert factor > 0


@given(
    st.sampled_from([("kWh", "MJ"), ("°F", "°C"), ("m³/h", "l/min"), ("psi", "bar")]), st.floats(-1e6, 1e6)
)
def test_there_and_back_again_is_the_same_value(units, value):
    there, back = convert_factor_offset(*units), convert_factor_offset(*reversed(units))
    returned = (value * there.factor + there.offset) * back.factor + back.offset
    assert returned == pytest.approx(value, rel=1e-12, abs=1e-9)


def test_usual_units_of_a_kind_are_offered():
    assert comparable_units("kW") == ("W", "kW", "MW", "BTU/h")
    assert comparable_units("degF") == ("°C", "°F", "K")
    assert comparable_units("W/m³") == ("W/m³",)


@pytest.mark.parametrize(
    ("unit", "energy"),
    [
        ("W", "Wh"),
        ("kW", "kWh"),
        ("VA", "VAh"),
        ("kVAr", "kvarh"),
        ("A", "Ah"),
        ("W/m²", None),
        ("Wh", None),
        ("°C", None),
        ("", None),
        ("V", None),
        ("<b>W", None),
    ],
)
def test_power_has_a_unit_of_energy(unit, energy):
    assert energy_unit(unit) == energy
