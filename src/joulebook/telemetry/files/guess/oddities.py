"""Finds what stands for a missing value without being a word, and units that stand beside numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from joulebook.telemetry.files.guess.units import is_unit
from joulebook.telemetry.files.numbers import NumberFormat
from joulebook.telemetry.files.table import BLANKS

# What loggers write for "no value": nines, perhaps zeros behind them, Campbell's 6999, ends of integers.
_SENTINEL = re.compile(r"-?(?:9{2,8}0{0,3}|[67]9{3}|32767|32768|65535)(?:[.,](?:0+|9+|25))?")
_AFFIXED = re.compile(
    r"(?P<before>[^\d\s+\-.,'\"]{1,4})? ?[+-]?[\d.,'\u00a0]*\d[\d.,]*(?:[eE][+-]?\d+)?[ \u00a0]?"
    r"(?P<behind>[^\d\s+\-.,'\"].{0,9})?"
)
_MOSTLY = 0.8
_SOME = 0.1
_FEWEST = 4


def guess_sentinels(columns: Sequence[pl.Series], numbers: NumberFormat) -> dict[str, int]:
    """Return numbers that look like marks for a missing value, as they are written, with their count.

    They come again and again in one column, and lie far from all its other values.
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
            elif _is_far(edge, rest):
                found[text] += len(same)
    for text, count in lone.items():
        # A column of nothing else: the same mark in another column, or so many nines below zero.
        if text in found or re.fullmatch(r"-9{3,}.*", text):
            found[text] += count
    return dict(found)


def guess_affixes(columns: Iterable[pl.Series], numbers: NumberFormat) -> dict[str, str]:
    """Return the units and currencies beside numbers, by the name of the column: `$`, `kWh`."""
    affixes: dict[str, str] = {}
    for column in columns:
        (parsed,) = numbers.parse([column])
        text = parsed.malformed_text
        if not len(text) or len(text) < _SOME * (len(column) - len(parsed.na_rows)):
            continue
        words = Counter(_affix(cell) for cell in text.head(2000).to_list())
        word, count = words.most_common(1)[0]
        filled = len(column) - len(parsed.na_rows)
        if word and count >= _MOSTLY * words.total() and (count >= _FEWEST or count >= _MOSTLY * filled):
            affixes[column.name] = word
    return affixes


def _is_far(edge: float, rest: np.ndarray[tuple[int], np.dtype[np.float64]]) -> bool:
    low, high = float(rest.min()), float(rest.max())
    spread = max(high - low, 1.0)
    if edge < 0:
        return low - edge > (spread if edge <= -900 else 3 * spread)
    return edge - high > 10 * spread and abs(edge) >= 900


def _affix(cell: str) -> str:
    match = _AFFIXED.fullmatch(cell)
    if not match or bool(match["before"]) == bool(match["behind"]):
        return ""
    if before := match["before"]:
        return before if (is_unit(before) and not before.isalpha()) or before in _CURRENCIES else ""
    behind = str(match["behind"]).strip()
    return behind if is_unit(behind) else ""


_CURRENCIES = {"EUR", "USD", "GBP", "CHF", "SEK", "NOK", "DKK"}
