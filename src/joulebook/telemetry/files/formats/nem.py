"""NEM12 and NEM13: interval and register readings of Australian electricity meters.

Source: AEMO, Meter Data File Format Specification NEM12 & NEM13. Times are those of the market, UTC+10
without summer time. A day's line has the values of its intervals in order from midnight; a value is stored
at the beginning of its interval.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from joulebook.telemetry.files.blocks import MAX_LINE_BYTES, cut_blocks
from joulebook.telemetry.files.errors import UnreadableFile
from joulebook.telemetry.files.formats.format import Content, Format
from joulebook.telemetry.files.formats.readings import MetricNames, ReadingsWriter
from joulebook.telemetry.files.text import utf8_chunks

_BEGINNING = re.compile(
    rb'(?:\xef\xbb\xbf)?\s*(?:"?100"?,"?NEM1[23]"?\s*[,\r\n]|200,\w{10,11},(?:[^,\r\n]*,){2}\w{2},)',
    re.IGNORECASE,
)
_MARKET = timezone(timedelta(hours=10))
_DAY = 1440
_LINES_A_BLOCK = 1000
_UNITS = {
    unit.lower(): unit
    for unit in (
        *("MWh", "kWh", "Wh", "Mvarh", "kvarh", "varh", "MVAh", "kVAh", "VAh", "kV", "V", "kA", "A"),
        *("MW", "kW", "W", "Mvar", "kvar", "var", "MVA", "kVA", "VA"),
    )
} | {"pf": ""}
_NULL = "N"
"""The quality of an interval or register without a reading; its value in the file is a placeholder."""

_VARIABLE = "V"
"""The quality of a day whose intervals have different ones, each given by a following record."""


@dataclass(frozen=True)
class _Stream:
    """The values of one register: where the following days belong."""

    metric: str
    unit: str
    minutes: int

    @property
    def kind(self) -> str:
        return "amount" if self.unit.endswith("h") else "gauge"


@dataclass
class _Day:
    """A day's intervals, held until the records of their quality have passed."""

    line: int
    begin: datetime
    values: list[str]


def _convert(content: Content) -> Iterator[bytes]:
    """Yield the readings of a file.

    Raises `UnreadableFile` if a day precedes the record of its meter, or if the last record is missing.
    """
    converter = _Converter(content.name)
    try:
        for line, record in _records(content):
            converter.take(line, record)
            if chunk := converter.out.chunk():
                yield chunk
    except UnreadableFile:
        yield converter.out.rest()
        raise
    converter.end_day()
    yield converter.out.rest()
    if converter.is_open:
        raise UnreadableFile(
            f"{content.name} is cut off: its last record (900) is missing; fetch the file again"
        )


def _records(content: Content) -> Iterator[tuple[int, list[str]]]:
    """Yield the records with their lines; a quoted cell may span lines."""
    chunks = utf8_chunks(content.chunks(), encoding="utf-8")
    for block in cut_blocks(chunks, max_lines=_LINES_A_BLOCK):
        for at, line in enumerate(block.data.decode("utf-8", "replace").split("\n")):
            if text := line.strip():
                try:
                    cells = next(csv.reader([text[:MAX_LINE_BYTES]]))
                except csv.Error:
                    cells = [text]
                yield block.first_line + at, [cell.strip() for cell in cells]


class _Converter:
    def __init__(self, name: str) -> None:
        self.out = ReadingsWriter()
        self.is_open = False
        self._name = name
        self._names = MetricNames()
        self._stream: _Stream | None = None
        self._day: _Day | None = None

    def take(self, line: int, record: Sequence[str]) -> None:
        """Take the next record."""
        kind = record[0]
        if kind == "400" and self._day is not None:
            self._take_quality(line, record, self._day)
            return
        if kind != "500":
            self.end_day()
        match kind:
            case "100":
                self.is_open = True
            case "900":
                self.is_open = False
            case "200":
                self._take_stream(line, record)
            case "300":
                self._take_day(line, record)
            case "250":
                self._take_registers(line, record)
            case "500" | "550":
                pass
            case _:
                self._add_broken(line, record)

    def end_day(self) -> None:
        """Add the day held back."""
        if self._day is not None and self._stream is not None:
            stream, day = self._stream, self._day
            for at, value in enumerate(day.values):
                time = day.begin + timedelta(minutes=at * stream.minutes)
                self.out.add(day.line, time, stream.metric, stream.unit, stream.kind, value)
        self._day = None

    def _add_broken(self, line: int, record: Sequence[str]) -> None:
        if self._stream is None:
            raise UnreadableFile(
                f"{self._name}: line {line} ({','.join(record)[:60]!r}) is no record of NEM12 or NEM13 "
                "with a meter before it; fetch the file again"
            )
        self.out.add_broken(line, ",".join(record), self._stream.metric, self._stream.unit, self._stream.kind)

    def _take_stream(self, line: int, record: Sequence[str]) -> None:
        cells = (*record, *[""] * 9)[:9]
        _, nmi, _, register, suffix, _, _, unit, minutes = cells
        length = int(minutes) if minutes.isdecimal() else 0
        if not length or _DAY % length:
            raise UnreadableFile(
                f"{self._name}: line {line} does not say how long the intervals of a meter are "
                f"({','.join(record)[:60]!r}); fetch the file again"
            )
        unit = _UNITS.get(unit.lower(), unit)
        series = (nmi, suffix or register, unit)
        self._stream = _Stream(self._metric(*series), unit, length)

    def _metric(self, nmi: str, suffix: str, unit: str, words: str = "") -> str:
        """Return the name of a meter's stream: its suffix, with the unit or the meter only where needed."""
        name = f"{suffix}{words}"
        return self._names.name((nmi, suffix, unit, words), name, f"{name} {nmi}", f"{name} {nmi} {unit}")

    def _take_day(self, line: int, record: Sequence[str]) -> None:
        if self._stream is None:
            self._add_broken(line, record)
            return
        count = _DAY // self._stream.minutes
        quality = record[2 + count] if len(record) > 2 + count else ""
        begin = _moment(record[1] if len(record) > 1 else "", "%Y%m%d")
        # A line with another number of values cannot be placed on the clock.
        if begin is None or not quality[:1].isalpha():
            self._add_broken(line, record)
            return
        values = list(record[2 : 2 + count])
        self._day = _Day(line, begin, [""] * count if quality[0].upper() == _NULL else values)

    def _take_quality(self, line: int, record: Sequence[str], day: _Day) -> None:
        try:
            first, last = int(record[1]), int(record[2])
            quality = record[3][:1].upper()
        except (ValueError, IndexError):
            self._add_broken(line, record)
            return
        if quality == _NULL:
            for at in range(max(first, 1) - 1, min(last, len(day.values))):
                day.values[at] = ""

    def _take_registers(self, line: int, record: Sequence[str]) -> None:
        if len(record) < 20:
            self._add_broken(line, record)
            return
        nmi, register, suffix = record[1], record[3], record[4] or record[3]
        unit = _UNITS.get(record[19].lower(), record[19])
        self._stream = stream = _Stream(self._metric(nmi, suffix, unit), unit, _DAY)
        metric = self._metric(nmi, suffix, unit, f" register {register}".rstrip())
        (previous, since, _), (current, until, _) = reads = record[8:11], record[13:16]
        is_null = [quality[:1].upper() == _NULL for _, _, quality in reads]
        for value, time, without in ((previous, since, is_null[0]), (current, until, is_null[1])):
            self.out.add(line, _instant(time), metric, unit, "counter", "" if without else value)
        # The quantity has the meter's multiplier in it, and the difference of the registers has not.
        used = "" if any(is_null) else record[18]
        self.out.add(line, _instant(since), stream.metric, unit, stream.kind, used)


def _instant(text: str) -> datetime | str:
    return _moment(text, "%Y%m%d%H%M%S") or f"time {text!r}"


def _moment(text: str, written: str) -> datetime | None:
    try:
        return datetime.strptime(text, written).replace(tzinfo=_MARKET)
    except ValueError:
        return None


NEM = Format("a NEM12 or NEM13 file", lambda head: _BEGINNING.match(head) is not None, _convert)
