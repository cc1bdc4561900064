"""Guesses how lines are split: most lines should have equally many cells, and the cells look like data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import polars as pl

from joulebook.telemetry.files.errors import Message, UnclearFile, UnusableProfile
from joulebook.telemetry.files.guess.sample import Sample, SampleRow, sample_rows
from joulebook.telemetry.files.profile import BLANK_RUNS, WIDE_GAPS
from joulebook.telemetry.files.split import Splitter
from joulebook.telemetry.files.times import TimeFormat, parse_times

_FEWEST_LINES = 5
_LONGEST_LINE = 5000


def guess_widths(lines: Sequence[str]) -> tuple[int, ...]:
    """Return the widths of the columns of the sample's lines, or nothing if they do not line up."""
    table = [line.rstrip() for line in lines if line.strip() and any(char.isdigit() for char in line)]
    if (
        len(table) < _FEWEST_LINES
        or max(map(len, table)) > _LONGEST_LINE
        or any("\t" in line for line in table)
    ):
        return ()
    width = int(np.median([len(line) for line in table]))
    alike = [line.ljust(width)[:width] for line in table if abs(len(line) - width) <= width // 2]
    if len(alike) < max(_FEWEST_LINES, len(table) * 0.8):
        return ()
    filled = np.array([[char != " " for char in line] for line in alike])
    is_gap = filled.mean(axis=0) <= 0.01
    # A column begins with the first character after a gap.
    begins = [at for at in range(1, width) if is_gap[at - 1] and not is_gap[at]]
    if len(begins) < 1:
        return ()
    # Numbers are aligned to the right: a column ends with the last character before the next gap.
    ends = [at for at in range(1, width) if is_gap[at] and not is_gap[at - 1]] + [width]
    ends = [end for end in ends if end > 0]
    edges = [0, *ends]
    widths = tuple(int(end - begin) for begin, end in pairwise(edges))
    return (*widths[:-1], max(widths[-1], max(map(len, table)) - edges[-2]))


_GAPS = Splitter.from_words("", pattern=WIDE_GAPS)
CANDIDATES = (
    *(Splitter(delimiter) for delimiter in (",", ";", "\t", "|")),
    Splitter.from_words("", pattern=BLANK_RUNS),
    _GAPS,
)
_NAMES = {"tab": "\t", "\\t": "\t", "blank": " ", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}
_PATTERNS = {"blanks": BLANK_RUNS, "gaps": WIDE_GAPS}
_WORTH_WIDTHS = 0.85
_AS_GOOD = 0.9
_TIDY = 0.6

SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_CLOCK = (
    r"[0-9]{1,2}[ABab]?:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?(?: ?[apAP]\.?[mM]\.?)?(?: ?[ABab])?"
    r"(?: ?(?:[A-Z]{1,4}|[+-][0-9]{2}:?[0-9]{0,2}))?"
)
_DATE = (
    r"(?:(?:[^\W\d_]{2,3}\.?,? )?[0-9]{1,4}[-/.][0-9A-Za-z]{1,9}[-/.][0-9]{1,4}"
    r"|[^\W\d_]{3,10}\.? [0-9]{1,2},? [0-9]{4}|[0-9]{1,2} [^\W\d_]{3,10}\.? [0-9]{4})"
)
_PACKED = r"(?:19|20)[0-9]{6}[T ][0-9]{4,6}"
_INSTANT = rf"(?:{_DATE}(?:(?:T|,? +){_CLOCK})?|{_PACKED}|{_CLOCK})"
_DATA_CELL = re.compile(
    rf"{_INSTANT}(?: ?(?:[-–/]|to|bis) ?{_INSTANT})?"
    r"|[$€£]? ?[+-]?[0-9][0-9.,']*(?:[eE][+-]?[0-9]+)?(?: ?[%°A-Za-z€$]{1,5})?"
    r"|[+-]?[0-9]{1,3}(?:[ \u00a0][0-9]{3})+(?:[.,][0-9]+)?"
    r"|[+-]?[.,][0-9]+"
)
"""A time (or two), or a number with any marks."""

_TEXT_CELL = re.compile(r"[^,;\t|]{0,40}")
"""Text without any candidate."""


def named_splitter(text: str) -> Splitter:
    """Return the splitter of a given delimiter.

    It is one character, or a word such as `tab`, or `blanks` for any number of them, or `/PATTERN/` for a
    regular expression, or the widths of fixed columns, `10,8,8`. Raises `UnusableProfile`.
    """
    word = text.strip().lower()
    if word in _PATTERNS:
        return Splitter.from_words("", pattern=_PATTERNS[word])
    if len(text) > 2 and text.startswith("/") and text.endswith("/"):
        return Splitter.from_words("", pattern=text[1:-1])
    if re.fullmatch(r"[0-9]+(?:\s*,\s*[0-9]+)+", text.strip()):
        return Splitter.from_words("", widths=[int(width) for width in text.split(",")])
    delimiter = _NAMES.get(text.lower(), text)
    try:
        return Splitter.from_words(delimiter)
    except UnusableProfile:
        raise UnusableProfile(
            Message(
                "{delimiter:{0!r}} cannot be used; it is one character such as , ; | or a word: tab, blank, "
                "blanks for any number of them; or a /regular expression/, or widths such as 10,8,8",
                text,
            ),
            setting="delimiter",
        ) from None


def splitter_name(splitter: Splitter) -> str:
    """Return the delimiter in words for people and for `named_splitter`."""
    if splitter.widths:
        return ",".join(map(str, splitter.widths))
    if splitter.pattern:
        words = {pattern: word for word, pattern in _PATTERNS.items()}
        return words.get(splitter.pattern, f"/{splitter.pattern}/")
    return {"\t": "tab", " ": "blank"}.get(splitter.delimiter, splitter.delimiter)


def find_splitter(sample: Sample) -> None:
    """Find how lines are split into cells. Raises `UnclearFile` and `UnusableProfile`."""
    given = sample.given
    if given.delimiter is not None:
        sample.splitter, reason = named_splitter(given.delimiter), ""
    else:
        sample.splitter, reason = _guess_splitter(sample.lines, given.time_formats)
    name = splitter_name(sample.splitter)
    sample.note("delimiter", name, reason, is_given=given.delimiter is not None)


def _guess_splitter(lines: Sequence[str], formats: Sequence[str] = ()) -> tuple[Splitter, str]:
    """Return how lines are split and the reason; raises `UnclearFile` if no candidate makes columns.

    With given time `formats`, cells must fit them after splitting.
    """
    if lines and (match := SEPARATOR_LINE.fullmatch(lines[0])):
        return Splitter.from_words(match[1]), "the line sep="
    scores = {splitter: _score(sample_rows(lines, splitter)) for splitter in CANDIDATES}
    fitting = [splitter for splitter in CANDIDATES if formats and _holds_times(lines, splitter, formats)]
    if fitting:
        scores = {splitter: scores[splitter] if splitter in fitting else 0 for splitter in CANDIDATES}
    best = max(CANDIDATES, key=lambda splitter: scores[splitter])
    plain = max((s for s in CANDIDATES if not s.pattern), key=lambda splitter: scores[splitter])
    if best.pattern and scores[plain] >= _AS_GOOD * scores[best]:
        best = plain  # Splitting its cells at blanks only separates date and time: it scores no worse.
    if best.pattern == BLANK_RUNS:
        last = sample_rows(lines, best)[-20:]
        dashes = sum(cell in {"-", "–", "to", "bis"} for row in last for cell in row.cells)
        # A column of dashes alone: blanks have split `10:00 - 11:00`.
        if last and dashes >= len(last):
            best = max(
                best,
                _GAPS,
                key=lambda splitter: (_score(sample_rows(lines, splitter)) > _TIDY, splitter == _GAPS),
            )
    rows = sample_rows(lines, best)
    counts = Counter(len(row.cells) for row in rows)
    is_uneven = best.pattern and (not rows or max(counts.values()) / len(rows) < _WORTH_WIDTHS)
    if (is_uneven or scores[best] == 0) and (widths := guess_widths(lines)):
        return Splitter.from_words("", widths=widths), "blanks line up"
    if scores[best] == 0:
        shown = next((line for line in lines if line.strip()), "")[:80]
        raise UnclearFile(
            Message(
                "no delimiter makes columns of the file's lines, which begin with {0!r}; "
                "name it with {delimiter}",
                shown,
            )
        )
    return best, "splits the first lines alike"


def _score(rows: Sequence[SampleRow]) -> float:
    """Return 0 for no columns, up to 1 for equally long rows with cells that all look like data."""
    lengths = Counter(len(row.cells) for row in rows if len(row.cells) > 1)
    if not lengths:
        return 0
    length, _ = max(lengths.items(), key=lambda item: (item[1], item[0]))
    alike = [row for row in rows if len(row.cells) == length]
    cells = [cell for row in alike for cell in row.cells]
    good = sum(
        1.0 if not cell or _DATA_CELL.fullmatch(cell) else 0.7 if _TEXT_CELL.fullmatch(cell) else 0.0
        for cell in cells
    )
    return len(alike) / len(rows) * (good / len(cells)) ** 2


def _holds_times(lines: Sequence[str], splitter: Splitter, formats: Sequence[str]) -> bool:
    """Return whether a cell, or adjacent cells, of half of the rows fit a time format."""
    rows = sample_rows(lines, splitter)
    parsers = tuple(TimeFormat(text) for text in formats)
    cells = [cell for row in rows for cell in row.cells]
    for count in (2, 3):
        cells += [" ".join(row.cells[at : at + count]) for row in rows for at in range(len(row.cells))]
    return bool(parse_times(pl.Series(cells, dtype=pl.String), parsers).fits.sum() * 2 >= len(rows))
