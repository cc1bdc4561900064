"""Home Assistant's downloads as CSV, and what its words mean in them and in its database.

The energy page gives a table with the instants across: what flowed from each instant to the next. The history
page gives the states of entities, each with the instant since which it lasted. Statistics are exported by the
integration "Import Statistics", in local time and with the delimiter and decimal mark that a person chose.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from joulebook.telemetry.files.errors import UnreadableFile
from joulebook.telemetry.files.formats.csv_chunks import CsvChunks
from joulebook.telemetry.files.formats.format import Content, Format
from joulebook.telemetry.files.formats.readings import ReadingsWriter

NO_VALUES = frozenset({"unavailable", "unknown", ""})
"""States of an entity without a value."""

_WORDS = {"on": 1.0, "off": 0.0, "open": 1.0, "closed": 0.0, "home": 1.0, "not_home": 0.0}

is_number = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch
"""Matches a state written as a number."""

_LONGEST_LINE = 8 << 20
_ENERGY = ["entity_id", "type", "unit"]
_HISTORY = ["entity_id", "state", "last_changed"]
# Attributes of heaters and humidifiers that the history page adds as columns.
_ATTRIBUTES = frozenset(
    {
        *("current_temperature", "hvac_action", "target_temp_high", "target_temp_low", "temperature"),
        *("action", "current_humidity", "humidity", "operation_mode"),
    }
)


_STATISTICS = {"statistic_id", "unit", "start"}
_DELIMITERS = "\t;,|"


def metric_of(entity: str) -> str:
    """Return the metric of an entity: of a sensor without the word for it."""
    return entity.removeprefix("sensor.")


def number_of(state: object) -> float | None:
    """Return the number of a state, None for other words than on and off and their like."""
    text = state if isinstance(state, str) else str(state)
    return float(text) if is_number(text) else _WORDS.get(text)


def is_word(state: object) -> bool:
    """Return whether a state is a word with a number."""
    return state in _WORDS


def _recognised(fits: Callable[[list[str]], bool]) -> Callable[[bytes], bool]:
    """Return the check of a file's header."""

    def recognises(head: bytes) -> bool:
        line = head.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0]
        return line[:12].lstrip(b'"').startswith(b"entity_id") and fits(
            _cells(line.decode("utf-8", "replace"))
        )

    return recognises


def _cells(line: str, delimiter: str = ",") -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _is_history(header: list[str]) -> bool:
    return header[:3] == _HISTORY and _ATTRIBUTES.issuperset(header[3:])


def _convert_energy(content: Content) -> Iterator[bytes]:
    """Yield an amount for each row and instant; its metric has not the name of the entity's register."""
    rows = _rows(content)
    _, header = next(rows)
    times = header[3:]
    writer = ReadingsWriter()
    for line, row in rows:
        entity, kind, unit, *amounts = [*row, "", "", ""][: max(3, len(row))]
        metric = f"{metric_of(entity)}_delta" if entity else kind
        if not metric or len(amounts) > len(times):
            writer.add_broken(line, ",".join(row), metric or "unknown", unit, "amount")
            continue
        for time, amount in zip(times, amounts, strict=False):
            writer.add(line, time, metric, unit, "amount", amount)
        yield writer.chunk()
    yield writer.rest()


def _convert_history(content: Content) -> Iterator[bytes]:
    """Yield the states with a number, or a word such as on; other words are counted as malformed."""
    rows = _rows(content)
    _, header = next(rows)
    writer = ReadingsWriter()
    for line, row in rows:
        if len(row) < len(_HISTORY) or len(row) > len(header) or not row[0]:
            writer.add_broken(line, ",".join(row), metric_of(row[0]) or "unknown", "", "")
            continue
        entity, state, time, *attributes = row
        number = number_of(state) if is_word(state) else None
        value = state if number is None else f"{number:g}"
        writer.add(line, time, metric_of(entity), "", "" if number is None else "state", value)
        for name, text in zip(header[3:], attributes, strict=False):
            # The others are words of the same instant: heating, idle.
            if is_number(text):
                writer.add(line, time, f"{metric_of(entity)}.{name}", "", "gauge", text)
        yield writer.chunk()
    yield writer.rest()


def _statistics_delimiter(head: bytes) -> str:
    """Return the delimiter of an export of statistics, empty for another file."""
    line = head.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0].decode("utf-8", "replace")
    for delimiter in _DELIMITERS if "statistic_id" in line else "":
        names = set(_cells(line.strip(), delimiter))
        if names >= _STATISTICS and names & {"mean", "sum", "delta"}:
            return delimiter
    return ""


def _convert_statistics(content: Content) -> Iterator[bytes]:
    """Yield a table of what flowed in each hour, and of means: its times are yet to be understood.

    A register that is written with the beginning of the hour, but was reached at its end, would be an hour
    early: what it rose by belongs to the hour.
    """
    delimiter = _statistics_delimiter(next(content.chunks(), b""))
    rows = _rows(content, delimiter)
    names = [name.strip("\ufeff") for name in next(rows)[1]]
    out = CsvChunks()
    out.write(["start", "statistic", "unit", "value"])
    before: dict[str, Decimal] = {}
    for _, row in rows:
        cells = dict(zip(names, row, strict=False))
        name, value = metric_of(cells.get("statistic_id", "")), cells.get("mean", "")
        if not value:
            value = cells.get("delta", "") or _rise(before, name, cells.get("sum", ""))
            name = f"{name}_delta"
        out.write([cells.get("start", ""), name, cells.get("unit", ""), value.replace(",", ".")])
        if out.is_full:
            yield out.taken()
    yield out.taken()


def _rise(before: dict[str, Decimal], name: str, text: str) -> str:
    """Return what a sum rose by since the last one of the same name; the text itself if it is no number."""
    written = text.replace(",", ".")
    if not is_number(written):
        return text
    total = Decimal(written)
    last = before.get(name)
    before[name] = total
    return "" if last is None else f"{total - last:f}"


def _rows(content: Content, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with its line."""
    reader = csv.reader(_lines(content.chunks(), name=content.name), delimiter=delimiter)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as exc:
            raise UnreadableFile(
                f"{content.name} is no CSV file from line {reader.line_num} on: {exc}"
            ) from exc
        if row is None:
            return
        if row:
            yield reader.line_num, row


def _lines(chunks: Iterable[bytes], *, name: str) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in whole)
        if len(rest) > _LONGEST_LINE:
            raise UnreadableFile(
                f"{name} has a line of more than {_LONGEST_LINE >> 20} MB; is it a CSV file?"
            )
    if rest:
        yield rest.decode("utf-8", "replace")


HOME_ASSISTANT_ENERGY = Format(
    "a download of Home Assistant's energy page",
    _recognised(lambda header: header[:3] == _ENERGY and len(header) > len(_ENERGY)),
    _convert_energy,
)
HOME_ASSISTANT_HISTORY = Format(
    "a download of Home Assistant's history page", _recognised(_is_history), _convert_history
)
HOME_ASSISTANT_STATISTICS = Format(
    "an export of Home Assistant's statistics",
    lambda head: _statistics_delimiter(head) != "",
    _convert_statistics,
)
