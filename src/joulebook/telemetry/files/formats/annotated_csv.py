"""Annotated CSV of InfluxDB 2 and 3: results of queries, with several tables and yields in one file.

https://docs.influxdata.com/influxdb/v2/reference/syntax/annotated-csv/
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import UnreadableFile
from joulebook.telemetry.files.formats.format import READINGS_LINE, Content, Format
from joulebook.telemetry.files.formats.named_series import (
    TEXT,
    Origin,
    Rows,
    SeriesNames,
    text_cells,
    text_lines,
)
from joulebook.telemetry.line_protocol.naming import VALUE_FIELD

_BEGINNING = re.compile(rb'(?:\xef\xbb\xbf)?(?:#[^\n]*\n)*?"?#"?(?:datatype|group|default)[,"]')
_BARE_HEADER = re.compile(rb"(?:\xef\xbb\xbf)?,result,table,(?=[^\n]*\b_time\b)(?=[^\n]*\b_value\b)[^\n]*\n")
"""The names of a result without annotations: they say enough, unless it is pivoted."""

_FRACTION = re.compile(r"(\.[0-9]{6})[0-9]+")
_NUMBERS = frozenset({"double", "long", "unsignedLong"})
_TRUTH = {"true": "1", "false": "0"}
_OWN_COLUMNS = frozenset(
    {"", "result", "table", "_start", "_stop", "_time", "_measurement", "_field", "_value"}
)
_USUAL_TYPES = {
    **dict.fromkeys(("_time", "_start", "_stop"), "dateTime:RFC3339"),
    "_value": "double",
    "table": "long",
}
_ROWS_A_CHUNK = 10_000


def _recognises(head: bytes) -> bool:
    return _BEGINNING.match(head) is not None or _BARE_HEADER.match(head) is not None


def _convert(content: Content) -> Iterator[bytes]:
    return convert_tables(content, SeriesNames())


def convert_tables(content: Content, names: SeriesNames) -> Iterator[bytes]:
    """Yield the rows of all tables as CSV of readings; afterwards `names` has all their series.

    Raises `UnreadableFile` where a query ended with an error, after everything before it.
    """
    yield READINGS_LINE
    rows = Rows()
    table = _Table({}, [], names)
    notes: dict[str, list[str]] = {}
    reader = csv.reader(text_lines(content))
    wants_names, line = True, 0
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as exc:
            rows.add_damaged(line, str(exc))
            continue
        if not any(cells):
            wants_names = True
        elif cells[0].startswith("#"):
            notes = {} if not wants_names else notes
            notes[cells[0]] = cells
            wants_names = True
        elif wants_names:
            # The next table repeats no annotation that stays the same.
            table = _Table(notes or table.notes, cells, names)
            notes, wants_names = {}, False
        elif table.is_error:
            yield rows.taken()
            raise UnreadableFile(
                f"{content.name}: the query ended with an error (line {line}): "
                f"{' '.join(cells).strip()[:300]}"
            )
        else:
            table.add_row(rows, line, cells)
        if len(rows) >= _ROWS_A_CHUNK:
            check_budget()
            yield rows.taken()
    yield rows.taken()


@dataclass(frozen=True)
class _Value:
    """A column of values: its position, and how a cell becomes a number, or None for text."""

    position: int
    field: str
    number: Callable[[str], str] | None


class _Table:
    """The columns of one table: where its time, values and tags are."""

    def __init__(self, notes: dict[str, list[str]], columns: list[str], names: SeriesNames) -> None:
        self.notes = notes
        self._names = names
        self._columns = columns
        self._types = self._padded(
            notes.get("#datatype") or [_USUAL_TYPES.get(name, "string") for name in columns]
        )
        self._defaults = self._padded(notes.get("#default", []))
        self._defaults[:1] = [""]
        self.is_error = "error" in columns and "_value" not in columns
        self._cells: dict[tuple[str, ...], list[str]] = {}
        is_time = [kind.startswith("dateTime") for kind in self._types]
        times = [at for at, name in enumerate(columns) if is_time[at] and name not in {"_start", "_stop"}]
        named = [at for at in times if columns[at] == "_time"]
        self._time = next(iter(named or (times if len(times) == 1 else [])), None)
        self._values = list(self._find_values())
        taken = {value.position for value in self._values} | {self._time}
        self._tags = [
            at
            for at, name in enumerate(columns)
            if name not in _OWN_COLUMNS and at not in taken and self._types[at] == "string"
        ]
        self._identity = [
            *self._tags,
            *(columns.index(name) for name in ("result", "_measurement", "_field") if name in columns),
        ]

    def _padded(self, cells: list[str]) -> list[str]:
        return [*cells, *[""] * len(self._columns)][: len(self._columns)]

    def _find_values(self) -> Iterator[_Value]:
        """Yield `_value`; of a pivoted table each column of numbers outside the group."""
        groups = self._padded(self.notes.get("#group", []))
        for at, (name, kind) in enumerate(zip(self._columns, self._types, strict=True)):
            is_pivoted = "_value" not in self._columns and name not in _OWN_COLUMNS and groups[at] != "true"
            if name == "_value" or (is_pivoted and (kind in _NUMBERS or kind == "boolean")):
                number = str if kind in _NUMBERS else _truth if kind == "boolean" else None
                yield _Value(at, "" if name == "_value" else name, number)

    def add_row(self, rows: Rows, line: int, cells: list[str]) -> None:
        """Add the readings of a row; a row of another width is malformed."""
        if len(cells) != len(self._columns) or self._time is None:
            rows.add_damaged(line, ",".join(cells).strip())
            return
        cells = [cell or default for cell, default in zip(cells, self._defaults, strict=True)]
        identity = tuple(cells[at] for at in self._identity)
        named = self._cells.get(identity)
        if named is None:
            named = self._cells[identity] = [self._named(cells, value) for value in self._values]
        time = cells[self._time]
        if len(time) > 27:
            time = _FRACTION.sub(r"\1", time)
        for value, series in zip(self._values, named, strict=True):
            text = cells[value.position]
            if value.number is not None:
                rows.add_text(line, time, series, value.number(text))
            else:
                rows.add_text(line, time, text_cells(), TEXT)

    def _named(self, cells: list[str], value: _Value) -> str:
        """Return the cells of a series; a yield with a name of its own is part of the field's."""
        by_name = dict(zip(self._columns, cells, strict=True))
        field = value.field or by_name.get("_field", "")
        result = by_name.get("result", "")
        if result not in {"", "_result"}:
            field = result if field in {"", VALUE_FIELD} else f"{field}.{result}"
        tags = tuple(sorted((self._columns[at], cells[at]) for at in self._tags if cells[at]))
        return self._names.find(Origin(by_name.get("_measurement", ""), tags, field)).cells


def _truth(text: str) -> str:
    return _TRUTH.get(text, text)


ANNOTATED_CSV = Format("annotated CSV of InfluxDB", _recognises, _convert)
