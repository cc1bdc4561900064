"""JSON and JSON lines: a list of records anywhere in a document becomes a table of text.

A record is an object, whose nested fields become columns `a.b`, or a list such as `[time, value]`. Equally
long lists side by side are columns, and an object with times as its keys is a table too. A list is named by
the keys that lead to it (`data.readings`); lists on the way count as one. Fields of an object with a list in
it, such as a sensor's name, stand in each row of the list. Numbers keep the digits of the file.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import Message, UnreadableFile
from joulebook.telemetry.files.formats.csv_chunks import CsvChunks
from joulebook.telemetry.files.formats.format import Content, Format
from joulebook.telemetry.files.table import shown
from joulebook.telemetry.kinds.units import is_known_unit
from joulebook.time_zones import time_zone_names

MOST_AT_ONCE = 16 << 20
"""Most characters of a document, or of one element of a longer document's list, read at once."""

SURVEYED = 4 << 20
"""The characters at the beginning of a longer document that its lists and columns are taken from."""

_MOST_FACTS = 1000
_LONGEST_SCALAR = 1 << 20
_BEGINNING = re.compile(r"\s*(?:\{\s*[\"}]|\[\s*(?:[\[{\"\]]|-?[0-9]|true|false|null))")
_TIME = re.compile(
    r"(?:1[0-9]{9}|[0-9]{4}-?[01][0-9]-?[0-3][0-9](?:$|[T _])|[0-3]?[0-9][./][0-3]?[0-9][./][0-9]{2,4})"
    r"[0-9TZ:+\-., _]*(?:[AaPp][Mm])?"
)
"""A date with or without a clock time, or seconds (or parts of a second) since 1970."""

_LOCAL = re.compile(r"[^+Z]*?[T ][0-9]{1,2}:[0-9]{2}(?::[0-9.]+)?")
"""A clock time without an offset behind it."""

_GENERAL_NAMES = frozenset(
    {"", "data", "values", "datapoints", "points", "rows", "readings", "items", "result"}
)
_ZONE_NAMES = frozenset({"timezone", "time_zone", "timeZone", "tz"})
_BLANKS = re.compile(r"[ \t\r\n]*")
_LINE_BREAKS = re.compile(r"[\r\n\x0b\x0c\x85\u2028\u2029]+")
_DECODER = json.JSONDecoder(object_pairs_hook=tuple, parse_int=str, parse_float=str, parse_constant=str)
_WHOLE = "(the whole file)"
"""The name of a list that is the document itself."""

Object = tuple[tuple[str, Any], ...]
"""A JSON object: its pairs in order, as a name may be there twice."""

Row = list[tuple[str, str | None]]
Found = tuple[str | None, Row]
"""The path of a list and a row of it; None and the text of a line that is no JSON."""


def _recognises(head: bytes) -> bool:
    text = head.decode(_encoding(head), "ignore").lstrip("\ufeff")
    return _BEGINNING.match(text) is not None


def _encoding(head: bytes) -> str:
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"


def _part_names(content: Content) -> tuple[str, ...]:
    """Return the names of a document's lists with times in them, or of all its lists."""
    return _survey(content).names()


def _convert(content: Content) -> Iterator[bytes]:
    """Yield a list as CSV; line n + 1 is its record n.

    Raises `UnreadableFile` for a damaged document, and for one with several lists if none is chosen.
    """
    survey = _survey(content)
    path = survey.choose(content.part, content.name)
    columns = {name: at for at, name in enumerate(survey.tables[path])}
    out = CsvChunks()
    out.write(survey.titles(path))
    try:
        for of, row in _Document(content).rows():
            if of is None:
                out.write([row[0][1], *[""] * (len(columns) - 1)])
            elif of == path:
                out.write(_cells(row, columns))
            elif of not in survey.tables and not content.part:
                survey.add(of, row)
                survey.choose("", content.name)
            if out.is_full:
                yield out.taken()
    except UnreadableFile:
        yield out.taken()
        raise
    yield out.taken()


def _cells(row: Row, columns: dict[str, int]) -> list[str]:
    """Return a row's cells; a field unknown to the survey is one cell too many, so the row is counted."""
    cells = [""] * len(columns)
    further = []
    for name, value in row:
        text = "" if value is None else _LINE_BREAKS.sub(" ", value).replace("\0", "")
        if name in columns:
            cells[columns[name]] = text
        elif text:
            further.append(f"{name}={text}")
    return cells + further


@dataclass
class _Survey:
    """The lists at the beginning of a document, and the single values outside of them by path.

    A list's columns are in the order they appear, each with its first value.
    """

    facts: dict[str, str]
    tables: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, path: str, row: Row) -> None:
        """Add a row of a list."""
        columns = self.tables.setdefault(path, {})
        for name, value in row:
            if not columns.get(name):
                columns[name] = value or ""

    def names(self) -> tuple[str, ...]:
        """Return the names of the lists with times, or of all lists."""
        timed = [path for path, columns in self.tables.items() if _has_time(list(columns.items()))]
        return tuple(path or _WHOLE for path in timed or self.tables)

    def choose(self, part: str, name: str) -> str:
        """Return the path of the list to read; raises `UnreadableFile` if it is not there or left open."""
        names = self.names()
        if part:
            path = "" if part == _WHOLE else part
            if path in self.tables:
                return path
            raise UnreadableFile(
                f"{name} has no list {part!r} in its beginning; it has {', '.join(map(repr, names[:20]))}",
                setting="sheet",
            )
        if len(names) > 1:
            options = " or ".join(f"{{sheet:{{{at}}}}}" for at in range(1, min(len(names), 5) + 1))
            raise UnreadableFile(
                Message(f"{{0}} holds {len(names)} lists; say which with {options}", name, *names[:5]),
                setting="sheet",
            )
        return "" if names[0] == _WHOLE else names[0]

    def titles(self, path: str) -> list[str]:
        """Return the columns' names, with a unit or zone that the document names outside of the list."""
        parent = path.rpartition(".")[0]
        places = [f"{path}_units.", f"{path}.units.", f"{parent}.units.", "units."]
        titles = []
        for name, first in self.tables[path].items():
            unit = next((self.facts[place + name] for place in places if place + name in self.facts), "")
            if is_known_unit(unit):
                titles.append(f"{name} [{unit}]")
            elif _TIME.match(first) and _LOCAL.fullmatch(first) and (zone := self._zone()):
                titles.append(f"{name} ({zone})")
            else:
                titles.append(name)
        return titles

    def _zone(self) -> str:
        for path, text in self.facts.items():
            if path.rpartition(".")[2] == "utc_offset_seconds" and re.fullmatch("-?[0-9]{1,5}", text):
                hours, minutes = divmod(abs(int(text)) // 60, 60)
                return f"UTC{'-' if text[0] == '-' else '+'}{hours:02d}:{minutes:02d}"
        named = {text for path, text in self.facts.items() if path.rpartition(".")[2] in _ZONE_NAMES}
        return named.pop() if len(named) == 1 and named <= time_zone_names() else ""


def _survey(content: Content) -> _Survey:
    document = _Document(content)
    survey = _Survey(document.facts)
    try:
        for path, row in document.rows():
            if path is not None:
                survey.add(path, row)
            if document.passed > SURVEYED:
                break
    except UnreadableFile:
        if not survey.tables:
            raise
    if not survey.tables:
        raise UnreadableFile(
            f"{content.name} is JSON without a list of readings in it; a list of objects, lists side by "
            "side, or one object a line can be imported"
        )
    return survey


class _Document:
    """Reads a document's lists row by row; `facts` are the single values outside of lists, so far."""

    def __init__(self, content: Content) -> None:
        self._name = content.name
        self._chunks = content.chunks()
        self._decoder: codecs.IncrementalDecoder | None = None
        self._text = ""
        self._at = 0
        self._before = 0
        self._is_whole = False
        self.facts: dict[str, str] = {}

    @property
    def passed(self) -> int:
        """The number of characters behind, 0 for a document read at once."""
        return self._before + self._at

    def rows(self) -> Iterator[Found]:
        """Yield the rows of all lists, each with the path of its list."""
        while not self._is_whole and len(self._text) <= MOST_AT_ONCE:
            if not self._fill() or self._has_lines():
                break
        if self._has_lines():
            yield from self._line_rows()
        elif self._is_whole:
            value = self._value()
            self._end()
            self._at = 0
            yield from self._rows_of(value, "", [], is_element=isinstance(value, list))
        else:
            yield from self._walk("")
            self._end()

    def _fill(self) -> bool:
        """Read another chunk; returns whether there was one."""
        chunk = next(self._chunks, None)
        if self._decoder is None:
            self._decoder = codecs.getincrementaldecoder(_encoding(chunk or b""))("replace")
        text = self._decoder.decode(chunk or b"", chunk is None)
        if not self._text and not self._before:
            text = text.lstrip("\ufeff")
        self._text = self._text[self._at :] + text
        self._before += self._at
        self._at = 0
        self._is_whole = chunk is None
        return chunk is not None

    def _has_lines(self) -> bool:
        """Return whether the first line is a value, and another one follows."""
        first, _, rest = self._text.lstrip().partition("\n")
        if rest.lstrip()[:1] not in ("[", "{"):
            return False
        try:
            return isinstance(_DECODER.decode(first.strip()), list | tuple)
        except (ValueError, RecursionError):
            return False

    def _line_rows(self) -> Iterator[Found]:
        for line in self._lines():
            try:
                value = _DECODER.decode(line)
            except (ValueError, RecursionError):
                value = None
            if isinstance(value, list | tuple):
                yield from self._rows_of(value, "", [], is_element=True)
            else:
                yield None, [("", shown(line))]

    def _lines(self) -> Iterator[str]:
        while True:
            end = self._text.find("\n", self._at)
            if end < 0 and not self._is_whole:
                if len(self._text) - self._at > MOST_AT_ONCE:
                    raise self._too_long("line")
                self._fill()
                continue
            line = self._text[self._at : end if end >= 0 else None].strip()
            self._at = end + 1 if end >= 0 else len(self._text)
            if line:
                yield line
            if end < 0:
                return

    def _walk(self, path: str) -> Iterator[Found]:
        """Yield the rows below the value here, reading no more than one element at once."""
        if self._peek() == "[":
            yield from self._walk_list(path, ())
            return
        self._at += 1
        columns: Sequence[str] = ()
        while self._goes_on("}"):
            key = self._value()
            if not isinstance(key, str) or self._peek() != ":":
                raise self._damaged()
            self._at += 1
            below = f"{path}.{key}" if path else key
            mark = self._peek()
            if mark == "{":
                yield from self._walk(below)
            elif mark != "[":
                self._note(below, self._value())
            elif key == "columns":
                columns = _texts(self._value())
            else:
                yield from self._walk_list(below, columns)

    def _walk_list(self, path: str, columns: Sequence[str]) -> Iterator[Found]:
        self._at += 1
        while self._goes_on("]"):
            value = self._value()
            if not isinstance(value, list | tuple):
                raise UnreadableFile(
                    f"{self._name} has more than {MOST_AT_ONCE >> 20} million characters, and holds its "
                    f"columns as lists side by side ({path!r}), which are read at once; export less at a "
                    "time, or export CSV"
                )
            if isinstance(value, list) and not columns:
                columns = _names_of([value], path)
            yield from self._rows_of(value, path, [], is_element=True, columns=columns)

    def _goes_on(self, end: str) -> bool:
        """Return whether another item follows here, and go to it; else go behind the `end`."""
        if self._peek() == ",":
            self._at += 1
        if self._peek() == end:
            self._at += 1
            return False
        return True

    def _peek(self) -> str:
        """Return the next character that is no blank; raises `UnreadableFile` at the end."""
        while True:
            self._skip_blanks()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                raise UnreadableFile(f"{self._name} is cut off: its JSON has no end; fetch the file again")

    def _value(self) -> Any:
        """Return the value here, and go behind it."""
        self._peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError:
                raise UnreadableFile(
                    f"{self._name} nests its JSON too deep to be read; export a list of plain objects"
                ) from None
            except json.JSONDecodeError as exc:
                if self._is_whole or exc.pos < len(self._text) - _LONGEST_SCALAR:
                    self._at = exc.pos
                    raise self._damaged() from exc
            else:
                # A number at the very end may continue.
                if end < len(self._text) or self._is_whole:
                    self._at = end
                    return value
            if len(self._text) - self._at > MOST_AT_ONCE:
                raise self._too_long("element of a list")
            wanted = 2 * (len(self._text) - self._at)
            while self._fill() and len(self._text) < wanted:
                check_budget()

    def _end(self) -> None:
        """Raise `UnreadableFile` if anything but blanks follows."""
        while True:
            self._skip_blanks()
            if self._at < len(self._text):
                raise self._damaged()
            if not self._fill():
                return

    def _skip_blanks(self) -> None:
        if match := _BLANKS.match(self._text, self._at):
            self._at = match.end()

    def _damaged(self) -> UnreadableFile:
        here = shown(self._text[self._at : self._at + 40])
        return UnreadableFile(
            f"{self._name} is no complete JSON: see character {self.passed + 1:,} ({here!r}); fetch or "
            "export the file again"
        )

    def _too_long(self, what: str) -> UnreadableFile:
        return UnreadableFile(
            f"{self._name} has a {what} of more than {MOST_AT_ONCE >> 20} million characters; export less at "
            "a time, or export CSV"
        )

    def _note(self, path: str, value: Any) -> None:
        if isinstance(value, str) and len(self.facts) < _MOST_FACTS:
            self.facts[path] = value[:_MOST_FACTS]

    def _rows_of(
        self, value: Any, path: str, context: Row, *, is_element: bool, columns: Sequence[str] = ()
    ) -> Iterator[Found]:
        """Yield the rows within a value; `context` are the fields of the objects around it."""
        if isinstance(value, tuple):
            yield from self._rows_of_object(value, path, context, is_element=is_element)
        elif isinstance(value, list):
            nested = sum(isinstance(each, list | tuple) for each in value)
            if nested == len(value):
                names = columns or _names_of(value, path)
                for each in value:
                    yield from self._rows_of(each, path, context, is_element=True, columns=names)
                return
            names = columns if len(columns) == len(value) else _names_of([value], path)
            if nested:
                row = tuple(zip(names, value, strict=True))
                yield from self._rows_of_object(row, path, context, is_element=True)
            else:
                yield path, _distinct([*context, *zip(names, map(_said, value), strict=True)])

    def _rows_of_object(self, pairs: Object, path: str, context: Row, *, is_element: bool) -> Iterator[Found]:
        record = _Record()
        record.add(pairs, path, "")
        if not is_element:
            for name, text in record.fields:
                self._note(f"{path}.{name}" if path else name, text)
        is_row = is_element and _has_time(record.fields) if record.lists else is_element or record.fields
        if is_row:
            yield path, _distinct([*context, *record.fields])
        around = [*context, *record.fields] if is_element else context
        for each in record.merged_lists():
            for row in each.rows:
                yield from self._rows_of(row, each.path, around, is_element=True, columns=each.columns)


@dataclass(frozen=True)
class _List:
    """A list with its path and the names of its columns; `times` are the keys it was made from, if any."""

    path: str
    rows: Sequence[Any]
    columns: Sequence[str] = ()
    times: tuple[str, ...] = ()


@dataclass
class _Record:
    """An object taken apart: its single fields, and the lists in it."""

    fields: Row = field(default_factory=list)
    lists: list[_List] = field(default_factory=list)

    def add(self, pairs: Object, path: str, prefix: str) -> None:
        """Add the fields of an object, itself a field if `prefix` is its name."""
        columns: list[tuple[str, list[Any]]] = []
        named = next((_texts(value) for key, value in pairs if key == "columns"), ())
        times = _time_keys(pairs)
        for key, value in pairs:
            below = f"{path}.{key}" if path else key
            if key in times or (named and key == "columns"):
                continue
            if isinstance(value, tuple):
                self.add(value, below, f"{prefix}{key}.")
            elif not isinstance(value, list):
                self.fields.append((prefix + key, _said(value)))
            elif any(isinstance(each, list | tuple) for each in value):
                self.lists.append(_List(below, value, named or _names_of(value, below)))
            else:
                columns.append((key, value))
        self._add_columns(columns, path, prefix)
        if times:
            timed = [(key, value) for key, value in pairs if key in times]
            name = path.rpartition(".")[2] or "value"
            rows = [
                (("time", key), *(value if isinstance(value, tuple) else ((name, value),)))
                for key, value in timed
            ]
            is_single = not any(isinstance(value, tuple) for _, value in timed)
            self.lists.append(_List(path, rows, times=tuple(times) if is_single else ()))

    def _add_columns(self, columns: Sequence[tuple[str, list[Any]]], path: str, prefix: str) -> None:
        """Add equally long lists with a list of times among them as rows, and others as numbered fields."""
        for length in dict.fromkeys(len(values) for _, values in columns):
            alike = [(key, values) for key, values in columns if len(values) == length]
            firsts = [("", _said(values[0])) for _, values in alike if values]
            if len(alike) > 1 and _has_time(firsts):
                rows = [list(cells) for cells in zip(*(values for _, values in alike), strict=True)]
                self.lists.append(_List(path, rows, [key for key, _ in alike]))
                continue
            for key, values in alike:
                self.fields += [(f"{prefix}{key}.{at}", _said(value)) for at, value in enumerate(values, 1)]

    def merged_lists(self) -> list[_List]:
        """Return the lists, those side by side with the same times as keys merged to one."""
        merged: dict[object, _List] = {}
        for at, each in enumerate(self.lists):
            parent = each.path.rpartition(".")[0]
            key = (parent, each.times) if each.times else at
            before = merged.get(key)
            if before is None:
                merged[key] = each
            else:
                joined = [(*row, more[1]) for row, more in zip(before.rows, each.rows, strict=True)]
                merged[key] = _List(parent, joined, times=each.times)
        return list(merged.values())


def _time_keys(pairs: Object) -> dict[str, None]:
    """Return the keys of an object that are times: dates, or seconds if all keys are and they rise."""
    keys = [key for key, _ in pairs if _TIME.fullmatch(key)]
    dates = [key for key in keys if not key.isdecimal()]
    is_rising = len(keys) == len(pairs) > 1 and all(one < two for one, two in pairwise(keys))
    return dict.fromkeys(dates or (keys if is_rising else ()))


def _names_of(rows: Sequence[Any], path: str) -> list[str]:
    """Return names for the cells of rows that are lists: `time` for a time, else the list's own name."""
    first = next((row for row in rows if isinstance(row, list) and row), [])
    name = path.rpartition(".")[2]
    name = "value" if name in _GENERAL_NAMES else name
    at = next((at for at, cell in enumerate(first) if _has_time([("", _said(cell))])), -1)
    names = ["time" if position == at else name for position in range(len(first))]
    return [text for text, _ in _distinct([(each, None) for each in names])]


def _has_time(row: Row) -> bool:
    return any(text is not None and _TIME.fullmatch(text) for _, text in row)


def _distinct(row: Row) -> Row:
    """Return a row with each name once: another `a` is `a_2`."""
    if len({name for name, _ in row}) == len(row):
        return row
    counts: dict[str, int] = {}
    found: Row = []
    for name, value in row:
        counts[name] = counts.get(name, 0) + 1
        found.append((name if counts[name] == 1 else f"{name}_{counts[name]}", value))
    return found


def _texts(value: Any) -> tuple[str, ...]:
    """Return a list of texts, empty for anything else."""
    is_texts = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return tuple(value) if is_texts else ()


def _said(value: Any) -> str | None:
    """Return a single value as text; numbers are texts already."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None or isinstance(value, str) else json.dumps(value)


JSON = Format("JSON", _recognises, _convert, _part_names)
