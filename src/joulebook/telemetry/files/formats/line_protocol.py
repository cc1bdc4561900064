"""Files of InfluxDB line protocol: exports of `influx_inspect` and `influxd inspect`, and plain lines.

https://docs.influxdata.com/influxdb/v1/tools/influx_inspect/#export
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import repeat
from typing import NoReturn

from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import UnreadableFile
from joulebook.telemetry.files.formats.format import READINGS_LINE, Content, Format
from joulebook.telemetry.files.formats.named_series import (
    PRECISIONS,
    TEXT,
    Origin,
    Rows,
    SeriesNames,
    precision_of,
    text_cells,
    whole_lines,
)
from joulebook.telemetry.line_protocol.plain import LONGEST_PLAIN, PlainLines, read_plain_lines
from joulebook.telemetry.line_protocol.syntax import (
    BadLine,
    LineScan,
    TooManyFields,
    field_name,
    plain_number,
    read_head,
)

_EXPORT_MARKS = (b"# INFLUXDB EXPORT", b"# DDL", b"# DML")
_CONTEXT = re.compile(rb"#\s*CONTEXT-(DATABASE|RETENTION-POLICY):\s*(\S+)")
_DDL = re.compile(rb"CREATE DATABASE .*")
_LINE = re.compile(
    rb'[^\s,#="{]+(?:,(?:[^\s,=]|\\.)+=(?:[^\s,]|\\.)+)*[ ]'
    rb'(?:(?:^|,|(?<= ))(?:[^\s,="]|\\.)+=(?:-?[0-9.][0-9.eE+-]*[iu]?|[tTfF]|true|false|True|False|TRUE|FALSE'
    rb'|"(?:[^"\\]|\\.)*"))+[ ][0-9]{9,19}\r?'
)
_TEXT_LINE = re.compile(rb'([^\s"\\]+) [^\s"\\=,]+="[^"\\]*" ([0-9]{1,19})')
_LINES_LOOKED_AT = 20
_LONGEST_LINE = 4 << 20
_LONGEST_TEXT = 1 << 20
"""Bytes after which a text without a closing quote is taken for damage."""

_MOST_FIELDS = 100_000
_MOST_HEADS = 50_000


def _recognises(head: bytes) -> bool:
    """Return whether the content begins with an export's header, or with lines with a time."""
    head = head.removeprefix(b"\xef\xbb\xbf")
    if head.startswith(_EXPORT_MARKS):
        return True
    lines = head.split(b"\n")
    lines = lines[:-1] if len(lines) > 1 else lines
    filled = [line for line in lines if line.strip() and not line.startswith(b"#")][:_LINES_LOOKED_AT]
    return bool(filled) and all(_LINE.fullmatch(line) for line in filled)


def _convert(content: Content) -> Iterator[bytes]:
    return convert_lines(content, SeriesNames())


def convert_lines(content: Content, names: SeriesNames) -> Iterator[bytes]:
    """Yield the lines as CSV of readings; afterwards `names` has all their series."""
    yield READINGS_LINE
    reader = _LineReader(names)

    def refuse() -> NoReturn:
        raise UnreadableFile(f"{content.name} has a line of more than {_LONGEST_LINE >> 20} MB")

    for chunk in whole_lines(content.chunks(), most=_LONGEST_LINE, refuse=refuse):
        check_budget()
        yield reader.read(chunk, is_last=False)
    yield reader.read(b"", is_last=True)


class _LineReader:
    """Reads chunks of whole lines; a text may contain line ends, and go on in the next chunk."""

    def __init__(self, names: SeriesNames) -> None:
        self._names = names
        self._rows = Rows()
        self._heads: dict[bytes, tuple[str, tuple[tuple[str, str], ...]]] = {}
        self._cells: dict[tuple[bytes, bytes], str] = {}
        self._context: dict[bytes, str] = {}
        self._precision: tuple[int, int] | None = None
        self._number = 1
        self._kept = b""

    def read(self, chunk: bytes, *, is_last: bool) -> bytes:
        """Return the readings of the next lines as CSV."""
        body, self._kept = self._kept + chunk, b""
        if self._number == 1 and body:
            body = body.removeprefix(b"\xef\xbb\xbf")
            self._precision = PRECISIONS["ns"] if body.startswith(_EXPORT_MARKS) else None
        plain = read_plain_lines(body) if body else None
        if plain is None or not self._take_columns(plain):
            self._take_lines(body, is_last=is_last)
        else:
            self._number += body.count(b"\n")
        return self._rows.taken()

    def _take_columns(self, plain: PlainLines) -> bool:
        """Add the readings of plain lines; return False, having added nothing, if one is refused."""
        try:
            cells = [
                self._cells.get(pair) or self._named(*pair)
                for pair in zip(plain.head, plain.key, strict=True)
            ]
            multiply, divide = self._precision or self._find_precision(plain.stamp[0])
        except BadLine:
            return False
        rows = self._rows
        rows.line += map(int.__add__, plain.line, repeat(self._number))
        rows.time += [stamp * multiply // divide for stamp in plain.stamp]
        rows.cells += cells
        rows.value += map(repr, plain.value)
        return True

    def _take_lines(self, body: bytes, *, is_last: bool) -> None:
        start = 0
        while start < len(body):
            end = body.find(b"\n", start)
            end = len(body) if end < 0 else end
            line = body[start:end].rstrip(b"\r")
            if not line.strip() or line.startswith(b"#") or _DDL.fullmatch(line):
                self._note_context(line)
            elif not self._take_plain(line):
                try:
                    end = self._take_any(body, start)
                except BadLine:
                    may_go_on = not is_last and len(body) - start < _LONGEST_TEXT
                    if may_go_on and (line.count(b'"') - line.count(b'\\"')) % 2:
                        self._kept = body[start:]
                        return
                    self._rows.add_damaged(self._number, line[:400].decode("utf-8", "replace"))
            self._number += body.count(b"\n", start, end + 1)
            start = end + 1

    def _note_context(self, line: bytes) -> None:
        if found := _CONTEXT.match(line):
            self._context[found[1]] = found[2].decode("utf-8", "replace")
            self._cells.clear()

    def _take_plain(self, line: bytes) -> bool:
        """Add the readings of a line without quotes and escapes; return False for any other line."""
        if b'"' in line or b"\\" in line or len(line) > LONGEST_PLAIN:
            return self._take_plain_text(line)
        parts = line.split(b" ")
        if len(parts) != 3 or not parts[2].isdigit() or len(parts[2]) > 19:
            return False
        fields: list[tuple[str, str]] = []
        for pair in parts[1].split(b","):
            key, _, text = pair.partition(b"=")
            value = plain_number(text) if text else None
            if value is None or not key:
                return False
            try:
                fields.append((self._cells.get((parts[0], key)) or self._named(parts[0], key), repr(value)))
            except BadLine:
                return False
        self._add(fields, parts[2])
        return True

    def _take_plain_text(self, line: bytes) -> bool:
        """Count a line with one text and nothing to be unescaped; return False for any other line."""
        found = _TEXT_LINE.fullmatch(line)
        if found is None or found[1] not in self._heads:
            return False
        self._add([(text_cells(), TEXT)], found[2])
        return True

    def _take_any(self, body: bytes, start: int) -> int:
        """Add the readings of the line at `start`; return the offset of its end. Raises `BadLine`."""
        scan = LineScan(body, start)
        try:
            head, fields, stamp = scan.line(_MOST_FIELDS)
        except TooManyFields as exc:
            raise BadLine("line_invalid", str(exc)) from exc
        if stamp is None:
            raise BadLine("line_invalid", "the line has no time")
        named = [
            (self._cells.get((head, key)) or self._named(head, key), repr(value)) for key, value in fields
        ]
        self._add([*named, *[(text_cells(), TEXT)] * len(scan.texts)], stamp)
        end = body.find(b"\n", scan.position)
        return len(body) if end < 0 else end

    def _add(self, fields: list[tuple[str, str]], stamp: bytes) -> None:
        number = int(stamp)
        multiply, divide = self._precision or self._find_precision(number)
        for cells, value in fields:
            self._rows.add(self._number, number * multiply // divide, cells, value)

    def _find_precision(self, stamp: int) -> tuple[int, int]:
        """Return the precision of the file, found by its first time: nanoseconds unless another fits."""
        self._precision = PRECISIONS[precision_of(stamp) or "ns"]
        return self._precision

    def _named(self, head: bytes, key: bytes) -> str:
        """Return the cells of a field's series. Raises `BadLine`."""
        if len(self._cells) > _MOST_HEADS:
            self._cells.clear()
            self._heads.clear()
        if head not in self._heads:
            measurement, tags = read_head(head)
            self._heads[head] = measurement, tuple(sorted(tags.items()))
        field = field_name(key)
        if field is None:
            raise BadLine("line_invalid", "a field's name is not UTF-8")
        context = ".".join(filter(None, map(self._context.get, (b"DATABASE", b"RETENTION-POLICY"))))
        cells = self._names.find(Origin(*self._heads[head], field, context)).cells
        self._cells[head, key] = cells
        return cells


LINE_PROTOCOL = Format("lines of InfluxDB", _recognises, _convert)
