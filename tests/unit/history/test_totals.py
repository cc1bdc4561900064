"""Days are rounded so that tables add up as shown, in every unit, and totals are right."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.telemetry.history.totals import Account, decimals_of, total_of, with_decimals
from joulebook.telemetry.kinds.units import parse_unit

DAYS = st.lists(st.floats(-1e6, 1e6) | st.floats(-1e-3, 1e-3) | st.just(0.0), min_size=1, max_size=400)
"""Energies of days in kWh."""


@given(DAYS, st.sampled_from(["Wh", "kWh", "MWh", "MJ", "GJ", "BTU", "kBTU"]))
def test_a_total_is_right_to_half_a_thousandth_of_a_watt_hour_a_day(days, unit):
    account = Account("kWh", unit)
    total = total_of(account.days(day * account.factor for day in days))
    size = parse_unit("kWh").factor / parse_unit(unit).factor
    exact = sum(map(Fraction, days), Fraction(0)) * size
    noise = Fraction(sum(map(abs, days))) * size / 2**50
    assert abs(Fraction(total) - exact) <= len(days) * size / 2_000_000 + noise


@given(DAYS)
def test_a_table_has_the_same_digits_in_watt_hours_kilowatt_hours_megawatt_hours_and_megajoules(days):
    wh, kwh, mwh, mj = (Account("kWh", unit).days(days) for unit in ("Wh", "kWh", "MWh", "MJ"))
    assert [Account("kWh", unit).factor for unit in ("Wh", "kWh", "MWh", "MJ")] == [1, 1, 1, 1]
    for small, middle, large, joules in zip(wh, kwh, mwh, mj, strict=True):
        assert (small, large * 1000, joules) == (middle * 1000, middle, middle * Decimal("3.6"))


@given(DAYS, st.integers(0, 400), st.integers(0, 400))
def test_a_day_is_the_same_alone_and_in_any_table_and_sums_of_parts_are_the_sum_of_all(days, one, other):
    account = Account("kWh", "kWh")
    shown = account.days(days)
    assert shown == [account.days([day])[0] for day in days]
    first, second = sorted((one, other))
    parts = (shown[:first], shown[first:second], shown[second:])
    assert total_of(map(total_of, parts)) == total_of(shown)


@given(DAYS)
def test_shown_numbers_survive_json(days):
    shown = Account("kWh", "kWh").days(days)
    assert [Decimal(repr(float(each))) for each in shown] == shown


def test_a_year_in_megawatt_hours_is_not_low():
    account = Account("Wh", "MWh")
    days = account.days([14_400 * account.factor] * 365)
    assert (days[0], total_of(days)) == (Decimal("0.0144"), Decimal("5.256"))


def test_two_hundredths_of_a_watt_do_not_vanish():
    for unit, day in (("Wh", "0.48"), ("kWh", "0.00048"), ("MWh", "0.00000048")):
        account = Account("Wh", unit)
        assert account.days([0.02 * 24 * account.factor]) == [Decimal(day)]


def test_the_largest_values_of_readings_have_a_total():
    days = Account("kWh", "MWh").days([1e100, -1e100, 3.4e38, 0.001])
    assert str(total_of(days)).rstrip("0") == "340000000000000000000000000000000000.000001"


def test_units_of_other_quantities_have_an_account():
    assert Account("l", "m³").factor == pytest.approx(0.001)
    assert Account("kr", "kr").days([0.1, 0.25]) == [Decimal("0.1"), Decimal("0.25")]
    assert Account("", "").days([-0.0]) == [Decimal(0)]


def test_people_see_as_many_decimals_as_a_column_needs():
    assert decimals_of([Decimal("12.500000"), Decimal("0")], least=3) == 3
    assert decimals_of([Decimal("12.500000"), Decimal("0.000480")], least=3) == 5
    assert str(with_decimals(Decimal("12.500000"), 3)) == "12.500"
