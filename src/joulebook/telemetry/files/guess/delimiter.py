"""Guesses the delimiter: the one that splits most lines alike, into cells that look like data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from joulebook.telemetry.files.errors import UnclearFile, UnusableProfile
from joulebook.telemetry.files.guess.sample import SampleRow, sample_rows

CANDIDATES = (",", ";", "\t", "|", " ")
_NAMES = {"tab": "\t", "\\t": "\t", "blank": " ", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}

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


def named_delimiter(text: str) -> str:
    """Return the delimiter that a person named: one character, or a word such as `tab`."""
    delimiter = _NAMES.get(text.lower(), text)
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter.isalnum() or delimiter in '"\r\n\0.+-':
        raise UnusableProfile(
            f"--delimiter {text!r} cannot be used; it is one character such as , ; | or a word: tab, blank"
        )
    return delimiter


def delimiter_name(delimiter: str) -> str:
    """Return the delimiter as it is shown to people."""
    return {"\t": "tab", " ": "blank"}.get(delimiter, delimiter)


def guess_delimiter(lines: Sequence[str]) -> tuple[str, str]:
    """Return the delimiter and the reason; raises `UnclearFile` where no candidate makes columns."""
    if lines and (match := _SEPARATOR_LINE.fullmatch(lines[0])):
        return match[1], "the line sep="
    scores = {delimiter: _score(sample_rows(lines, delimiter)) for delimiter in CANDIDATES}
    best = max(CANDIDATES, key=lambda delimiter: scores[delimiter])
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
