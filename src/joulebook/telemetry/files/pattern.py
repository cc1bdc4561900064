"""Delimiters that are regular expressions: checked, and applied for a bounded time whatever lines hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from joulebook.telemetry.files.budget import Stopwatch, check_budget, current_budget
from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.profile import BLANK_RUNS, WIDE_GAPS

LONGEST_LINE = 8192
"""Characters of a line that an expression of a person's own is applied to; a longer one is not split."""

LONGEST_LINE_FOR_REPEATS = 2048
"""The same for one with `*`, `+` or `{1,}`: to find where that matches can take the square of the length."""

MOST_SECONDS = 1.5
"""Processor time that may be spent on the lines of a block, where usual expressions take 0.1.

It is spent once for all that is read under one budget. The last piece of text may take as much again.
"""

_LONGEST_PATTERN = 200
_MOST_REPEATS = 20
_REPEAT = re.compile(r"(?<!\\x)(?<!\\u)(?<!\\U)\{\s*([0-9]*)\s*,?\s*([0-9]*)\s*\}")
_ENDLESS = re.compile(r"[*+]|\{[^}]*,\s*\}")
_OWN = (BLANK_RUNS, WIDE_GAPS)


def check_pattern(pattern: str) -> None:
    """Raise `UnusableProfile` for what is no expression, matches nothing, or can only be slow."""
    repeats = [max(int(least or 0), int(most or 0), 1) for least, most in _REPEAT.findall(pattern[:1000])]
    if len(pattern) <= _LONGEST_PATTERN and math.prod(repeats) > _MOST_REPEATS:
        raise UnusableProfile(
            f"the delimiter pattern {pattern[:80]!r} repeats parts too often; "
            f"the counts in braces may make {_MOST_REPEATS} together: write + or * instead",
            setting="delimiter",
        )
    try:
        empty = len(pattern) > _LONGEST_PATTERN or bool(pl.Series([""]).str.contains(pattern)[0])
    except pl.exceptions.PolarsError as exc:
        raise UnusableProfile(
            f"the delimiter pattern {pattern[:80]!r} is no regular expression: {exc}", setting="delimiter"
        ) from exc
    if empty:
        raise UnusableProfile(
            f"the delimiter pattern {pattern[:80]!r} matches nothing at all, or is too long; "
            f"write what stands between two cells, such as {BLANK_RUNS}",
            setting="delimiter",
        )


def marked(texts: Sequence[str], pattern: str, mark: str) -> list[str]:
    """Return the texts with `mark` in place of each match; raises `UnusableProfile` where that takes long."""
    if pattern in _OWN:
        return _replaced(texts, pattern, mark)
    done: list[str] = []
    longest = longest_line(pattern)
    budget = current_budget()
    before = budget.pattern_seconds if budget is not None else 0.0
    stopwatch = Stopwatch()
    for some in _slices(texts, longest):
        if len(some) == 1 and len(some[0]) > longest:
            done.append(some[0])
            continue
        check_budget()
        done += _replaced(some, pattern, mark)
        spent = before + stopwatch.seconds
        if budget is not None:
            budget.pattern_seconds = spent
        if spent > MOST_SECONDS:
            raise UnusableProfile(
                f"the delimiter pattern {pattern[:80]!r} takes too long on the lines of this file; "
                f"write a simpler one, such as {BLANK_RUNS}",
                setting="delimiter",
            )
    return done


def _replaced(texts: Sequence[str], pattern: str, mark: str) -> list[str]:
    return pl.Series("text", texts, dtype=pl.String).str.replace_all(pattern, mark).to_list()


def longest_line(pattern: str) -> int:
    """Return how many characters a line may have that the expression is applied to."""
    return LONGEST_LINE_FOR_REPEATS if _ENDLESS.search(pattern) else LONGEST_LINE


def _slices(texts: Iterable[str], longest: int) -> Iterator[list[str]]:
    """Yield the texts in lists of at most `longest` characters, each that is too long by itself."""
    some: list[str] = []
    size = 0
    for text in texts:
        if some and size + len(text) > longest:
            yield some
            some, size = [], 0
        some.append(text)
        size += len(text) + 1
    if some:
        yield some
