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
from joulebook.telemetry.readings import LARGEST_VALUE

DECIMAL_MARKS = (".", ",")
THOUSANDS_MARKS = ("", ".", ",", "'", "’", " ", "\u00a0", "\u202f")

NOT_A_NUMBER = "value_type"
NOT_FINITE = "value_not_finite"


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


class NumberFormat:
    """The form of numbers in a file: decimal mark, thousands mark, and NA values.

    A number is an optional sign, digits with an optional decimal mark, and an optional exponent. With a
    thousands mark the digits before the decimal mark may be in groups of three; any other grouping is
    malformed: `1.234` and `1,5` are never confused silently. One of the `affixes`, a unit or a currency,
    may precede the number (before or after its sign), or follow it.
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
            rf"^([+-]?)(?:(?:{known})[ \u00a0]*([+-]?)([^+-].*?)|([^+-].*?)[ \u00a0]*(?:{known}))$"
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

    def parse(self, cells: Sequence[pl.Series]) -> list[Numbers]:
        """Return the numbers of String columns of one length."""
        if not cells:
            return []
        frame = pl.DataFrame([column.alias(str(index)) for index, column in enumerate(cells)])
        cast = frame.select(self._number(pl.col(name)) for name in frame.columns)
        return [self._numbers(text, cast[text.name]) for text in frame.get_columns()]

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

    def _numbers(self, text: pl.Series, cast: pl.Series) -> Numbers:
        value = cast.to_numpy(writable=True)
        rest = np.flatnonzero(~(np.abs(value) <= LARGEST_VALUE))
        na_rows, na_text, left = np.empty(0, np.intp), text.clear(), text.clear()
        if len(rest):
            value[rest] = np.nan
            left = text[rest].str.strip_chars(BLANKS)
            is_na = left.is_in(["", *self._na_values])
            na_rows, na_text = rest[is_na.to_numpy()], left.filter(is_na)
            rest, left = rest[~is_na.to_numpy()], left.filter(~is_na)
        # Second pass for unusual forms: blanks around the number, another minus, a unit.
        if len(rest):
            plain = left.str.replace("^\u2212", "-")
            rest, left = self._fill(value, rest, left, plain)
        if len(rest) and self._affixed:
            rest, left = self._fill(value, rest, left, self._without_affix(left))
        looks_right = left.str.contains(self.pattern).to_numpy() if len(rest) else np.empty(0, np.bool_)
        code = np.where(looks_right, NOT_FINITE, NOT_A_NUMBER)
        return Numbers(value, na_rows, na_text, rest, left, code)

    def _fill(
        self, value: NDArray[np.float64], rows: NDArray[np.intp], left: pl.Series, plain: pl.Series
    ) -> tuple[NDArray[np.intp], pl.Series]:
        """Set `value` in rows where `plain` is a number; return the other rows and their cells."""
        numbers = plain.to_frame("text").select(self._number(pl.col("text"))).to_series().to_numpy()
        found = np.abs(numbers) <= LARGEST_VALUE
        value[rows[found]] = numbers[found]
        return rows[~found], left.filter(pl.Series(~found))

    def _without_affix(self, text: pl.Series) -> pl.Series:
        """Return sign and number of cells with a unit; "" for cells without one."""
        part = text.str.replace("^\u2212", "-").str.extract_groups(self._affixed).struct.unnest()
        part = part.with_columns(pl.all().fill_null(""))
        names = part.columns
        twice = (part[names[0]] != "") & (part[names[1]] != "")
        joined = part.select(pl.concat_str(pl.all())).to_series()
        return (
            joined.to_frame("t")
            .select(pl.when(~pl.lit(twice)).then(pl.col("t")).otherwise(pl.lit("")))
            .to_series()
        )
