"""Green Button (ESPI): an Atom feed of meters' readings, as utilities in North America hand out.

A feed links its entries: a block of readings belongs to a meter reading, and this to a reading type with
unit, power of ten, direction and interval. Source: NAESB REQ.21 (ESPI), espi.xsd. Times are seconds since
1970 UTC at the beginning of an interval; costs are hundred-thousandths of a currency.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from xml.parsers import expat

from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import UnreadableFile
from joulebook.telemetry.files.formats.format import Content, Format
from joulebook.telemetry.files.formats.readings import MetricNames, ReadingsWriter, from_seconds

MOST_ENTRIES = 10_000
"""Most entries kept of a feed: meters, types and their links, not the blocks of readings."""

MOST_HELD = 100_000
"""Most readings held of an entry that does not say first what they belong to."""

_MOST_DEPTH = 50
_MOST_FIELDS = 100
_MOST_POWER = 30
_COST_POWER = -5
_LONGEST_TEXT = 1000
_PIECE = 65_536
_A_PART = 5000
_BEGINNING = re.compile(rb"(?:\xef\xbb\xbf)?\s*<[^>]")
_NAMESPACE = b"http://naesb.org/espi"
_COMMODITIES = {
    "1": "electricity", "2": "electricity", "7": "gas", "8": "propane", "9": "water", "10": "steam",
    "11": "wastewater", "12": "heating", "13": "cooling",
}  # fmt: skip
_SERVICES = {"0": "electricity", "1": "gas", "2": "water", "5": "heating", "6": "cooling"}
_DIRECTIONS = {"1": "import", "4": "net", "19": "export", "20": "total", "21": "total"}
_QUALIFIERS = {"2": "average", "8": "maximum", "9": "minimum"}
_UNITS = {
    "72": ("Wh", ""), "71": ("VAh", "apparent"), "73": ("varh", "reactive"), "106": ("Ah", "charge"),
    "38": ("W", "power"), "61": ("VA", "apparent power"), "63": ("var", "reactive power"),
    "29": ("V", "voltage"), "5": ("A", "current"), "33": ("Hz", "frequency"), "23": ("°C", "temperature"),
    "65": ("", "power factor"), "153": ("", "power factor"), "111": ("pulse", "count"),
    "31": ("J", ""), "132": ("BTU", ""), "133": ("BTU/h", "power"), "169": ("thm", ""),
    "42": ("m³", ""), "166": ("m³", ""), "167": ("m³", ""), "119": ("ft³", ""), "120": ("ft³", ""),
    "134": ("l", ""), "156": ("l", ""), "157": ("l", ""), "128": ("gal", ""), "130": ("impgal", ""),
    "125": ("m³/h", "flow"), "126": ("m³/h", "flow"), "127": ("m³/h", "flow"), "137": ("l/h", "flow"),
}  # fmt: skip
"""Units and what a metric in them is called, by their numbers; energies and volumes need no word."""

_FLOWS = frozenset({"Wh", "VAh", "varh", "Ah", "J", "BTU", "thm", "m³", "ft³", "l", "gal", "impgal", "pulse"})
"""Units whose values add up over time."""

_REGISTERS = frozenset({"1", "2", "3"})
_LEVELS = frozenset({"6", "12"})
_CURRENCIES = {
    "840": "USD",
    "124": "CAD",
    "978": "EUR",
    "826": "GBP",
    "36": "AUD",
    "554": "NZD",
    "484": "MXN",
}
_READINGS = frozenset({"IntervalReading", "Reading"})
_BLOCKS = frozenset({"IntervalBlock", "MeterReading"})


@dataclass
class _Entry:
    """An entry of the feed: what it is, its links, and the fields of a type."""

    content: str = ""
    title: str = ""
    own: str = ""
    up: str = ""
    related: list[str] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


@dataclass
class _Reading:
    """A reading as written; `place` counts them in a block that began at `block_start`."""

    line: int
    block_start: str
    place: int
    fields: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Series:
    """What a block's readings are."""

    metric: str
    unit: str
    kind: str
    power: int
    interval: int
    currency: str


class _Feed:
    """Reads a feed entry by entry."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._path: list[str] = []
        self._text: list[str] = []
        self._entry = _Entry()
        self._readings: list[_Reading] = []
        self._read: list[tuple[_Entry, list[_Reading]]] = []
        self._block_start = ""
        self._place = 0
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.StartElementHandler = self._begin
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._add_text

    def items(self, content: Content) -> Iterator[tuple[_Entry, list[_Reading]]]:
        """Yield the entries with their readings, those of a long entry in several parts.

        Raises `UnreadableFile` at damage, after the entries before it.
        """
        try:
            for chunk in content.chunks():
                for begin in range(0, len(chunk), _PIECE):
                    check_budget()
                    self._parser.Parse(chunk[begin : begin + _PIECE], False)
                    yield from self._taken()
            self._parser.Parse(b"", True)
        except expat.ExpatError as exc:
            yield from self._taken()
            raise UnreadableFile(
                f"{self._name} is damaged or cut off at line {exc.lineno} ({expat.ErrorString(exc.code)}); "
                "fetch the file again"
            ) from exc
        yield from self._taken()
        if self._readings:
            yield self._entry, self._readings

    def _taken(self) -> list[tuple[_Entry, list[_Reading]]]:
        read, self._read = self._read, []
        return read

    def _refuse(self, *_declared: object) -> None:
        raise UnreadableFile(
            f"{self._name} declares a document type of its own, which no Green Button file needs; "
            "fetch the file again from the utility"
        )

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        tag = name.rpartition(":")[2]
        parent = self._path[-1] if self._path else ""
        self._path.append(tag)
        self._text.clear()
        if len(self._path) > _MOST_DEPTH:
            raise UnreadableFile(f"{self._name} nests its elements more than {_MOST_DEPTH} deep")
        if tag in _READINGS:
            line = self._parser.CurrentLineNumber
            self._readings.append(_Reading(line, self._block_start, self._place))
            self._place += 1
        elif tag == "entry":
            self._entry = _Entry()
        elif tag in _BLOCKS:
            self._block_start, self._place = "", 0
        elif tag == "link" and parent == "entry":
            href = attributes.get("href", "")[:_LONGEST_TEXT].rstrip("/")
            match attributes.get("rel"):
                case "self":
                    self._entry.own = href
                case "up":
                    self._entry.up = href
                case "related":
                    self._entry.related.append(href)
            if len(self._entry.related) > MOST_ENTRIES:
                raise UnreadableFile(f"{self._name} has an entry with more than {MOST_ENTRIES:,} links")
        if parent == "content":
            self._entry.content = tag

    def _end(self, _name: str) -> None:
        tag = self._path.pop()
        parent = self._path[-1] if self._path else ""
        text = "".join(self._text).strip()
        self._text.clear()
        if parent == "timePeriod" or parent in _READINGS:
            if self._readings:
                self._readings[-1].fields.setdefault(tag, text)
        elif parent == "interval" and tag == "start":
            self._block_start = text
        elif parent in ("ReadingType", "ServiceCategory"):
            self._entry.fields[f"{parent} {tag}"] = text
            if len(self._entry.fields) > _MOST_FIELDS:
                raise UnreadableFile(f"{self._name} has a reading type with more than {_MOST_FIELDS} fields")
        elif parent == "entry" and tag == "title":
            self._entry.title = text
        if tag == "entry":
            self._read.append((self._entry, self._readings))
            self._readings = []
            self._entry = _Entry()
        elif tag in _READINGS and len(self._readings) >= _A_PART:
            if self._entry.own or self._entry.up:
                self._read.append((self._entry, self._readings))
                self._readings = []
            elif len(self._readings) > MOST_HELD:
                raise UnreadableFile(
                    f"{self._name}: the entry at line {self._readings[0].line} has more than {MOST_HELD:,} "
                    "readings before it says what they belong to"
                )

    def _add_text(self, text: str) -> None:
        if sum(map(len, self._text)) < _LONGEST_TEXT:
            self._text.append(text[:_LONGEST_TEXT])


class _Directory:
    """The meters and types of a feed, and what the readings of a block are."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._names = MetricNames()
        self._is_complete = False
        self._types: dict[str, _Entry] = {}
        self._meters: dict[str, _Entry] = {}
        self._services: dict[str, str] = {}
        self._found: dict[tuple[str, str], _Series] = {}

    def add(self, entry: _Entry) -> None:
        """Add an entry unless it holds readings alone, or all of them are known."""
        if self._is_complete:
            return
        match entry.content:
            case "ReadingType":
                self._types[entry.own or f"type {len(self._types)}"] = entry
            case "MeterReading":
                self._meters[entry.own] = entry
            case "UsagePoint":
                self._services[entry.own] = entry.fields.get("ServiceCategory kind", "")
        if len(self._types) + len(self._meters) + len(self._services) > MOST_ENTRIES:
            raise UnreadableFile(
                f"{self._content.name} has more than {MOST_ENTRIES:,} meters and types; fetch fewer of "
                "them at a time"
            )

    def series_of(self, block: _Entry, line: int) -> _Series:
        """Return what the readings of a block are; raises `UnreadableFile` if the feed does not say it."""
        key = (block.own, block.up)
        if key not in self._found:
            found = self._linked(block)
            if found is None and not self._is_complete:
                # The type may come behind its readings.
                self._types.clear()
                for entry, _ in _Feed(self._content.name).items(self._content):
                    self.add(entry)
                self._is_complete = True
                found = self._linked(block)
            if found is None and len(self._types) == 1:
                found = "", next(iter(self._types.values()))
            if found is None:
                raise UnreadableFile(
                    f"{self._content.name}: the feed does not say of which type the readings at line {line} "
                    f"are, and has {len(self._types)} types; fetch the whole file again from the utility"
                )
            if len(self._found) > MOST_ENTRIES:
                self._found.clear()
            self._found[key] = self._series(*found)
        return self._found[key]

    def _linked(self, block: _Entry) -> tuple[str, _Entry] | None:
        """Return the meter reading that a block's links lead to, and its type."""
        for own, meter in self._meters.items():
            is_linked = (block.up and block.up in (own, *meter.related)) or (
                own and any(href.startswith(f"{own}/") for href in (block.own, block.up))
            )
            if is_linked:
                found = next((self._types[href] for href in meter.related if href in self._types), None)
                if found is not None:
                    return own, found
        return None

    def _series(self, meter: str, entry: _Entry) -> _Series:
        fields = {name.removeprefix("ReadingType "): text for name, text in entry.fields.items()}
        services = [kind for own, kind in self._services.items() if own and meter.startswith(f"{own}/")]
        service = _SERVICES.get(services[0], "") if services else ""
        code = fields.get("uom", "0")
        unit, noun = _UNITS.get(code, ("", "" if code == "0" else f"unit {code}"))
        commodity = _COMMODITIES.get(fields.get("commodity", "0"), "") or service
        accumulation = fields.get("accumulationBehaviour", "0")
        if unit not in _FLOWS or accumulation in _LEVELS:
            kind = "gauge"
        else:
            kind = "counter" if accumulation in _REGISTERS else "amount"
        words = (
            *(commodity, _QUALIFIERS.get(fields.get("dataQualifier", ""), ""), noun),
            *("register" if kind == "counter" else "", _DIRECTIONS.get(fields.get("flowDirection", ""), "")),
        )
        name = " ".join(filter(None, words)) or "reading"
        interval = _whole(fields.get("intervalLength", ""))
        longer = f"{name} every {interval // 60} min" if interval else name
        titled = f"{name} {self._meters[meter].title if meter in self._meters else entry.title}".strip()
        return _Series(
            self._names.name((meter, entry.own), name, longer, titled),
            unit, kind, _whole(fields.get("powerOfTenMultiplier", "")), interval,
            _CURRENCIES.get(fields.get("currency", ""), ""),
        )  # fmt: skip


def _convert(content: Content) -> Iterator[bytes]:
    """Yield the readings of a feed; raises `UnreadableFile` at damage, and for readings of no known type."""
    out = ReadingsWriter()
    directory = _Directory(content)
    try:
        for entry, readings in _Feed(content.name).items(content):
            directory.add(entry)
            for reading in readings:
                _add(out, reading, directory.series_of(entry, reading.line))
            if chunk := out.chunk():
                yield chunk
    except UnreadableFile:
        yield out.rest()
        raise
    yield out.rest()


def _add(out: ReadingsWriter, reading: _Reading, series: _Series) -> None:
    start = reading.fields.get("start", "")
    if not start and reading.block_start and series.interval:
        # Without a time of their own the readings follow one another from the beginning of their block.
        start = str(_whole(reading.block_start) + reading.place * series.interval)
    time = from_seconds(start or "(no time)")
    value = _scaled(reading.fields.get("value", ""), series.power)
    out.add(reading.line, time, series.metric, series.unit, series.kind, value)
    if cost := reading.fields.get("cost", ""):
        price = _scaled(cost, _COST_POWER)
        out.add(reading.line, time, f"{series.metric} cost", series.currency, "amount", price)


def _scaled(text: str, power: int) -> str:
    """Return a number times a power of ten, exactly; any other text as it is."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    return f"{number.scaleb(power):f}" if number.is_finite() and abs(power) <= _MOST_POWER else text


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


GREEN_BUTTON = Format(
    "a Green Button (ESPI) file",
    lambda head: _NAMESPACE in head and _BEGINNING.match(head) is not None,
    _convert,
)
