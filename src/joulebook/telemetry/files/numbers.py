"""Cells of text to numbers, by a file's number format and NA values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.files.errors import Message, UnusableProfile
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.table import BLANKS
from joulebook.telemetry.kinds.units import UnknownUnit, comparable_units, is_known_unit, parse_unit
from joulebook.telemetry.readings import LARGEST_VALUE

DECIMAL_MARKS = (".", ",")
THOUSANDS_MARKS = ("", ".", ",", "'", "’", " ", "\u00a0", "\u202f", "\u2009")

NOT_A_NUMBER = "value_type"
NOT_FINITE = "value_not_finite"
OTHER_UNIT = "value_unit"
"""The code of a number beside a unit that no power of ten leads from to the unit of its metric."""

BLANK_MARKS = (" ", "\u00a0", "\u202f", "\u2009")
"""Blanks between thousands: of those a person cannot tell apart, each may stand for another."""

_ANY_BLANK = f"[{''.join(BLANK_MARKS)}]"


@dataclass(frozen=True)
class Numbers:
    """One column's numbers; `value` is as long as the column, with NaN in rows without a number.

    `na_rows` are the row indexes of NA cells and `na_text` their text ("" for empty or missing).
    `malformed` are the row indexes of other cells without a number, with their text and the code of the
    problem.
    """

    value: NDArray[np.float64]
    na_rows: NDArray[np.intp]
    na_text: pl.Series
    malformed: NDArray[np.intp]
    malformed_text: pl.Series
    malformed_code: NDArray[np.str_]

    @property
    def na(self) -> dict[str, int]:
        """The number of NA cells by their text."""
        return {str(text): int(count) for text, count in self.na_text.value_counts().iter_rows()}


@dataclass(frozen=True)
class CellUnits:
    """The unit that numbers are converted to, of a column or of each row, and the units beside them.

    A number beside no unit, or with none to be converted to, stays.
    """

    wanted: str | pl.Series
    beside: pl.Series | None = None

    def wanted_in(self, rows: NDArray[np.intp]) -> pl.Series:
        """Return the unit wanted in each of these rows."""
        if isinstance(self.wanted, str):
            return pl.Series([self.wanted]).new_from_index(0, len(rows))
        return self.wanted[rows]


def decimal_shift(unit: str, wanted: str) -> int | None:
    """Return the power of ten from one unit to another: 3 from kW to W; None if there is none."""
    if unit == wanted:
        return 0
    try:
        one, other = parse_unit(unit), parse_unit(wanted)
    except UnknownUnit:
        return None
    ratio = one.factor / other.factor
    digits = str(max(ratio.numerator, ratio.denominator))
    if (one.dimension, one.zero) != (other.dimension, other.zero) or digits.strip("0") != "1":
        return None
    return (len(digits) - 1) * (1 if ratio >= 1 else -1)


def exact_units(unit: str) -> tuple[str, ...]:
    """Return the unit, and the usual ones that powers of ten lead from to it: for W kW and MW."""
    others = comparable_units(unit) if is_known_unit(unit) else ()
    return (unit, *(other for other in others if decimal_shift(other, unit) is not None and other != unit))


def bare_number(text: pl.Expr) -> pl.Expr:
    """Return the number without an apostrophe before it, and with an ASCII minus before it."""
    return text.str.replace("^'", "").str.replace_all("\u2212", "-").str.replace(r"^([^+\-].*?) ?-$", "-$1")


class NumberFormat:
    """The form of numbers in a file: decimal mark, thousands mark, and NA values.

    A number is an optional sign, digits with an optional decimal mark, and an optional exponent. With a
    thousands mark the digits before the decimal mark may be in groups of three; any other grouping is
    malformed: `1.234` and `1,5` are never confused silently. One of the `affixes`, a unit or a currency,
    may precede the number (before or after its sign), or follow it. An apostrophe before a number is
    dropped, and its minus may follow it.
    """

    def __init__(
        self,
        *,
        decimal: str = ".",
        thousands: str = "",
        na_values: Sequence[str] = (),
        affixes: Sequence[str] = (),
    ) -> None:
        if decimal not in DECIMAL_MARKS:
            raise UnusableProfile(
                Message("{decimal:{0!r}} is not known; use . or ,", decimal), setting="decimal"
            )
        if thousands not in THOUSANDS_MARKS or thousands == decimal:
            raise UnusableProfile(
                Message(
                    "{thousands:{0!r}} cannot be used with {decimal:{1!r}}; "
                    "use . or , (the other one), ' or a blank, or none",
                    thousands,
                    decimal,
                ),
                setting="thousands",
            )
        self._decimal = decimal
        self._thousands = thousands
        self._is_plain = decimal == "." and not thousands
        digits = r"[0-9]+"
        if thousands:
            digits = rf"(?:[0-9]{{1,3}}(?:{re.escape(thousands)}[0-9]{{3}})+|[0-9]+)"
        point = re.escape(decimal)
        self.pattern = rf"^[+-]?(?:{digits}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?$"
        known = "|".join(re.escape(affix) for affix in sorted(affixes, key=len, reverse=True) if affix)
        self._affixed = (
            rf"^([+-]?)(?:({known}){_ANY_BLANK}*([+-]?)([^+-].*?)|([^+-].*?){_ANY_BLANK}*({known}))$"
            if known
            else ""
        )
        self._na_values = sorted({value.strip(BLANKS) for value in na_values} - {""})
        matches = re.compile(self.pattern)
        # These look like readings: every cell is compared with them.
        self._na_numbers = [value for value in self._na_values if matches.search(value)]

    @classmethod
    def of(cls, profile: ImportProfile) -> NumberFormat:
        """Return the number format of a profile; raises `UnusableProfile`."""
        return cls(
            decimal=profile.decimal,
            thousands=profile.thousands,
            na_values=profile.na_values,
            affixes=profile.affixes,
        )

    def parse(
        self, cells: Sequence[pl.Series], units: Sequence[CellUnits | None] | None = None
    ) -> list[Numbers]:
        """Return the numbers of String columns of one length; `units` has an entry a column."""
        if not cells:
            return []
        frame = pl.DataFrame([column.alias(str(index)) for index, column in enumerate(cells)])
        cast = frame.select(self._number(pl.col(name)) for name in frame.columns)
        return [
            self._numbers(text, cast[text.name], of_column)
            for text, of_column in zip(frame.get_columns(), units or [None] * len(cells), strict=True)
        ]

    def _number(self, text: pl.Expr) -> pl.Expr:
        """Return the expression for the numbers; null or not finite where a cell needs a second pass."""
        if self._is_plain:
            number = text
        else:
            number = text.str.replace_all(self._thousands, "", literal=True) if self._thousands else text
            number = number.str.replace(self._decimal, ".", literal=True)
            number = pl.when(text.str.contains(self.pattern)).then(number)
        value = number.cast(pl.Float64, strict=False)
        if self._na_numbers:
            value = pl.when(~text.is_in(self._na_numbers)).then(value)
        return value

    def _numbers(self, text: pl.Series, cast: pl.Series, units: CellUnits | None) -> Numbers:
        value = cast.to_numpy(writable=True)
        rest = np.flatnonzero(~(np.abs(value) <= LARGEST_VALUE))
        na_rows, na_text, left = np.empty(0, np.intp), text.clear(), text.clear()
        if len(rest):
            value[rest] = np.nan
            left = text[rest].str.strip_chars(BLANKS)
            is_na = left.is_in(["", *self._na_values])
            na_rows, na_text = rest[is_na.to_numpy()], left.filter(is_na)
            rest, left = rest[~is_na.to_numpy()], left.filter(~is_na)
        unlike = np.empty(0, np.intp)
        # Second pass for unusual forms, and a third for those beside a unit.
        if len(rest):
            found = self._fill(value, rest, plain := self._plain(left))
            rest, left, plain = rest[~found], left.filter(pl.Series(~found)), plain.filter(pl.Series(~found))
            if len(rest) and self._affixed:
                plain, unit = self._without_affix(plain)
                found = self._fill(value, rest, plain)
                if units is not None:
                    is_found = pl.Series(found)
                    unlike = self._convert(
                        value, rest[found], plain.filter(is_found), unit.filter(is_found), units
                    )
                rest, left = rest[~found], left.filter(pl.Series(~found))
        if units is not None and units.beside is not None:
            rows = np.flatnonzero(~np.isnan(value))
            unit = units.beside[rows].str.strip_chars(BLANKS)
            rows = rows[(unit != units.wanted_in(rows)).to_numpy()]
            plain = self._plain(text[rows].str.strip_chars(BLANKS))
            unit = units.beside[rows].str.strip_chars(BLANKS)
            unlike = np.append(unlike, self._convert(value, rows, plain, unit, units))
        looks_right = left.str.contains(self.pattern).to_numpy() if len(rest) else np.empty(0, np.bool_)
        code = np.where(looks_right, NOT_FINITE, NOT_A_NUMBER)
        if len(unlike):
            order = np.argsort(rest := np.append(rest, unlike))
            beside = units.beside if units is not None else None
            raw = text[unlike] if beside is None else text[unlike] + " " + beside[unlike]
            left = pl.concat([left, raw])[order]
            rest, code = rest[order], np.append(code, [OTHER_UNIT] * len(unlike))[order]
        return Numbers(value, na_rows, na_text, rest, left, code)

    def _plain(self, text: pl.Series) -> pl.Series:
        number = bare_number(pl.col("text"))
        if self._thousands in BLANK_MARKS:
            number = number.str.replace_all(_ANY_BLANK, self._thousands)
        return text.to_frame("text").select(number).to_series()

    def _fill(
        self, value: NDArray[np.float64], rows: NDArray[np.intp], plain: pl.Series
    ) -> NDArray[np.bool_]:
        """Set `value` in rows where `plain` is a number; return which these are."""
        numbers = plain.to_frame("text").select(self._number(pl.col("text"))).to_series().to_numpy()
        found: NDArray[np.bool_] = np.abs(numbers) <= LARGEST_VALUE
        value[rows[found]] = numbers[found]
        return found

    def _convert(
        self,
        value: NDArray[np.float64],
        rows: NDArray[np.intp],
        plain: pl.Series,
        unit: pl.Series,
        units: CellUnits,
    ) -> NDArray[np.intp]:
        """Convert the numbers in `rows`, each beside a `unit`; return the rows without a way to do so.

        The exponent is changed in the text: no digit is lost.
        """
        pairs = pl.DataFrame({"at": np.arange(len(rows)), "unit": unit, "wanted": units.wanted_in(rows)})
        unlike = [np.empty(0, np.intp)]
        for (one, other), group in pairs.group_by("unit", "wanted"):
            shift = decimal_shift(str(one), str(other)) if one and other else 0
            at = group["at"].to_numpy()
            if shift is None:
                value[rows[at]] = np.nan
                unlike.append(rows[at])
            elif shift:
                found = self._fill(value, rows[at], plain[at] + f"e{shift}")
                value[rows[at[~found]]] *= 10.0**shift  # These have an exponent.
        return np.concatenate(unlike)

    def _without_affix(self, text: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Return sign and number of cells with a unit ("" for cells without one), and the unit."""
        part = text.str.extract_groups(self._affixed).struct.unnest().with_columns(pl.all().fill_null(""))
        sign, before, second_sign, *numbers, behind = part.columns
        has_two = (pl.col(sign) != "") & (pl.col(second_sign) != "")
        number = pl.when(~has_two).then(pl.concat_str(sign, second_sign, *numbers)).otherwise(pl.lit(""))
        found = part.select(number.alias("number"), pl.concat_str(before, behind).alias("unit"))
        return found["number"], found["unit"]
