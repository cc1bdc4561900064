"""Reads plain lines of line protocol, without quotes and backslashes, by columns: the fast path.

It accepts a body only if the slow path, for the whole syntax, would read it the same way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TypeVar, cast

from joulebook.telemetry.line_protocol.syntax import plain_number
from joulebook.telemetry.readings import LARGEST_VALUE

T = TypeVar("T")

LONGEST_PLAIN = 1 << 16
"""Longer lines take the slow path: it stops at too many fields before it holds all of them."""

_ODD = (b'"', b"\\", b"#", b"\t", b"\r")
_DIGITS = b"0123456789"
_DECIMAL = _DIGITS + b".-\n"
_MOST_DIGITS = 19


@dataclass(frozen=True)
class PlainLines:
    """The fields of plain lines in columns of equal length, one entry a field, in the body's order.

    `head` is a measurement with its tags and `key` a field's key, both as written; `stamp` is the time in the
    sender's precision; `line` counts lines from 0.
    """

    head: list[bytes]
    key: list[bytes]
    value: list[float]
    stamp: list[int]
    line: list[int]


def read_plain_lines(body: bytes) -> PlainLines | None:
    """Return the fields of a body, or None if any line is not plain."""
    if any(odd in body for odd in _ODD):
        return None
    lines = body.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if set(map(bytes.count, lines, repeat(b" "))) != {2} or max(map(len, lines)) > LONGEST_PLAIN:
        return None
    words = b" ".join(lines).split(b" ")
    heads, fields, stamps = words[0::3], words[1::3], words[2::3]
    # Digits only, and not too many of them.
    if b"".join(stamps).translate(None, _DIGITS) or max(map(len, stamps)) > _MOST_DIGITS or not all(stamps):
        return None
    stamp = list(map(int, stamps))
    pairs = b",".join(fields).split(b",")
    if not all(heads) or set(map(bytes.count, pairs, repeat(b"="))) != {1}:
        return None
    words = b"=".join(pairs).split(b"=")
    keys, texts = words[0::2], words[1::2]
    value = _values(texts)
    if value is None or not all(keys):
        return None
    number = list(range(len(lines)))
    if len(pairs) == len(lines):
        return PlainLines(heads, keys, value, stamp, number)
    counts = [text.count(b",") + 1 for text in fields]
    return PlainLines(
        head=_spread(heads, counts),
        key=keys,
        value=value,
        stamp=_spread(stamp, counts),
        line=_spread(number, counts),
    )


def _spread(column: Iterable[T], counts: list[int]) -> list[T]:
    """Repeat each entry of a column of lines as often as its line has fields."""
    return list(chain.from_iterable(map(repeat, column, counts)))


def _values(texts: list[bytes]) -> list[float] | None:
    """Return the values of fields, or None if one is not a storable number or boolean."""
    if b"\n".join(texts).translate(None, _DECIMAL):
        # Exponents, whole numbers with their letter, booleans, or an error.
        found = list(map(plain_number, texts))
        return None if None in found else cast("list[float]", found)
    try:
        value = list(map(float, texts))
    except ValueError:
        return None
    return value if min(value) >= -LARGEST_VALUE and max(value) <= LARGEST_VALUE else None
