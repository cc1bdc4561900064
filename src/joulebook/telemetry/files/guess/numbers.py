"""Guesses the decimal and thousands marks from how the numbers of a file are written."""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from joulebook.telemetry.files.guess.questions import Account, Answer, Question
from joulebook.telemetry.files.table import BLANKS

_BLANK_MARKS = ("'", "’", "\u00a0", "\u202f", " ")


def guess_marks(
    columns: Sequence[pl.Series],
    *,
    decimal: str | None,
    thousands: str | None,
    delimiter: str,
    account: Account,
) -> tuple[str, str, str]:
    """Return decimal mark, thousands mark ("" for none) and the reason for the first.

    `columns` are the cells that may be numbers; a mark that is not None has been given. Where every
    comma, or every point, could be either mark, that is asked.
    """
    cells = _Cells(columns)
    reason = "given"
    if decimal is None:
        decimal, reason = _decimal(cells, thousands, delimiter, account)
    if thousands is None:
        thousands = _thousands(cells, decimal)
    return decimal, thousands, reason


class _Cells:
    """Counts how the numbers among some cells are written."""

    def __init__(self, columns: Sequence[pl.Series]) -> None:
        renamed = [column.alias("") for column in columns]
        cells = pl.concat(renamed) if renamed else pl.Series([], dtype=pl.String)
        # A unit or a currency beside a number says nothing about its marks.
        bare = cells.str.strip_chars(BLANKS).str.replace(r"^([+-]?)\p{Sc} ?", "$1")
        self._cells = bare.str.replace(r"([0-9.,]) ?(?:\p{Sc}|%|°?[A-Za-z]{1,4})$", "$1")

    def matching(self, pattern: str) -> pl.Series:
        """Return the cells that are a sign, the pattern, and perhaps an exponent."""
        return self._cells.filter(self._cells.str.contains(rf"^[+-]?(?:{pattern})(?:[eE][+-]?[0-9]+)?$"))

    def decimals(self, mark: str, other: str) -> int:
        """Return how many cells can only be read with `mark` as the decimal mark."""
        mark, other = re.escape(mark), re.escape(other)
        any_fraction = len(self.matching(rf"[0-9]*{mark}[0-9]+"))
        maybe_group = len(self.matching(rf"[1-9][0-9]{{0,2}}{mark}[0-9]{{3}}"))
        parted = "|".join((other, *_BLANK_MARKS))
        behind_groups = len(self.matching(rf"[0-9]{{1,3}}(?:(?:{parted})[0-9]{{3}})+{mark}[0-9]*"))
        many_groups = len(self.matching(rf"[0-9]{{1,3}}(?:{other}[0-9]{{3}}){{2,}}"))
        return any_fraction - maybe_group + behind_groups + many_groups

    def groups(self, mark: str, decimal: str) -> pl.Series:
        """Return the cells that can be read with `mark` between thousands."""
        mark, decimal = re.escape(mark), re.escape(decimal)
        return self.matching(rf"[0-9]{{1,3}}(?:{mark}[0-9]{{3}})+(?:{decimal}[0-9]*)?")


def _decimal(cells: _Cells, thousands: str | None, delimiter: str, account: Account) -> tuple[str, str]:
    if thousands in {".", ","}:
        return ("," if thousands == "." else "."), "the other one parts thousands"
    commas, points = cells.decimals(",", "."), cells.decimals(".", ",")
    if commas > points:
        return ",", "only so can the numbers be read"
    if points:
        return ".", "only so can the numbers be read"
    for mark, other in ((",", "."), (".", ",")):
        unclear = cells.matching(rf"[1-9][0-9]{{0,2}}{re.escape(mark)}[0-9]{{3}}")
        if len(unclear) and mark == "." and delimiter == ",":
            return ".", "commas part the cells"
        if len(unclear) and thousands is not None:
            return mark, "no mark parts thousands, or another"
        if len(unclear):
            _ask(str(unclear[0]), mark, other, account)
            return mark, "asked"
    return ".", "no cell speaks against it"


def _ask(text: str, mark: str, other: str, account: Account) -> None:
    account.ask(
        Question(
            "decimal",
            f"the number {text!r} can be {text.replace(mark, '.')} or {text.replace(mark, '')}, and no line "
            "read so far decides",
            f"; say which with --decimal {mark} or --decimal {other} --thousands {mark}",
            (
                Answer(f"{text} is {text.replace(mark, '.')}", {"decimal": mark, "thousands": ""}),
                Answer(f"{text} is {text.replace(mark, '')}", {"decimal": other, "thousands": mark}),
            ),
        )
    )


def _thousands(cells: _Cells, decimal: str) -> str:
    other = "," if decimal == "." else "."
    if len(cells.groups(other, decimal)) and not cells.decimals(other, decimal):
        return other
    return next((mark for mark in _BLANK_MARKS if len(cells.groups(mark, decimal))), "")
