"""Finds the columns that measure nothing: text, identifiers, numbers of rows, and constants of the file."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.files.guess.sample import Sample
from joulebook.telemetry.files.table import BLANKS, shown
from joulebook.telemetry.kinds.guesses import guess_kind, says_nothing
from joulebook.telemetry.kinds.written_units import name_words, word_set, written_unit

TEXT = "guessed: text"
"""Beginning of the reason for leaving out a column of text."""

# Words of names. Identifiers: of meters, their points, devices, contracts.
_IDENTIFIERS = word_set(
    """
    id ids uid uuid guid serial sn mac imei mpan mprn ean esi nmi cups pod icp account postcode zip plz
    seriennummer zählernummer zaehlernummer zählpunkt zaehlpunkt messlokation meterid
    """
)
_LAST_OF_IDENTIFIERS = word_set("number no nr num nummer")
_ROW_NUMBERS = word_set("record recno row index idx no nr seq sequence line zeile rn id")
_OF_THE_FILE = word_set("interval intervall resolution period granularity quality qc flag flags version")
_TIMES = word_set("s min h d")

_MOSTLY = 0.8
_REGISTER_DIGITS = 7
"""A constant number of this many digits, without a name or unit of a quantity, is hardly a register."""
_TOO_MANY_DIGITS = 14
"""No register has as many."""


def why_no_metric(sample: Sample, position: int) -> str | None:
    """Return why a column without a mapping is left out, or None if it is imported."""
    cells = sample.cells[f"c{position}"]
    is_named = bool(sample.names[position])
    (parsed,) = sample.numbers.parse([cells])
    malformed = len(parsed.malformed)
    readable = len(cells) - malformed - sum(parsed.na.values())
    if readable == malformed == 0:
        # A number can mark a missing value, such as -9999.
        has_marks = bool(parsed.na_text.str.contains("[0-9]").any())
        return None if is_named or has_marks else "guessed: no name, and empty so far"
    if readable < malformed:
        return f"{TEXT} such as {shown(parsed.malformed_text[0])[:30]!r}"
    has_number = np.isfinite(parsed.value)
    filled = cells.filter(pl.Series(has_number)).str.strip_chars(BLANKS)
    words = [word.lower() for word in name_words(sample.columns[position])] if is_named else []
    unit = sample.affixes.get(cells.name, "")
    if len(filled) > 2 and filled.n_unique() == 1 and (_OF_THE_FILE & set(words) or unit in _TIMES):
        return f"guessed: always {shown(filled[0])[:30]!r}, no measured quantity"
    if not filled.str.contains("^[0-9]+$").all():
        return None
    # A name such as # says as little as none.
    is_nameless = not words and (is_named or position == 0)
    if _counts_rows(parsed.value[has_number]) and (is_nameless or _ROW_NUMBERS & set(words)):
        return "guessed: counts the rows"
    if _is_identifier(filled, sample.columns[position], words):
        return f"guessed: an identifier such as {shown(filled[0])[:30]!r}"
    return None


def _counts_rows(values: NDArray[np.float64]) -> bool:
    steps = np.diff(values)
    return bool(len(steps) > 1 and (steps == 1).mean() >= _MOSTLY)


def _is_identifier(filled: pl.Series, name: str, words: list[str]) -> bool:
    """Return whether whole numbers name something: a few of them, by their column's name or their length."""
    distinct = filled.n_unique()
    if distinct > max(1, len(filled) // 10):
        return False
    if _IDENTIFIERS & set(words) or _LAST_OF_IDENTIFIERS & set(words[-1:]):
        return True
    digits = min(map(len, filled.unique().to_list()))
    has_quantity = bool(written_unit(name)) or not says_nothing(guess_kind(name))
    is_constant = distinct == 1 and len(filled) > 2
    return digits >= _TOO_MANY_DIGITS or (is_constant and digits >= _REGISTER_DIGITS and not has_quantity)
