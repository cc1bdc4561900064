"""Rows as shown add up to the total as shown, and the total is right to half of its last digit."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.telemetry.history.totals import Account, decimals_for, round_rows, total_of
from joulebook.telemetry.kinds.units import convert_factor_offset, parse_unit

ENERGIES = st.lists(st.floats(-1e9, 1e9) | st.floats(-1e-3, 1e-3) | st.just(0.0), min_size=1, max_size=400)
UNITS = ["Wh", "kWh", "MWh", "MJ", "BTU"]


def last_digit(values: list[Decimal]) -> Fraction:
    return Fraction(10) ** min(int(value.as_tuple().exponent) for value in values)


@given(ENERGIES, st.sampled_from(UNITS))
def test_rows_add_up_and_the_total_is_right_in_every_unit(days, unit):
    account = Account("kWh", unit)
    rows = account.rows([[day * account.factor] for day in days])
    exact = sum(map(Fraction, days), Fraction(0)) * parse_unit("kWh").factor / parse_unit(unit).factor
    total = sum(rows, Decimal(0))
    noise = abs(exact) * Fraction(1, 2**50) if account.factor != 1 else 0
    accounted = last_digit(account.rows([[0.0]]))
    # In the unit of account a last digit is whole; in another it may be written with more digits: 3.6 of them.
    step = max(accounted, Fraction(1, 10**9) * parse_unit("kWh").factor / parse_unit(unit).factor)
    if unit == "BTU":
        step = accounted
    assert abs(Fraction(total) - exact) <= step / 2 + noise * len(days)
    for row, day in zip(rows, days, strict=True):
        own = Fraction(day) * parse_unit("kWh").factor / parse_unit(unit).factor
        assert abs(Fraction(row) - own) <= step + abs(own) / 2**50


@given(ENERGIES)
def test_watt_hours_kilowatt_hours_and_megawatt_hours_have_the_same_digits(days):
    accounts = [Account("Wh", unit) for unit in ("Wh", "kWh", "MWh")]
    small, middle, large = (each.rows([[day * each.factor] for day in days]) for each in accounts)
    assert [row * 1000 for row in middle] == small
    assert [row * 1000 for row in large] == middle


@given(st.lists(ENERGIES, min_size=1, max_size=12))
def test_a_month_is_the_total_of_its_days_to_the_last_digit(months):
    account = Account("kWh", "kWh")
    for days, month in zip(months, account.rows(months), strict=True):
        total = sum(account.rows([[day] for day in days]), Decimal(0))
        assert abs(total - month) <= Decimal("1e-9")


@given(st.lists(st.decimals(-1000, 1000, places=9), min_size=1, max_size=60), st.integers(0, 9))
def test_what_is_read_adds_up_at_any_number_of_decimals(values, digits):
    rows = round_rows(values, digits)
    assert sum(rows) == sum(values).quantize(Decimal(1).scaleb(-digits))
    assert all(abs(row - value) < Decimal(1).scaleb(-digits) for row, value in zip(rows, values, strict=True))
    assert round_rows(rows, digits) == rows


def test_thirds_add_up():
    third = Decimal(1) / 3
    assert round_rows([third] * 3, 2) == [Decimal("0.34"), Decimal("0.33"), Decimal("0.33")]
    assert round_rows([-third] * 3, 2) == [Decimal("-0.34"), Decimal("-0.33"), Decimal("-0.33")]


@pytest.mark.parametrize(
    ("largest", "decimals"), [("14.4", 3), ("0.0144", 5), ("0.00048", 7), ("0", 3), ("5e6", 3)]
)
def test_people_read_four_digits_of_the_largest_row(largest, decimals):
    assert decimals_for([Decimal(0), -Decimal(largest)], least=3) == decimals


def test_a_year_in_megawatt_hours_is_not_low():
    account = Account("Wh", "MWh")
    rows = account.rows([[14_400 * account.factor]] * 365)
    assert (rows[0], sum(rows)) == (Decimal("0.0144"), Decimal("5.256"))


def test_the_largest_values_of_readings_have_a_total():
    rows = Account("kWh", "MWh").rows([[1e100], [-1e100], [3.4e38], [0.001]])
    assert str(total_of(rows)) == "339999999999999996123846586046231871.488001000000"


def test_units_of_other_quantities_have_an_account():
    assert Account("l", "m³").factor == pytest.approx(convert_factor_offset("l", "m³").factor)
    assert Account("kr", "kr").rows([[0.1], [0.2]]) == [Decimal("0.1"), Decimal("0.2")]
