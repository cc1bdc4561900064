"""Prometheus and its relatives: text with times, OpenMetrics, and the JSON lines of VictoriaMetrics.

https://prometheus.io/docs/instrumenting/exposition_formats/,
https://prometheus.io/docs/specs/om/open_metrics_spec/ and
https://docs.victoriametrics.com/#how-to-export-data-in-json-line-format
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal, NoReturn

from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import UnreadableFile
from joulebook.telemetry.files.formats.format import READINGS_LINE, Content, Format
from joulebook.telemetry.files.formats.named_series import (
    PRECISIONS,
    NamedSeries,
    Origin,
    Rows,
    SeriesNames,
    precision_of,
    quoted,
    whole_lines,
)
from joulebook.telemetry.kinds.units import is_known_unit

_LONGEST_LINE = 256 << 20
"""Bytes: VictoriaMetrics writes a whole series into one line."""

_ROWS_A_CHUNK = 50_000
_MOST_CELLS = 50_000
_DIGITS_OF_MS = 13
_SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:.]*)[ \t]*(?:\{(?P<labels>(?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*)\})?[ \t]+"
    r"(?P<value>[^\s#]+)(?:[ \t]+(?P<time>[0-9.eE+-]+))?[ \t]*(?:# .*)?"
)
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_.]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_NOTE = re.compile(r"# (TYPE|UNIT) (\S+) ?(\S*)")
_ESCAPED = re.compile(r"\\(.)")
_COUNTED_PARTS = ("_bucket", "_count", "_sum")
_UNITS = {
    "watts": "W",
    "joules": "J",
    "volts": "V",
    "amperes": "A",
    "celsius": "°C",
    "seconds": "s",
    "bytes": "B",
    "hertz": "Hz",
    "percent": "%",
    "kwh": "kWh",
    "wh": "Wh",
    "w": "W",
    "kw": "kW",
    "v": "V",
    "a": "A",
    "hz": "Hz",
    "grams": "g",
    "meters": "m",
    "pascals": "Pa",
    "fahrenheit": "°F",
}
"""Units as Prometheus and Home Assistant end a metric's name with them."""

_HOME_ASSISTANT = re.compile(r"(?:hass|homeassistant)_(?:sensor|number|input_number)_(?!state$).*")
_SERIES = re.compile(
    rb'\s*\{\s*"metric"\s*:\s*\{(?:[^"{}]|"(?:[^"\\]|\\.)*")*\}\s*,\s*"(?:values|timestamps)"\s*:\s*\['
)
_PLAIN_NUMBER = frozenset("0123456789.")


def _recognises_text(head: bytes) -> bool:
    """Return whether it begins with a comment of the format, or with samples that have labels and a time."""
    lines = head.decode("utf-8", "replace").split("\n")
    filled = [line.rstrip("\r") for line in (lines[:-1] if len(lines) > 1 else lines) if line.strip()]
    if filled and filled[0].startswith(("# HELP ", "# TYPE ", "# UNIT ")):
        return True
    found = [_SAMPLE.fullmatch(line) for line in filled[:50] if not line.startswith("#")]
    return bool(found) and all(each and each["labels"] is not None and each["time"] for each in found)


def convert_text(content: Content, names: SeriesNames) -> Iterator[bytes]:
    """Yield samples of the text format as CSV of readings; afterwards `names` has all their series.

    Times are milliseconds in Prometheus' own format and seconds in OpenMetrics; the size of the number tells
    which. A sample without a time is malformed.
    """
    yield READINGS_LINE
    reader = _SampleReader(names)
    for number, line in enumerate(_text_lines(content), start=1):
        reader.read(number, line)
        if len(reader.rows) >= _ROWS_A_CHUNK:
            check_budget()
            yield reader.rows.taken()
    yield reader.rows.taken()


def _text_lines(content: Content) -> Iterator[str]:
    for chunk in _lines_of(content):
        lines = chunk.decode("utf-8", "replace").split("\n")
        yield from (line.rstrip("\r") for line in (lines if lines[-1] else lines[:-1]))


def _lines_of(content: Content) -> Iterator[bytes]:
    def refuse() -> NoReturn:
        raise UnreadableFile(
            f"{content.name} has a line of more than {_LONGEST_LINE >> 20} MB; export with "
            "max_rows_per_line=10000"
        )

    return whole_lines(content.chunks(), most=_LONGEST_LINE, refuse=refuse)


class _SampleReader:
    """Reads lines of the text format; the cells of a series are found once."""

    def __init__(self, names: SeriesNames) -> None:
        self.rows = Rows()
        self._names = names
        self._notes: dict[tuple[str, str], str] = {}
        self._cells: dict[str, str] = {}

    def read(self, number: int, line: str) -> None:
        """Add the sample of a line, or note its comment."""
        end = line.rfind("}") + 1 or line.find(" ")
        cells = self._cells.get(line[:end])
        words = line[end:].split() if cells else ()
        if cells and len(words) == 2:
            self._add(number, cells, words[0], words[1])
        elif note := _NOTE.match(line):
            self._notes[note[1], note[2]] = note[3]
        elif line.strip() and not line.startswith("#"):
            self._read_new(number, line)

    def _read_new(self, number: int, line: str) -> None:
        found = _SAMPLE.fullmatch(line)
        labels = None if found is None else _read_labels(found["labels"] or "")
        if found is None or labels is None:
            self.rows.add_damaged(number, line)
            return
        family = _family(found["name"], self._notes)
        kind = _kind(found["name"], self._notes.get(("TYPE", family), ""))
        unit = self._notes.get(("UNIT", family), "")
        cells = find_series(self._names, found["name"], labels, unit=unit, kind=kind).cells
        if len(self._cells) >= _MOST_CELLS:
            self._cells.clear()
        self._cells[line[: found.end("labels") + 1 if found["labels"] is not None else found.end("name")]] = (
            cells
        )
        self._add(number, cells, found["value"], found["time"])

    def _add(self, number: int, cells: str, value: str, time: str | None) -> None:
        instant = None if time is None else _instant(time)
        if instant is None:
            self.rows.add_text(number, time or "", cells, value)
        else:
            self.rows.add(number, instant, cells, value if _PLAIN_NUMBER.issuperset(value) else quoted(value))


def _family(name: str, notes: dict[tuple[str, str], str]) -> str:
    """Return the name that the comments of a sample have: without the suffix of its part."""
    if ("TYPE", name) in notes:
        return name
    parts = (*_COUNTED_PARTS, "_total")
    return next((name.removesuffix(part) for part in parts if name.endswith(part)), name)


def _kind(name: str, family_type: str) -> Literal["", "gauge", "counter"]:
    if family_type == "counter":
        return "counter"
    if family_type in {"histogram", "summary"}:
        return "counter" if name.endswith(_COUNTED_PARTS) else "gauge"
    return "gauge" if family_type == "gauge" else ""


def _read_labels(text: str) -> dict[str, str] | None:
    """Return the labels of a sample, None if they are damaged."""
    labels, at = {}, 0
    text = text.strip()
    while at < len(text):
        found = _LABEL.match(text, at)
        if found is None:
            return None
        labels[found[1]] = _ESCAPED.sub(lambda each: "\n" if each[1] == "n" else each[1], found[2])
        at = found.end()
    return labels


def _instant(text: str) -> int | None:
    """Return the instant of a time in seconds or smaller units, in microseconds; None for no such time."""
    if len(text) == _DIGITS_OF_MS and text.isdigit() and text.isascii():
        return int(text) * 1_000
    try:
        number = Decimal(text)
        precision = precision_of(int(number))
    except (ArithmeticError, ValueError):
        return None
    if precision is None:
        return None
    multiply, divide = PRECISIONS[precision]
    return int(number * multiply / divide)


def find_series(
    names: SeriesNames, name: str, labels: dict[str, str], *, unit: str = "",
    kind: Literal["", "gauge", "counter"] = "",
) -> NamedSeries:  # fmt: skip
    """Return the series with a name and labels; Home Assistant's are named by their entity."""
    ending = name.removesuffix("_total").rpartition("_")[2]
    unit = _UNITS.get(unit, unit) or _UNITS.get(ending, "")
    entity = labels.get("entity", "")
    if _HOME_ASSISTANT.fullmatch(name) and "." in entity:
        domain, _, entity_id = entity.partition(".")
        rest = {key: text for key, text in labels.items() if key not in {"entity", "domain"}}
        labels = {**rest, "domain": domain, "entity_id": entity_id}
    elif "entity_id" in labels and name.endswith("_value"):
        # Home Assistant's measurement is its unit; VictoriaMetrics joins it with the field's name.
        name = name.removesuffix("_value")
        unit = name if is_known_unit(name) else ""
    tags = tuple(sorted(labels.items()))
    return names.find(Origin(name, tags, "value"), unit=unit if is_known_unit(unit) else "", kind=kind)


def _recognises_json(head: bytes) -> bool:
    return _SERIES.match(head) is not None


def convert_json(content: Content, names: SeriesNames) -> Iterator[bytes]:
    """Yield the samples of JSON lines as CSV of readings; afterwards `names` has all their series.

    Times are milliseconds since 1970. A value null marks a series that ended, and is counted as missing.
    """
    yield READINGS_LINE
    number = 1
    for chunk in _lines_of(content):
        for line in chunk.split(b"\n"):
            if line.strip():
                yield from _series_rows(number, line, names)
            number += 1
        number -= chunk.endswith(b"\n")


def _series_rows(number: int, line: bytes, names: SeriesNames) -> Iterator[bytes]:
    rows = Rows()
    found = _read_series(line)
    if found is None:
        rows.add_damaged(number, line[:400].decode("utf-8", "replace"))
        yield rows.taken()
        return
    labels, values, times = found
    cells = find_series(names, labels.pop("__name__", ""), labels).cells
    for time, value in zip(times, values, strict=True):
        shown = "" if value is None else repr(value) if type(value) in (int, float) else quoted(str(value))
        if type(time) is int:
            rows.add(number, time * 1_000, cells, shown)
        else:
            rows.add_text(number, str(time), cells, str(value))
        if len(rows) >= _ROWS_A_CHUNK:
            check_budget()
            yield rows.taken()
    yield rows.taken()


def _read_series(line: bytes) -> tuple[dict[str, str], list[Any], list[Any]] | None:
    """Return the labels, values and times of a line, None if it is damaged."""
    try:
        stored = json.loads(line)
        labels, values, times = stored["metric"], stored["values"], stored["timestamps"]
        is_whole = len(values) == len(times) and all(isinstance(text, str) for text in labels.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return (dict(labels), values, times) if is_whole else None


def _convert_text(content: Content) -> Iterator[bytes]:
    return convert_text(content, SeriesNames())


def _convert_json(content: Content) -> Iterator[bytes]:
    return convert_json(content, SeriesNames())


PROMETHEUS_TEXT = Format("samples of Prometheus", _recognises_text, _convert_text)
VICTORIA_METRICS = Format("an export of VictoriaMetrics", _recognises_json, _convert_json)
