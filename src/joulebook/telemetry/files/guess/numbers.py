"""Finds how the numbers of a file are written: marks, units beside them, and marks for missing values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl

from joulebook.telemetry.files.errors import Message
from joulebook.telemetry.files.guess.questions import Answer, Question
from joulebook.telemetry.files.guess.sample import Sample
from joulebook.telemetry.files.guess.units import is_unit, smallest_unit
from joulebook.telemetry.files.numbers import BLANK_MARKS, NumberFormat, bare_number
from joulebook.telemetry.files.profile import DEFAULT_NA_VALUES
from joulebook.telemetry.files.table import BLANKS


def settle_numbers(sample: Sample) -> None:
    """Find the marks of numbers, the units beside them, and the missing values; ask open questions."""
    given = sample.given
    times = {f"c{position}" for position in sample.time_positions}
    columns = [column for column in sample.cells.get_columns() if column.name not in times]
    _settle_marks(sample, columns)
    sample.na_values = DEFAULT_NA_VALUES if given.na_values is None else given.na_values
    sample.affixes = {}
    sample.affixes = _find_affixes(columns, sample.numbers)
    if given.na_values is None:
        _add_sentinels(sample, columns)
    sample.note(
        "missing values",
        " ".join(("(empty)", *sample.na_values)),
        "the usual ones",
        is_given=given.na_values is not None,
    )


def _settle_marks(sample: Sample, columns: Sequence[pl.Series]) -> None:
    """Find decimal and thousands mark ("" for none); ask where every comma, or point, could be either."""
    given = sample.given
    cells = _Cells(columns)
    if given.decimal is None:
        sample.decimal, reason = _guess_decimal(sample, cells)
    else:
        sample.decimal, reason = given.decimal, "given"
    if given.thousands is None:
        other = "," if sample.decimal == "." else "."
        if len(cells.groups(other, sample.decimal)) and not cells.decimals(other, sample.decimal):
            sample.thousands = other
        else:
            marks = (mark for mark in _BLANKS_AND_QUOTES if len(cells.groups(mark, sample.decimal)))
            sample.thousands = next(marks, "")
    else:
        sample.thousands = given.thousands
    sample.note("decimal mark", sample.decimal, reason, is_given=given.decimal is not None)
    shown = sample.thousands or "none"
    sample.note("thousands mark", shown, "as in the numbers", is_given=given.thousands is not None)


def _guess_decimal(sample: Sample, cells: _Cells) -> tuple[str, str]:
    """Return the decimal mark and the reason; ask where the cells do not decide."""
    thousands = sample.given.thousands
    if thousands in {".", ","}:
        return ("," if thousands == "." else "."), "the other mark separates thousands"
    commas, points = cells.decimals(",", "."), cells.decimals(".", ",")
    if commas > points:
        return ",", "the numbers can be read in no other way"
    if points:
        return ".", "the numbers can be read in no other way"
    for mark, other in ((",", "."), (".", ",")):
        unclear = cells.matching(rf"[1-9][0-9]{{0,2}}{re.escape(mark)}[0-9]{{3}}")
        if len(unclear) and mark == "." and sample.splitter.delimiter == ",":
            return ".", "commas separate the cells"
        if len(unclear) and thousands is not None:
            return mark, "no mark, or another, separates thousands"
        if len(unclear):
            text = str(unclear[0])
            fraction, whole = text.replace(mark, "."), text.replace(mark, "")
            sample.ask(
                Question(
                    "decimal",
                    f"the number {text!r} can be {fraction} or {whole}, and no line read so far decides",
                    Message("; say which with {decimal:{0}} or {decimal:{1}} {thousands:{0}}", mark, other),
                    (
                        Answer(f"{text} is {fraction}", {"decimal": mark, "thousands": ""}),
                        Answer(f"{text} is {whole}", {"decimal": other, "thousands": mark}),
                    ),
                )
            )
            return mark, "asked"
    return ".", "no cell contradicts it"


_BLANKS_AND_QUOTES = ("'", "’", *BLANK_MARKS)


class _Cells:
    """Counts how the numbers in some cells are written."""

    def __init__(self, columns: Sequence[pl.Series]) -> None:
        renamed = [column.alias("") for column in columns]
        cells = pl.concat(renamed) if renamed else pl.Series([], dtype=pl.String)
        # A unit or a currency beside a number says nothing about its marks.
        bare = pl.col("").str.strip_chars(BLANKS).str.replace(r"^([+-]?)\p{Sc} ?", "$1")
        bare = bare.str.replace(r"([0-9.,])\s?(?:\p{Sc}|%|°?[A-Za-z]{1,4})$", "$1")
        self._cells = cells.to_frame().select(bare_number(bare)).to_series()

    def matching(self, pattern: str) -> pl.Series:
        """Return the cells of a sign, the pattern, and perhaps an exponent."""
        return self._cells.filter(self._cells.str.contains(rf"^[+-]?(?:{pattern})(?:[eE][+-]?[0-9]+)?$"))

    def decimals(self, mark: str, other: str) -> int:
        """Return the number of cells with `mark` as their only possible decimal mark."""
        mark, other = re.escape(mark), re.escape(other)
        any_fraction = len(self.matching(rf"[0-9]*{mark}[0-9]+"))
        maybe_group = len(self.matching(rf"[1-9][0-9]{{0,2}}{mark}[0-9]{{3}}"))
        parted = "|".join((other, *_BLANKS_AND_QUOTES))
        behind_groups = len(self.matching(rf"[0-9]{{1,3}}(?:(?:{parted})[0-9]{{3}})+{mark}[0-9]*"))
        many_groups = len(self.matching(rf"[0-9]{{1,3}}(?:{other}[0-9]{{3}}){{2,}}"))
        return any_fraction - maybe_group + behind_groups + many_groups

    def groups(self, mark: str, decimal: str) -> pl.Series:
        """Return the cells readable with `mark` between thousands."""
        mark, decimal = re.escape(mark), re.escape(decimal)
        return self.matching(rf"[0-9]{{1,3}}(?:{mark}[0-9]{{3}})+(?:{decimal}[0-9]*)?")


# Loggers write these for "no value": nines, perhaps with zeros behind, Campbell's 6999, limits of integers.
_SENTINEL = re.compile(r"-?(?:9{2,8}0{0,3}|[67]9{3}|32767|32768|65535)(?:[.,](?:0+|9+|25))?")
_AFFIXED = re.compile(
    r"(?P<before>[^\d\s+\-.,'\"]{1,4})? ?[+-]?[\d.,' \u00a0\u202f\u2009]*\d[\d.,]*(?:[eE][+-]?\d+)?\s?"
    r"(?P<behind>[^\d\s+\-.,'\"].{0,9})?"
)
_MOSTLY = 0.8
_SOME = 0.1
_FEWEST = 4


def _find_sentinels(columns: Sequence[pl.Series], numbers: NumberFormat) -> dict[str, int]:
    """Return numbers like those for a missing value, as text, with their count.

    They repeat in one column, and are far from all its other values.
    """
    found: Counter[str] = Counter()
    lone: Counter[str] = Counter()
    for column, parsed in zip(columns, numbers.parse(columns), strict=True):
        has = np.flatnonzero(~np.isnan(parsed.value))
        if not len(has):
            continue
        value = parsed.value[has]
        for edge in {float(value.min()), float(value.max())}:
            same = has[value == edge]
            text = str(column[int(same[0])]).strip(BLANKS)
            if (len(same) < 2 and edge > -900) or not _SENTINEL.fullmatch(text):
                continue
            rest = value[value != edge]
            if not len(rest):
                lone[text] += len(same)
                continue
            low, high = float(rest.min()), float(rest.max())
            spread = max(high - low, 1.0)
            if edge < 0:
                is_far = low - edge > (spread if edge <= -900 else 3 * spread)
            else:
                is_far = edge - high > 10 * spread and edge >= 900
            if is_far:
                found[text] += len(same)
    for text, count in lone.items():
        # A column with no other value needs the same mark in another column, or three nines below zero.
        if text in found or re.fullmatch(r"-9{3,}.*", text):
            found[text] += count
    return dict(found)


def _find_affixes(columns: Sequence[pl.Series], numbers: NumberFormat) -> dict[str, str]:
    """Return the units and currencies beside numbers, by the name of the column: `$`, `kWh`.

    Of several units it is the smallest: the numbers beside the others are converted to it.
    """
    affixes: dict[str, str] = {}
    for column in columns:
        (parsed,) = numbers.parse([column])
        text = parsed.malformed_text
        if not len(text) or len(text) < _SOME * (len(column) - len(parsed.na_rows)):
            continue
        words = Counter(_affix(cell) for cell in text.head(2000).to_list())
        del words[""]
        word = smallest_unit(words) or next((word for word, _ in words.most_common(1)), "")
        count = words.total() if smallest_unit(words) else words[word]
        filled = len(column) - len(parsed.na_rows)
        if count >= _MOSTLY * min(len(text), 2000) and (count >= _FEWEST or count >= _MOSTLY * filled):
            affixes[column.name] = word
    return affixes


def _affix(cell: str) -> str:
    match = _AFFIXED.fullmatch(cell.replace("\u2212", "-"))
    if not match or bool(match["before"]) == bool(match["behind"]):
        return ""
    if before := match["before"]:
        return before if (is_unit(before) and not before.isalpha()) or before in _CURRENCIES else ""
    behind = str(match["behind"]).strip()
    return behind if is_unit(behind) else ""


_CURRENCIES = {"EUR", "USD", "GBP", "CHF", "SEK", "NOK", "DKK"}


def _add_sentinels(sample: Sample, columns: Sequence[pl.Series]) -> None:
    """Add numbers like those for a missing value to the missing values, and ask whether they are."""
    na_values = sample.na_values
    sentinels = _find_sentinels(columns, sample.numbers)
    if not sentinels:
        return
    used = sorted({mark for parsed in sample.numbers.parse(columns) for mark in parsed.na if mark})
    marks = [*sorted(sentinels), *used]
    shown_marks = [repr(mark) if mark in "?" else mark for mark in marks]
    kept_marks = [repr(mark) for mark in used] or ["'?'"]
    each = [f"{{na_values:{{{number}}}}}" for number in range(len(marks) + len(kept_marks))]
    shown = ", ".join(f"{text} ({count:,} cells)" for text, count in sorted(sentinels.items()))
    sample.na_values = (*na_values, *sorted(sentinels))
    sample.ask(
        Question(
            "na_values",
            f"the file holds {shown}, far from all other values: does it stand for a missing value?",
            Message(
                f" say so with {' '.join(each[: len(marks)])}, "
                f"or keep it as a reading with {' '.join(each[len(marks) :])}",
                *shown_marks,
                *kept_marks,
            ),
            (
                Answer(f"missing: {', '.join(sorted(sentinels))}", {"na_values": sample.na_values}),
                Answer("a reading like any other", {"na_values": na_values}),
            ),
        )
    )
