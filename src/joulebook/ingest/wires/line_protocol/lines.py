"""InfluxDB line protocol: parses lines into columns of readings.

Nothing here touches a database or reads a clock.
docs/reference/ingest.md describes how lines become devices and metrics.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from joulebook.ingest.access.tokens import Grant
from joulebook.ingest.commit.columns import Readings, TooManyReadings
from joulebook.ingest.wires.line_protocol.naming import LineNaming
from joulebook.telemetry.line_protocol.naming import Names
from joulebook.telemetry.line_protocol.plain import LONGEST_PLAIN, PlainLines, read_plain_lines
from joulebook.telemetry.line_protocol.syntax import (
    BadLine,
    Fields,
    LineScan,
    TooManyFields,
    field_name,
    plain_number,
    read_head,
    skip_nothing,
)
from joulebook.telemetry.readings import FUTURE_ALLOWANCE, metric_name_problem
from joulebook.telemetry.series import SeriesKey

PRECISIONS_V1: dict[str, tuple[int, int]] = {
    "n": (1, 1_000),
    "ns": (1, 1_000),
    "u": (1, 1),
    "us": (1, 1),
    "µ": (1, 1),
    "ms": (1_000, 1),
    "s": (1_000_000, 1),
    "m": (60_000_000, 1),
    "h": (3_600_000_000, 1),
}
"""Converts a time to microseconds, by v1's `precision`: times the first number, divided by the second."""

PRECISIONS_V2 = {name: PRECISIONS_V1[name] for name in ("ns", "us", "ms", "s")}

_TAB = 0x09

_TOO_MANY = "more than {} lines or readings in one request"


@dataclass(frozen=True)
class LineRules:
    """The rules for every line of one request.

    `grant` has the devices that the token may write for; `arrived_at` and `oldest` are microseconds since
    1970 UTC; `precision` is a value of `PRECISIONS_V1`; `naming` maps lines to devices and metrics.
    """

    grant: Grant
    arrived_at: int
    oldest: int
    most_readings: int
    precision: tuple[int, int] = PRECISIONS_V1["ns"]
    naming: LineNaming = field(default_factory=LineNaming)


def parse_lines(body: bytes, rules: LineRules, *, fast: bool = True) -> Readings:
    """Parse a body of line protocol.

    `packet` and `index` are numbers of lines, from 0. A line that breaks a rule is listed in `rejected`; its
    neighbours are kept. Text fields are skipped. Without `fast` every line takes the slow path, with the same
    result.

    Raises `TooManyReadings` for more readings, or more lines, than one request may hold.
    """
    # A lone line is faster by itself, and a body that is sure to exceed the limits is not split first.
    most_fields = 8 * rules.most_readings  # with tags
    is_modest = len(body) <= most_fields or body.count(b"=") <= most_fields
    by_columns = fast and 0 < body.count(b"\n") <= rules.most_readings and is_modest
    if by_columns and (plain := read_plain_lines(body)) is not None:
        parser = _LineParser(body, rules)
        if parser.take_columns(plain):
            return parser.finished()
    parser = _LineParser(body, rules)
    lines = position = number = 0
    while True:
        start = skip_nothing(body, position)
        number += body.count(b"\n", position, start)
        if start == len(body):
            return parser.finished()
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        if not (fast and parser.take_plain(body[start:end], number)):
            end = parser.take_any(start, number)
        number += body.count(b"\n", start, end)
        position = end
        lines += 1
        if max(lines, len(parser.readings.time)) > rules.most_readings:
            raise TooManyReadings(_TOO_MANY.format(rules.most_readings))


@dataclass(slots=True)
class _Head:
    """A parsed measurement with its tags; `numbers` are the numbers of its series by raw field key."""

    device_id: str
    measurement: str
    tags: dict[str, str]
    names: Names
    numbers: dict[bytes, int | None] = field(default_factory=dict)


class _Point(NamedTuple):
    """The identity of a field's points in InfluxDB."""

    measurement: str
    tags: dict[str, str]
    field: str


class _LineParser:
    """Collects the columns of one body."""

    def __init__(self, body: bytes, rules: LineRules) -> None:
        self.body = body
        self.rules = rules
        self.readings = Readings(names_ignored=False)
        self.heads: dict[bytes, _Head] = {}
        self.numbers: dict[SeriesKey, int] = {}
        self.points: list[_Point] = []
        self.others: dict[object, int] = {}
        self.shared: list[int] = []
        self.newest = rules.arrived_at + FUTURE_ALLOWANCE
        self.unit_rule = rules.naming.unit_rule_for(rules.grant)

    def take_columns(self, plain: PlainLines) -> bool:
        """Add the readings of plain lines. Return False if one is refused: this parser is then unusable."""
        multiply, divide = self.rules.precision
        time = [stamp * multiply // divide for stamp in plain.stamp]
        if min(time) < self.rules.oldest or max(time) > self.newest:
            return False
        series: dict[tuple[bytes, bytes], int] = {}
        written = list(zip(plain.head, plain.key, strict=True))
        for raw, key in dict.fromkeys(written):
            try:
                head = self.heads.get(raw) or self.head_of(raw)
            except BadLine:
                return False
            number = self.number_of(head, key)
            if number is None:
                return False
            series[raw, key] = number
        if len(time) > self.rules.most_readings:
            raise TooManyReadings(_TOO_MANY.format(self.rules.most_readings))
        readings = self.readings
        readings.key = [series[pair] for pair in written]
        readings.time, readings.value, readings.packet = time, plain.value, plain.line
        return True

    def finished(self) -> Readings:
        """Return the readings after the last line."""
        if self.shared:
            self.settle()
        return self.readings

    def take_plain(self, line: bytes, number: int) -> bool:
        """Add a plain line's readings; for any other line add nothing and return False."""
        if b'"' in line or b"\\" in line or len(line) > LONGEST_PLAIN:
            return False
        parts = line.split(b" ")
        if len(parts) == 3 and parts[2].isdigit() and len(parts[2]) <= 19:
            multiply, divide = self.rules.precision
            time = int(parts[2]) * multiply // divide
        elif len(parts) == 2:
            time = self.rules.arrived_at + number
        else:
            return False
        if not self.rules.oldest <= time <= self.newest:
            return False
        fields: Fields = []
        for pair in parts[1].split(b","):
            key, _, text = pair.partition(b"=")
            value = plain_number(text)
            if value is None or not key or key[0] == _TAB:
                return False
            fields.append((key, value))
        head = self.heads.get(parts[0])
        if head is None:
            try:
                head = self.head_of(parts[0])
            except BadLine:
                return False
        self.add(head, fields, time, number)
        return True

    def take_any(self, start: int, number: int) -> int:
        """Add the readings of the line at `start`, or reject it; return the offset of its end."""
        scan = LineScan(self.body, start)
        try:
            raw_head, fields, stamp = scan.line(self.rules.most_readings)
            head = self.heads.get(raw_head) or self.head_of(raw_head)
            self.add(head, fields, self.time_of(stamp, number), number)
        except TooManyFields as exc:
            raise TooManyReadings(str(exc)) from exc
        except BadLine as exc:
            self.readings.reject(number, None, exc.code, str(exc))
        end = self.body.find(b"\n", scan.position)
        return len(self.body) if end < 0 else end

    def add(self, head: _Head, fields: Fields, time: int, number: int) -> None:
        """Add the readings of a valid line; a field with an invalid metric name is rejected alone."""
        readings = self.readings
        for key, value in fields:
            series = head.numbers[key] if key in head.numbers else self.number_of(head, key)
            if series is None:
                self.reject_name(head, key, number)
                continue
            readings.key.append(series)
            readings.time.append(time)
            readings.value.append(value)
            readings.packet.append(number)

    def number_of(self, head: _Head, key: bytes) -> int | None:
        """Return the number of a series new to this head; None for an invalid name.

        If other points have the series already, the number is below zero: see `settle`.
        """
        name = field_name(key)
        metric = None if name is None else head.names.metric(name)
        if name is None or metric is None or metric_name_problem(metric):
            head.numbers[key] = None
            return None
        point = _Point(head.measurement, head.tags, name)
        number = self.numbers.setdefault((head.device_id, metric), len(self.points))
        if number == len(self.points):
            self.points.append(point)
            self.readings.keys.append((head.device_id, metric))
            if unit := self.unit_rule.unit_of(head.measurement, head.tags, name):
                self.readings.units[number] = unit
        elif self.points[number] != point:
            number = self.other_number(point, number)
        head.numbers[key] = number
        return number

    def other_number(self, point: _Point, series: int) -> int:
        """Return a number below zero for a point; its series has the number of another point."""
        identity = (point.measurement, tuple(sorted(point.tags.items())), point.field)
        number = self.others.setdefault(identity, -1 - len(self.shared))
        if number == -1 - len(self.shared):
            self.shared.append(series)
        return number

    def settle(self) -> None:
        """Reject readings that would silently replace those of an earlier point.

        InfluxDB would keep both, since they differ in measurement, tags or field; the naming here gives them
        the same name.
        """
        readings, shared = self.readings, set(self.shared)
        holders: dict[tuple[int, int], int] = {}
        numbers = [self.shared[-1 - key] if key < 0 else key for key in readings.key]
        kept = []
        for row, number in enumerate(numbers):
            if number in shared:
                holder = holders.setdefault((number, readings.time[row]), row)
                if readings.key[holder] == readings.key[row]:
                    holders[number, readings.time[row]] = row
                elif readings.value[holder] != readings.value[row]:
                    self.reject_shared(row, number, holder)
                    continue
            kept.append(row)
        readings.key = numbers
        readings.select(kept)

    def reject_shared(self, row: int, number: int, holder: int) -> None:
        """Reject a row, naming the line it conflicts with."""
        metric = self.readings.keys[number][1]
        message = (
            f"line {self.readings.packet[holder] + 1} has other tags or another field, but the same metric "
            f"{metric[:80]!r} and time, and was kept; let JOULEBOOK_LINE_PROTOCOL_METRIC tell them apart"
        )
        self.readings.reject(self.readings.packet[row], metric, "conflict", message)

    def reject_name(self, head: _Head, key: bytes, number: int) -> None:
        """Reject a field for its metric's name."""
        name = field_name(key)
        if name is None:
            self.readings.reject(number, None, "metric_name", f"field {key[:80]!r} is not UTF-8")
            return
        metric = head.names.metric(name)
        problem = metric_name_problem(metric)
        hint = "; leave out tags that tell nothing apart" if head.tags else ""
        self.readings.reject(number, metric, "metric_name", f"{problem}{hint}")

    def head_of(self, raw: bytes) -> _Head:
        """Parse a measurement and its tags, and remember them. Raises `BadLine`."""
        measurement, tags = read_head(raw)
        naming = self.rules.naming
        device_id, device_tag = naming.device_of(tags, self.rules.grant)
        names = naming.pattern_for(tags).names(measurement, tags, device_tag)
        head = self.heads[raw] = _Head(device_id, measurement, tags, names)
        return head

    def time_of(self, stamp: bytes | None, number: int) -> int:
        """Return the time of the line in microseconds since 1970 UTC. Raises `BadLine`."""
        if stamp is None:
            # A microsecond apart: lines of one body must not conflict with each other.
            return self.rules.arrived_at + number
        multiply, divide = self.rules.precision
        time = int(stamp) * multiply // divide
        if time > self.newest:
            message = f"{int(stamp)} is more than 10 minutes ahead of our clock; is `precision` right?"
            raise BadLine("time_future", message)
        if time < self.rules.oldest:
            message = f"{int(stamp)} is older than readings may be here; is `precision` right?"
            raise BadLine("time_past", message)
        return time
