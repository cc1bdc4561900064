"""Guesses how lines fall into cells: the way that splits most lines alike, into cells that look like data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from joulebook.telemetry.files.errors import UnclearFile, UnusableProfile
from joulebook.telemetry.files.guess.sample import SampleRow, sample_rows
from joulebook.telemetry.files.guess.widths import guess_widths
from joulebook.telemetry.files.profile import BLANK_RUNS
from joulebook.telemetry.files.split import Splitter

_WIDE_GAPS = r"[ ]{2,}|[ ]*\t[ \t]*"
CANDIDATES = (
    *(Splitter(delimiter) for delimiter in (",", ";", "\t", "|")),
    Splitter.from_words("", pattern=BLANK_RUNS),
    Splitter.from_words("", pattern=_WIDE_GAPS),
)
_NAMES = {"tab": "\t", "\\t": "\t", "blank": " ", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}
_PATTERNS = {"blanks": BLANK_RUNS, "gaps": _WIDE_GAPS}
_WORTH_WIDTHS = 0.85

_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_DATA_CELL = re.compile(
    r"""[+-]?[0-9][0-9.,']*(?:[eE][+-]?[0-9]+)?   # a number, however it is marked
    | [+-]?[.,][0-9]+
    | [0-9]{1,4}[-/.][0-9A-Za-z]{1,9}[-/.][0-9]{1,4}(?:[T\ ].{4,20})?   # a date, with a time or without
    | [0-9]{1,2}:[0-9]{2}.{0,12}   # a time of day
    | [^,;\t|]{0,40}   # text that holds no candidate
    """,
    re.VERBOSE,
)


def named_splitter(text: str) -> Splitter:
    """Return the splitter that a person named.

    It is one character or a word such as `tab`, `blanks` for any number of them, `/PATTERN/` for a regular
    expression, or the widths of fixed columns, `10,8,8`. Raises `UnusableProfile`.
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
            f"--delimiter {text!r} cannot be used; it is one character such as , ; | or a word: tab, blank, "
            "blanks for any number of them; or a /regular expression/, or widths such as 10,8,8"
        ) from None


def splitter_name(splitter: Splitter) -> str:
    """Return how lines are split as it is shown to people, and as `named_splitter` takes it."""
    if splitter.widths:
        return ",".join(map(str, splitter.widths))
    if splitter.pattern:
        words = {pattern: word for word, pattern in _PATTERNS.items()}
        return words.get(splitter.pattern, f"/{splitter.pattern}/")
    return {"\t": "tab", " ": "blank"}.get(splitter.delimiter, splitter.delimiter)


def guess_splitter(lines: Sequence[str]) -> tuple[Splitter, str]:
    """Return how lines are split and the reason; raises `UnclearFile` where no candidate makes columns."""
    if lines and (match := _SEPARATOR_LINE.fullmatch(lines[0])):
        return Splitter.from_words(match[1]), "the line sep="
    scores = {splitter: _score(sample_rows(lines, splitter)) for splitter in CANDIDATES}
    best = max(CANDIDATES, key=lambda splitter: scores[splitter])
    if (
        (best.pattern or scores[best] == 0)
        and scores[best] < _WORTH_WIDTHS
        and (widths := guess_widths(lines))
    ):
        return Splitter.from_words("", widths=widths), "blanks stand one below the other"
    if scores[best] == 0:
        shown = next((line for line in lines if line.strip()), "")[:80]
        raise UnclearFile(
            f"no delimiter makes columns of the file's lines, which begin with {shown!r}; "
            "name it with --delimiter"
        )
    return best, "splits the first lines alike"


def _score(rows: Sequence[SampleRow]) -> float:
    """Return 0 for no columns, or up to 1 for equally long rows whose cells all look like data."""
    lengths = Counter(len(row.cells) for row in rows if len(row.cells) > 1)
    if not lengths:
        return 0
    length, _ = max(lengths.items(), key=lambda item: (item[1], item[0]))
    alike = [row for row in rows if len(row.cells) == length]
    cells = [cell for row in alike for cell in row.cells]
    good = sum(_DATA_CELL.fullmatch(cell) is not None for cell in cells)
    return len(alike) / len(rows) * (good / len(cells)) ** 2
