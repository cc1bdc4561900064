"""Line protocol whose lines are all plain, taken apart a column at a time.

Plain is what most senders write most of the time: no quote, backslash, comment, tab or carriage return, a
time on every line, and every field a number or a boolean. A body that is anything else is left to those
who read it line by line (`line_protocol`); what is read here is read as there, several times faster.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TypeVar, cast

from joulebook.ingest.line_syntax import plain_number
from joulebook.telemetry.readings import LARGEST_VALUE

T = TypeVar("T")

LONGEST_PLAIN = 1 << 16
"""Longer lines are for the slow path, which stops at too many fields before it holds them all."""

_ODD = (b'"', b"\\", b"#", b"\t", b"\r")
_DIGITS = b"0123456789"
_DECIMAL = _DIGITS + b".-\n"
_MOST_DIGITS = 19


@dataclass(frozen=True)
class PlainLines:
    """The fields of plain lines in columns of equal length, one entry a field, in the body's order.

    `head` is a measurement with its tags and `key` a field's key, both as they were written; `stamp` is the
    time in the sender's precision; `line` counts lines from 0.
    """

    head: list[bytes]
    key: list[bytes]
    value: list[float]
    stamp: list[int]
    line: list[int]


def read_plain_lines(body: bytes) -> PlainLines | None:
    """Return the fields of a body, or None where a line of it is not plain."""
    if any(odd in body for odd in _ODD):
        return None
    lines = body.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if set(map(bytes.count, lines, repeat(b" "))) != {2} or max(map(len, lines)) > LONGEST_PLAIN:
        return None
    words = b" ".join(lines).split(b" ")
    heads, fields = words[0::3], words[1::3]
    stamps = _stamps(words[2::3])
    pairs = b",".join(fields).split(b",")
    if stamps is None or not all(heads) or set(map(bytes.count, pairs, repeat(b"="))) != {1}:
        return None
    words = b"=".join(pairs).split(b"=")
    keys, texts = words[0::2], words[1::2]
    value = _values(texts)
    if value is None or not all(keys):
        return None
    number = list(range(len(lines)))
    if len(pairs) == len(lines):
        return PlainLines(heads, keys, value, stamps, number)
    counts = [text.count(b",") + 1 for text in fields]
    return PlainLines(
        head=_spread(heads, counts),
        key=keys,
        value=value,
        stamp=_spread(stamps, counts),
        line=_spread(number, counts),
    )


def _spread(column: Iterable[T], counts: list[int]) -> list[T]:
    """Repeat each entry of a column of lines as often as its line has fields."""
    return list(chain.from_iterable(map(repeat, column, counts)))


def _stamps(texts: list[bytes]) -> list[int] | None:
    """Return times, or None where one is not of as many digits as a time may have."""
    if b"".join(texts).translate(None, _DIGITS) or max(map(len, texts)) > _MOST_DIGITS or not all(texts):
        return None
    return list(map(int, texts))


def _values(texts: list[bytes]) -> list[float] | None:
    """Return the values of fields, or None where one is no number or boolean that may be stored."""
    if b"\n".join(texts).translate(None, _DECIMAL):
        # Exponents, whole numbers with their letter, booleans: or what is none of them.
        found = list(map(plain_number, texts))
        return None if None in found else cast("list[float]", found)
    try:
        value = list(map(float, texts))
    except ValueError:
        return None
    return value if min(value) >= -LARGEST_VALUE and max(value) <= LARGEST_VALUE else None
