"""Splits lines into cells: blanks in runs, patterns and fixed widths become one mark between cells."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import polars as pl

from joulebook.telemetry.files.blocks import Block, is_utf8
from joulebook.telemetry.files.budget import Stopwatch, check_budget, current_budget
from joulebook.telemetry.files.errors import Message, UnusableProfile
from joulebook.telemetry.files.profile import BLANK_RUNS, MOST_COLUMNS, WIDE_GAPS, ImportProfile

LONGEST_LINE = 8192
"""Most characters of a line for a pattern given by a person; a longer line is not split."""

LONGEST_LINE_FOR_REPEATS = 2048
"""The same for a pattern with `*`, `+` or `{1,}`: its time can grow with the square of the length."""

MOST_SECONDS = 1.5
"""Processor time allowed for a pattern on the lines of a block; usual patterns take 0.1.

One budget allows it once for the whole file. The last piece of text may take as much again.
"""

_LONGEST_PATTERN = 200
_MOST_REPEATS = 20
_REPEAT = re.compile(r"(?<!\\x)(?<!\\u)(?<!\\U)\{\s*([0-9]*)\s*,?\s*([0-9]*)\s*\}")
_ENDLESS = re.compile(r"[*+]|\{[^}]*,\s*\}")
_OWN = (BLANK_RUNS, WIDE_GAPS)


def check_pattern(pattern: str) -> None:
    """Raise `UnusableProfile` for a pattern that is no expression, matches empty text, or is too slow."""
    repeats = [max(int(least or 0), int(most or 0), 1) for least, most in _REPEAT.findall(pattern[:1000])]
    if len(pattern) <= _LONGEST_PATTERN and math.prod(repeats) > _MOST_REPEATS:
        raise _unusable(
            pattern,
            f" repeats parts too often; the counts in braces may make {_MOST_REPEATS} together: "
            "write + or * instead",
        )
    try:
        empty = len(pattern) > _LONGEST_PATTERN or bool(pl.Series([""]).str.contains(pattern)[0])
    except pl.exceptions.PolarsError as exc:
        raise _unusable(pattern, f" is no regular expression: {exc}") from exc
    if empty:
        raise _unusable(
            pattern,
            f" matches nothing at all, or is too long; write what stands between two cells, such as "
            f"/{BLANK_RUNS}/",
        )


def _unusable(pattern: str, problem: str) -> UnusableProfile:
    message = Message("the pattern in {delimiter:{0!r}}{1}", f"/{pattern[:80]}/", problem)
    return UnusableProfile(message, setting="delimiter")


def marked(texts: Sequence[str], pattern: str, mark: str) -> list[str]:
    """Return the texts with `mark` for each match; raises `UnusableProfile` if that takes too long."""
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
            problem = " takes too long on the lines of this file; write a simpler one, such as "
            raise _unusable(pattern, f"{problem}/{BLANK_RUNS}/")
    return done


def _replaced(texts: Sequence[str], pattern: str, mark: str) -> list[str]:
    return pl.Series("text", texts, dtype=pl.String).str.replace_all(pattern, mark).to_list()


def longest_line(pattern: str) -> int:
    """Return the most characters of a line for this pattern."""
    return LONGEST_LINE_FOR_REPEATS if _ENDLESS.search(pattern) else LONGEST_LINE


def _slices(texts: Iterable[str], longest: int) -> Iterator[list[str]]:
    """Yield the texts in lists of at most `longest` characters; a longer text is a list of its own."""
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


MARK = "\x1f"
"""ASCII's unit separator: the delimiter of lines split by a pattern or by widths."""

_NO_QUOTE = "\x1e"
"""The quote of cells cut by width: a `"` is then an ordinary character."""

# Matched only at the beginning of a run of blanks: matching at each blank takes the square of the run.
_EDGES = re.compile(rb"(?m)(?<![ \t])[ \t]++(?=\r?$)|^[ \t]+")
_RUNS = re.compile(rb"[ \t]+")


@dataclass(frozen=True)
class Splitter:
    """How lines are split: at `delimiter`; `prepare` inserts it for patterns and widths."""

    delimiter: str
    quote: str = '"'
    pattern: str = ""
    widths: tuple[int, ...] = ()

    @classmethod
    def of(cls, profile: ImportProfile) -> Splitter:
        """Return the splitter of a profile; raises `UnusableProfile`."""
        return cls.from_words(
            profile.delimiter, quote=profile.quote, pattern=profile.delimiter_pattern, widths=profile.widths
        )

    @classmethod
    def from_words(
        cls, delimiter: str, *, quote: str = '"', pattern: str = "", widths: Sequence[int] = ()
    ) -> Splitter:
        """Return a splitter; raises `UnusableProfile` for settings that cannot split lines."""
        if quote != _NO_QUOTE and (len(quote) != 1 or not quote.isascii() or not quote.isprintable()):
            raise UnusableProfile(f'quote {quote!r} cannot be used; it is one character such as "')
        if pattern and widths:
            raise UnusableProfile("a profile has a delimiter pattern or widths, not both")
        if widths:
            if not all(0 < width <= 10_000 for width in widths) or len(widths) > MOST_COLUMNS:
                raise UnusableProfile(
                    f"widths of columns are 1 to 10,000 characters, not {list(widths)[:20]}"
                )
            return cls(MARK, _NO_QUOTE, widths=tuple(widths))
        if pattern:
            check_pattern(pattern)
            return cls(MARK, quote, pattern=pattern)
        if len(delimiter) != 1 or not delimiter.isascii() or delimiter.isalnum() or delimiter in '"\r\n\0.+-':
            raise UnusableProfile(
                f"delimiter {delimiter!r} cannot be used; it is one character such as , ; or |"
            )
        return cls(delimiter, quote)

    @property
    def is_prepared(self) -> bool:
        """Whether lines are rewritten before they are split; then no cell spans lines."""
        return bool(self.pattern or self.widths)

    def prepare(self, block: Block) -> Block:
        """Return a block of the same lines, ready to be split at `delimiter`."""
        if self.is_prepared:
            data = self._marked(block.data.replace(MARK.encode(), b" ").replace(_NO_QUOTE.encode(), b" "))
        else:
            data = _without_formula_signs(block.data, self.delimiter)
        return block if data is block.data else Block(data, block.first_line, block.is_last, block.offset)

    def _marked(self, data: bytes) -> bytes:
        if self.pattern == BLANK_RUNS and self.quote.encode() not in data:
            return _RUNS.sub(MARK.encode(), _EDGES.sub(b"", data))
        lines = data.split(b"\n")
        is_text = [is_utf8(line) for line in lines]
        # A line with bytes that are no text is unchanged: it is rejected later.
        texts = [line.decode() if good else "" for line, good in zip(lines, is_text, strict=True)]
        column = pl.Series("line", texts, dtype=pl.String).str.strip_suffix("\r")
        split = self._by_widths(column) if self.widths else self._by_pattern(column)
        lines_marked = [
            text.encode() if good else line
            for line, text, good in zip(lines, split.to_list(), is_text, strict=True)
        ]
        return b"\n".join(lines_marked)

    def _by_pattern(self, lines: pl.Series) -> pl.Series:
        is_blank = self.pattern in (BLANK_RUNS, WIDE_GAPS)
        texts = (lines.str.strip_chars(" \t") if is_blank else lines).to_list()
        # Text between quotes is unchanged: those parts have odd indexes after splitting.
        parts = [text.split(self.quote) if text.count(self.quote) % 2 == 0 else [text] for text in texts]
        between = iter(marked([part for each in parts for part in each[::2]], self.pattern, MARK))
        for each in parts:
            each[::2] = islice(between, len(each[::2]))
        return pl.Series([self.quote.join(each) for each in parts], dtype=pl.String)

    def _by_widths(self, lines: pl.Series) -> pl.Series:
        cells = []
        begin = 0
        for width in self.widths:
            cells.append(lines.str.slice(begin, width).str.strip_chars(" \t"))
            begin += width
        rest = lines.str.slice(begin).str.strip_chars(" \t")
        frame = pl.DataFrame([cell.alias(str(at)) for at, cell in enumerate(cells)])
        joined = frame.select(pl.concat_str(pl.all(), separator=MARK)).to_series()
        with_rest = pl.Series([MARK + text if text else "" for text in rest.to_list()], dtype=pl.String)
        is_blank = lines.str.strip_chars(" \t\r") == ""
        whole = pl.select(pl.concat_str(pl.lit(joined), pl.lit(with_rest))).to_series()
        return pl.select(pl.when(pl.lit(is_blank)).then(pl.lit("")).otherwise(pl.lit(whole))).to_series()


def _without_formula_signs(data: bytes, delimiter: str) -> bytes:
    """Remove the sign of cells written as `="…"` to keep spreadsheets from changing them."""
    if b"=" not in data or b'="' not in data:
        return data
    mark = re.escape(delimiter.encode())
    data = re.sub(rb"(?m)(^|" + mark + rb')=(?="[^"\n]*"(?:' + mark + rb"|\r?$))", rb"\1", data)
    return re.sub(rb"(?m)(^|" + mark + rb')"=""([^"\n]*)"""(?=' + mark + rb"|\r?$)", rb'\1"\2"', data)
