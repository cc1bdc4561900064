"""Cells to numbers: exactly what the number grammar says, NA as exact text, everything else malformed."""

from __future__ import annotations

import math
import re
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.numbers import BLANK_MARKS, CellUnits, NumberFormat, Numbers


def parse(cells: list[str], **options: object) -> Numbers:
    (numbers,) = NumberFormat(**options).parse([pl.Series(cells, dtype=pl.String)])  # type: ignore[arg-type]
    return numbers


def reference(cell: str, *, decimal: str, thousands: str, na: list[str]) -> float | str:
    """Return the number, "na", or the code, by Python's own means."""
    text = cell.strip(" \t\r\n\v\f\u00a0")
    if text == "" or text in na:
        return "na"
    text = text.removeprefix("'").replace("\u2212", "-")
    if text.endswith("-") and text[0] not in "+-":
        text = "-" + text[:-1].removesuffix(" ")
    match = re.fullmatch(r"([+-]?)([^eE]*)((?:[eE][+-]?[0-9]+)?)", text)
    if match is None:
        return "value_type"
    sign, digits, exponent = match.groups()
    whole, _, fraction = digits.partition(decimal)
    if thousands and thousands in whole:
        groups = whole.split(thousands)
        if not (1 <= len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:])):
            return "value_type"
        whole = "".join(groups)
    if not re.fullmatch("[0-9]*", whole + fraction) or not whole + fraction or (not whole and not fraction):
        return "value_type"
    value = float(f"{sign}{whole or '0'}.{fraction or '0'}{exponent}")
    return value if abs(value) <= 1e100 else "value_not_finite"


alphabet = st.sampled_from("0123456789" * 2 + "...,,'+-\u2212eE ?N\u00a0x")
cells = st.lists(
    st.one_of(
        st.text(alphabet, max_size=9),
        st.floats(allow_nan=False, allow_infinity=False).map(repr),
        st.floats(-1e4, 1e4).map(lambda x: f"{x:.3f}".replace(".", ",")),
        st.sampled_from(
            ["", "?", "-9999", "nan", "inf", "1e999", "1.135.124,50", "1,135,124.50", "12'345.6", " 7 "]
        ),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(
    cells,
    st.sampled_from([".", ","]),
    st.sampled_from(["", ".", ",", "'"]),
    st.sampled_from([[], ["?", "-9999"]]),
)
def test_every_cell_is_the_number_that_python_reads_or_na_or_malformed(
    column: list[str], decimal: str, thousands: str, na: list[str]
) -> None:
    if decimal == thousands:
        thousands = ""
    got = parse(column, decimal=decimal, thousands=thousands, na_values=na)
    expected = [reference(cell, decimal=decimal, thousands=thousands, na=na) for cell in column]
    codes = dict(zip(got.malformed.tolist(), got.malformed_code.tolist(), strict=True))
    for row, want in enumerate(expected):
        if isinstance(want, float):
            assert got.value[row] == want, column[row]
        else:
            assert math.isnan(got.value[row]), column[row]
            assert codes.get(row, "na") == want, column[row]
    assert sum(got.na.values()) == expected.count("na")
    assert [text.strip() for text in got.malformed_text] == [column[row].strip() for row in got.malformed]


@settings(deadline=None)
@given(st.lists(st.floats(-1e100, 1e100), max_size=50))
def test_a_number_comes_back_to_the_last_bit(values: list[float]) -> None:
    assert parse([repr(value) for value in values]).value.tolist() == values
    assert parse([f"{value:.25e}" for value in values]).value.tolist() == values


styles = st.fixed_dictionaries(
    {
        "decimal": st.sampled_from([".", ","]),
        "thousands": st.sampled_from(["", ".", ",", "'", "’", *BLANK_MARKS]),
        "minus": st.sampled_from(["-{}", "\u2212{}", "{}-", "{} -", "'-{}"]),
        "unit": st.sampled_from(["{}", "{} kWh", "{}\u00a0kWh", "{}kWh"]),
    }
)


@settings(deadline=None)
@given(st.integers(-(10**12), 10**12), st.integers(0, 4), styles, st.sampled_from(BLANK_MARKS))
def test_a_number_is_read_as_it_is_written_anywhere(
    digits: int, places: int, style: dict[str, str], blank: str
) -> None:
    value = Decimal(digits).scaleb(-places)
    decimal, thousands = style["decimal"], style["thousands"]
    if thousands == decimal:
        thousands = ""
    written = f"{abs(value):,.{places}f}".translate({ord(","): "T", ord("."): decimal})
    # Blanks that a person cannot tell apart are one mark.
    written = written.replace("T", blank if thousands in BLANK_MARKS else thousands)
    if value < 0:
        written = style["minus"].format(written)
    if not written.endswith("-"):
        written = style["unit"].format(written)
    got = parse([written], decimal=decimal, thousands=thousands, affixes=["kWh"])
    assert got.value.tolist() == [float(value)], written


@given(st.integers(-(10**9), 10**9), st.integers(0, 6), st.sampled_from(["W", "kW", "MW"]))
def test_numbers_beside_another_unit_are_converted_to_the_last_bit(
    digits: int, places: int, unit: str
) -> None:
    value = Decimal(digits).scaleb(-places)
    factor = {"W": 1, "kW": 1000, "MW": 1_000_000}[unit]
    form = NumberFormat(affixes=["W", "kW", "MW"])
    beside = pl.Series([unit])
    for text, units in (
        (f"{value:f} {unit}", CellUnits("W")),
        (f"{value:f}", CellUnits("W", beside)),
        (f"{value:f}", CellUnits(pl.Series(["W"]), beside)),
    ):
        (got,) = form.parse([pl.Series([text])], [units])
        assert got.value.tolist() == [float(value * factor)]


def test_a_number_beside_a_unit_of_another_quantity_is_malformed() -> None:
    form = NumberFormat(affixes=["W", "kWh"], na_values=["-9999"])
    (got,) = form.parse([pl.Series(["5 W", "6 kWh", "x", "7"])], [CellUnits("W")])
    assert got.value[[0, 3]].tolist() == [5, 7]
    assert got.malformed.tolist() == [1, 2]
    assert got.malformed_code.tolist() == ["value_unit", "value_type"]
    beside = pl.Series(["kW", "kWh", "W", ""])
    (got,) = form.parse([pl.Series(["5", "6", "-9999", "7"])], [CellUnits("W", beside)])
    assert got.value[[0, 3]].tolist() == [5000, 7]
    assert (got.malformed_text.to_list(), got.na) == (["6 kWh"], {"-9999": 1})


def test_na_is_counted_by_what_stands_there() -> None:
    got = parse(["?", "", " ? ", "-9999", "-9999.0", "1"], na_values=["?", "-9999"])
    assert got.na == {"?": 2, "": 1, "-9999": 1}
    assert got.value[4:].tolist() == [-9999.0, 1.0]


def test_a_padded_na_number_is_na() -> None:
    assert parse([" -9999 ", "5"], na_values=["-9999"]).na == {"-9999": 1}


def test_infinity_and_what_overflows_are_not_finite_and_text_is_no_number() -> None:
    got = parse(["1e400", "-1e400", "inf", "NaN", "1_000", "0x10", "٣"])
    assert got.malformed_code.tolist() == ["value_not_finite", "value_not_finite"] + ["value_type"] * 5
    assert got.malformed_text.to_list() == ["1e400", "-1e400", "inf", "NaN", "1_000", "0x10", "٣"]


def test_marks_that_cannot_be_are_refused_with_those_that_can() -> None:
    with pytest.raises(UnusableProfile, match=r"decimal ';' is not known; use"):
        NumberFormat(decimal=";")
    with pytest.raises(UnusableProfile, match="thousands ',' cannot be used with decimal ','"):
        NumberFormat(decimal=",", thousands=",")
    with pytest.raises(UnusableProfile, match="thousands 'x'"):
        NumberFormat(thousands="x")


def test_no_columns_and_no_rows_are_fine() -> None:
    assert NumberFormat().parse([]) == []
    assert len(parse([]).value) == 0
