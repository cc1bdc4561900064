"""Readings of other time-series databases: their series get metrics, and their rows become CSV.

A series there has a measurement (or name), tags and a field. Its metric is named as ingest names lines, and
series of Home Assistant by their entity. Two series never share a metric: the later one gets a longer name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, NoReturn

import polars as pl

from joulebook.telemetry.files.formats.format import Content
from joulebook.telemetry.files.text import utf8_chunks
from joulebook.telemetry.line_protocol.naming import METRIC, VALUE_FIELD, Pattern, UnitRule
from joulebook.telemetry.readings import METRIC_NAME_LENGTH

TEXT_FIELDS = "text fields"
"""The metric of all values that are text: they are counted there, and never stored."""

TEXT = "text"
"""Stands for the value of a text: the reader takes it for a missing number."""

_MOST_NAMES = 100_000
_LONGEST_SHOWN = 200
_EARLIEST, _LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999
_YEAR_2000, _YEAR_2100 = 946_684_800, 4_102_444_800


@dataclass(frozen=True)
class Origin:
    """The identity of a series in the other database; `context` is its database, or the query's name."""

    measurement: str
    tags: tuple[tuple[str, str], ...]
    field: str
    context: str = ""


@dataclass(frozen=True)
class NamedSeries:
    """A series with its metric, and its unit and kind as far as the other database says."""

    origin: Origin
    metric: str
    unit: str
    kind: Literal["", "gauge", "counter"]

    @property
    def cells(self) -> str:
        """The cells `metric,unit,kind` of its rows."""
        return f"{quoted(self.metric)},{quoted(self.unit)},{self.kind}"


class SeriesNames:
    """Gives each series of one file a metric of its own, the same whenever the file is read."""

    def __init__(self) -> None:
        self.by_metric: dict[str, NamedSeries] = {}
        self._by_origin: dict[Origin, NamedSeries] = {}

    def find(
        self, origin: Origin, *, unit: str | None = None, kind: Literal["", "gauge", "counter"] = ""
    ) -> NamedSeries:
        """Return the series of an origin; without `unit` it is found by the rule `auto` of ingest."""
        found = self._by_origin.get(origin)
        if found is None:
            tags = dict(origin.tags)
            if unit is None:
                unit = _units().unit_of(origin.measurement, tags, origin.field)
            found = NamedSeries(origin, self._free_metric(origin, tags), unit, kind)
            if len(self._by_origin) < _MOST_NAMES:
                self.by_metric[found.metric] = self._by_origin[origin] = found
        return found

    def _free_metric(self, origin: Origin, tags: dict[str, str]) -> str:
        """Return the shortest name not taken; of very many series only the whole name."""
        whole = _metric(_patterns()[-1], origin, tags)
        far = f"{origin.context}: {whole}" if origin.context else whole
        names = [_metric(each, origin, tags) for each in _patterns() if each.fits(tags)]
        for name in [*names, far] if len(self._by_origin) < _MOST_NAMES else [far]:
            if name and len(name) <= METRIC_NAME_LENGTH and name not in self.by_metric:
                return name
        number, cut = 2, far[: METRIC_NAME_LENGTH - 8].strip()
        while f"{cut}_{number}" in self.by_metric:
            number += 1
        return f"{cut}_{number}"


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)


@cache
def home_assistant_pattern() -> Pattern:
    """Return the pattern that names series of Home Assistant by their entity."""
    return Pattern("{domain}.{entity_id}.{field}", _refuse)


@cache
def _patterns() -> tuple[Pattern, ...]:
    return home_assistant_pattern(), Pattern(METRIC, _refuse)


@cache
def _units() -> UnitRule:
    return UnitRule("auto")


def _metric(pattern: Pattern, origin: Origin, tags: dict[str, str]) -> str:
    name = pattern.names(origin.measurement, tags, None).metric(origin.field or VALUE_FIELD)
    return "".join(each if each.isprintable() else " " for each in name).strip(" .")


class Rows:
    """Rows of readings being collected; `taken` returns them as CSV.

    Rows with an instant come before those with a time as text.
    """

    def __init__(self) -> None:
        self._others: list[str] = []
        self._clear()

    def _clear(self) -> None:
        self.line: list[int] = []
        self.time: list[int] = []
        self.cells: list[str] = []
        self.value: list[str] = []

    def __len__(self) -> int:
        return len(self.line) + len(self._others)

    def add(self, line: int, time: int, cells: str, value: str) -> None:
        """Add a reading at an instant in microseconds since 1970 UTC."""
        self.line.append(line)
        self.time.append(time)
        self.cells.append(cells)
        self.value.append(value)

    def add_text(self, line: int, time: str, cells: str, value: str) -> None:
        """Add a row with the time and the value as written."""
        self._others.append(f"{line},{quoted(time)},{cells},{quoted(value)}\n")

    def add_damaged(self, line: int, raw: str) -> None:
        """Add a row for a line that cannot be read: it is counted as malformed."""
        self.add_text(line, raw[:_LONGEST_SHOWN], ",,", "")

    def taken(self) -> bytes:
        """Return the rows as CSV, and begin anew."""
        if self.time and not _EARLIEST <= min(self.time) <= max(self.time) <= _LATEST:
            self._move_impossible()
        stamps = pl.Series(self.time, dtype=pl.Int64).cast(pl.Datetime("us"))
        times = stamps.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_list()
        rows = [
            f"{line},{time},{cells},{value}\n"
            for line, time, cells, value in zip(self.line, times, self.cells, self.value, strict=True)
        ]
        text = "".join([*rows, *self._others]).encode("utf-8", "replace")
        self._clear()
        self._others = []
        return text

    def _move_impossible(self) -> None:
        """Add rows with an instant outside the calendar as text."""
        rows = list(zip(self.line, self.time, self.cells, self.value, strict=True))
        self._clear()
        for line, time, cells, value in rows:
            if _EARLIEST <= time <= _LATEST:
                self.add(line, time, cells, value)
            else:
                self.add_text(line, str(time), cells, value)


def quoted(text: str) -> str:
    """Return text as a cell of CSV in one line."""
    if text.isalnum():
        return text
    if not text.isprintable():
        text = "".join(each if each.isprintable() else " " for each in text)
    return f'"{text.replace(chr(34), chr(34) * 2)}"'


@cache
def text_cells() -> str:
    """Return the cells `metric,unit,kind` of a value that is text."""
    return f"{quoted(TEXT_FIELDS)},,"


PRECISIONS: Mapping[str, tuple[int, int]] = {
    "ns": (1, 1_000), "us": (1, 1), "ms": (1_000, 1), "s": (1_000_000, 1)
}  # fmt: skip
"""Converts a number of a precision to microseconds: times the first number, divided by the second."""


def precision_of(stamp: int) -> str | None:
    """Return the precision by which a number lies in the years 2000 to 2099; None if none does."""
    for name, (multiply, divide) in PRECISIONS.items():
        if _YEAR_2000 * 1_000_000 <= stamp * multiply // divide < _YEAR_2100 * 1_000_000:
            return name
    return None


def whole_lines(chunks: Iterator[bytes], *, most: int, refuse: Callable[[], NoReturn]) -> Iterator[bytes]:
    """Yield chunks cut behind line ends; call `refuse` for a line of more than `most` bytes."""
    rest: list[bytes] = []
    size = 0
    for chunk in chunks:
        cut = chunk.rfind(b"\n") + 1
        if cut:
            yield b"".join([*rest, chunk[:cut]])
            rest, size = [], 0
        rest.append(chunk[cut:])
        size += len(chunk) - cut
        if size > most:
            refuse()
    if last := b"".join(rest):
        yield last


def text_lines(content: Content) -> Iterator[str]:
    """Yield the lines of a text in UTF-8 with their ends."""
    rest = ""
    for chunk in utf8_chunks(content.chunks(), encoding="utf-8", line_end="\n"):
        lines = (rest + chunk.decode("utf-8", "replace")).replace("\0", "").split("\n")
        rest = lines.pop()
        yield from (line + "\n" for line in lines)
    if rest:
        yield rest
