"""The syntax of InfluxDB's line protocol: the end of a line, its parts, and their values.

The reference is InfluxDB's own parser. Where that is too lenient (text after a closing quote, a quote never
closed), a line is refused: it could otherwise swallow its neighbours.
"""

from __future__ import annotations

import itertools
import re

from joulebook.telemetry.readings import LARGEST_VALUE

_TRUE = frozenset({b"t", b"T", b"true", b"True", b"TRUE"})
_FALSE = frozenset({b"f", b"F", b"false", b"False", b"FALSE"})
_FLOAT = re.compile(rb"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INTEGER = re.compile(rb"(-?[0-9]{1,20})i")
_UNSIGNED = re.compile(rb"([0-9]{1,20})u")

# Blank lines, comments, and blanks before a line. Possessive: a body of nothing else stays cheap.
_NOTHING = re.compile(rb"(?:[ \t\r\n]++|#[^\n]*+)*+")
# Outside strings a backslash only escapes the separator after it.
_HEAD = re.compile(rb"(?:[^ \n]|(?<=\\) )++")
_TAG = re.compile(rb"(?<!\\),")
_EQUALS = re.compile(rb"(?<!\\)=")
_FIELD = re.compile(rb"((?:[^\\ ,=\n]|\\[^\n])++)=")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"(?=[ ,\r\n]|\Z)', re.DOTALL)
_BARE = re.compile(rb"[^ ,\r\n]++")
_END = re.compile(rb"[ \t]*+(-?0{0,99}[0-9]{1,19})?[ \t\r]*+(?=\n|\Z)")
_BLANKS = re.compile(rb" [ \t]*+")
_ESCAPED_IN_MEASUREMENT = re.compile(r'\\([,=" ])')
_ESCAPED_IN_TAG = re.compile(r"\\([,= ])")
_ESCAPED_IN_FIELD = re.compile(r'\\([,="\\ ])')

_LONGEST_HEAD = 65_535
"""Bytes of a measurement and its tags: InfluxDB's own limit."""

Fields = list[tuple[bytes, float]]
"""Raw keys of a line's fields with their values, without text fields."""


class BadLine(Exception):
    """The whole line is refused; `code` is for the answer."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class TooManyFields(Exception):
    """A line has more fields than it may."""


def skip_nothing(body: bytes, position: int) -> int:
    """Return the offset after blank lines, comments, and blanks before a line."""
    found = _NOTHING.match(body, position)
    return found.end() if found else position


class LineScan:
    """Reads one line of the full syntax.

    `position` is the offset after its parsed part, `texts` are the raw keys of its text fields.
    """

    def __init__(self, body: bytes, start: int) -> None:
        self.body = body
        self.position = start
        self.texts: list[bytes] = []

    def line(self, most_fields: int) -> tuple[bytes, Fields, bytes | None]:
        """Return the head, the numeric fields, and the time if there is one.

        Raises `BadLine` and `TooManyFields`.
        """
        head = self.take(_HEAD, "a measurement").group()
        self.take(_BLANKS, "a blank and fields after the measurement and its tags")
        fields: Fields = []
        problem: BadLine | None = None
        if len(head) > _LONGEST_HEAD:
            problem = BadLine("line_invalid", f"measurement and tags have more than {_LONGEST_HEAD} bytes")
        for count in itertools.count(1):
            if count > most_fields:
                raise TooManyFields(f"more than {most_fields} fields in one line")
            key = self.take(_FIELD, "a field such as name=1.5").group(1)
            if self.peek() == b'"':
                self.take(_STRING, "a closing quote and then a comma, a blank or the line's end")
                self.texts.append(key)
            else:
                text = self.take(_BARE, "a value of the field").group()
                try:
                    fields.append((key, number_of_text(text)))
                except BadLine as exc:
                    # Continue: later strings may hold line ends.
                    problem = problem or exc
            if self.peek() != b",":
                break
            self.position += 1
        stamp: bytes | None = self.take(_END, "a time in whole numbers, or the end of the line").group(1)
        if problem is not None:
            raise problem
        return head, fields, stamp

    def peek(self) -> bytes:
        """Return the byte at `position`, or nothing at the body's end."""
        return self.body[self.position : self.position + 1]

    def take(self, pattern: re.Pattern[bytes], wanted: str) -> re.Match[bytes]:
        """Match the pattern here and move after it. Raises `BadLine`."""
        found = pattern.match(self.body, self.position)
        if found is None:
            rest = self.body[self.position : self.position + 40].partition(b"\n")[0]
            raise BadLine("line_invalid", f"expected {wanted}, found {_shown(rest)}")
        self.position = found.end()
        return found


def plain_number(text: bytes) -> float | None:
    """Return the value of a field's text, or None unless it is a storable number or a boolean."""
    last = text[-1:]
    if last.isdigit() or last == b".":
        # float() also accepts blanks, signs, underscores and words, invalid here.
        if b"_" in text or text[0] not in b"-.0123456789":
            return None
        try:
            value = float(text)
        except ValueError:
            return None
        return value if -LARGEST_VALUE <= value <= LARGEST_VALUE else None
    if last == b"i" and text[:-1].isdigit() and len(text) <= 19:
        return float(int(text[:-1]))
    try:
        return number_of_text(text)
    except BadLine:
        return None


def number_of_text(text: bytes) -> float:
    """Return the value of a field without quotes. Raises `BadLine`."""
    if _FLOAT.fullmatch(text):
        value = float(text)
        if not -LARGEST_VALUE <= value <= LARGEST_VALUE:
            raise BadLine("value_not_finite", f"{_shown(text)} is too large for a reading")
        return value
    if (integer := _INTEGER.fullmatch(text)) and -(2**63) <= int(integer[1]) < 2**63:
        return float(int(integer[1]))
    if (unsigned := _UNSIGNED.fullmatch(text)) and int(unsigned[1]) < 2**64:
        return float(int(unsigned[1]))
    if text in _TRUE:
        return 1.0
    if text in _FALSE:
        return 0.0
    if text.lower().lstrip(b"+-") in {b"nan", b"inf", b"infinity"}:
        raise BadLine("value_not_finite", f"{_shown(text)} is no finite number")
    raise BadLine("line_invalid", f"{_shown(text)} is no number, boolean or quoted text")


def read_head(raw: bytes) -> tuple[str, dict[str, str]]:
    """Return the measurement and the tags. Raises `BadLine`."""
    measurement, *pairs = _TAG.split(raw)
    if not measurement:
        raise BadLine("line_invalid", "the measurement is missing")
    tags: dict[str, str] = {}
    for pair in pairs:
        equals = _EQUALS.search(pair)
        # A value may begin with an unescaped equals sign, and hold no other one.
        if (
            not equals
            or not equals.start()
            or len(pair) == equals.end()
            or _EQUALS.search(pair, equals.end() + 1)
        ):
            raise BadLine("line_invalid", f"{_shown(pair)} is no tag such as name=text")
        parts = pair[: equals.start()], pair[equals.end() :]
        key, value = (_ESCAPED_IN_TAG.sub(r"\1", _text(part)) for part in parts)
        if key in tags:
            raise BadLine("line_invalid", f"tag {key[:80]!r} is there twice")
        tags[key] = value
    return _ESCAPED_IN_MEASUREMENT.sub(r"\1", _text(measurement)), tags


def field_name(key: bytes) -> str | None:
    """Return a field's name without its escapes, or None if it is not UTF-8."""
    try:
        return _ESCAPED_IN_FIELD.sub(r"\1", key.decode())
    except UnicodeDecodeError:
        return None


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as exc:
        raise BadLine("line_invalid", f"{_shown(raw)} is not UTF-8") from exc


def _shown(raw: bytes) -> str:
    """Return bytes for a message: at most 40 of them, with unprintable ones escaped."""
    return repr(raw[:40].decode("utf-8", "backslashreplace")) if raw else "nothing"
