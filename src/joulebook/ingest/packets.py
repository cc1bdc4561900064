"""JSON packets: the format, the parameters and the answers shared by HTTP and WebSockets.

Nothing here touches a database or reads a clock: bytes and the time of arrival go in, columns and rejections
come out. docs/reference/ingest.md describes the format.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from joulebook.ingest.access.tokens import Grant
from joulebook.ingest.commit.columns import Readings, TooManyReadings, UnparsableBody
from joulebook.ingest.commit.storing import StoredCounts
from joulebook.ingest.requests.refusals import Refusal
from joulebook.telemetry.readings import (
    FUTURE_ALLOWANCE,
    LARGEST_VALUE,
    METRIC_NAME_LENGTH,
    MICROSECONDS,
    metric_name_problem,
    to_microseconds,
)

PRECISIONS: dict[str, Callable[[float], int]] = {
    "s": lambda number: round(number * MICROSECONDS),
    "ms": lambda number: round(number * 1_000),
    "us": round,
    "ns": lambda number: int(number // 1_000),
}
"""Converts a number in `timestamp` to microseconds, by the request's `precision`."""

_DECODER = msgspec.json.Decoder()

_VALUES_A_READING = 5
"""Values and lines allowed in a body for each reading allowed; the others are mostly ignored."""


@dataclass(frozen=True)
class Parameters:
    """The query parameters of an address."""

    precision: str | None = None
    replace: bool = False
    atomic: bool = False


_NO_PARAMETERS = Parameters()


def read_parameters(query: bytes) -> Parameters:
    """Return the parameters of a query. Raises `Refusal` for an unknown name or value."""
    if not query:
        return _NO_PARAMETERS
    given = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    precision = given.pop("precision", None)
    if precision is not None and precision not in PRECISIONS:
        raise Refusal(400, "parameter", f"precision {precision[:20]!r} is not s, ms, us or ns")
    on_conflict = given.pop("on_conflict", "keep")
    if on_conflict not in {"keep", "replace"}:
        raise Refusal(400, "parameter", f"on_conflict {on_conflict[:20]!r} is not keep or replace")
    atomic = given.pop("atomic", "0")
    if atomic not in {"0", "1"}:
        raise Refusal(400, "parameter", f"atomic {atomic[:20]!r} is not 0 or 1")
    if given:
        raise Refusal(400, "parameter", f"parameter {next(iter(given))[:40]!r} is not known here")
    return Parameters(precision=precision, replace=on_conflict == "replace", atomic=atomic == "1")


def report_readings(readings: Readings, stored: StoredCounts, parameters: Parameters) -> dict[str, Any]:
    """Return an answer that accounts for every reading."""
    answer: dict[str, Any] = {
        "accepted": stored.accepted,
        "duplicate": stored.duplicate,
        "rejected": sorted(readings.rejected, key=lambda one: one.index) if readings.rejected else (),
        "ignored": list(readings.ignored),
    }
    if parameters.replace:
        answer["replaced"] = stored.replaced
    if readings.rejected_total:
        answer["rejected_total"] = readings.rejected_total
    return answer


class PacketRules(NamedTuple):
    """The rules for every packet of one request.

    `grant` has the devices that the token may write for; `arrived_at` and `oldest` are microseconds since
    1970 UTC; `precision` is a key of `PRECISIONS`, or None if the request names none.
    """

    grant: Grant
    arrived_at: int
    oldest: int
    most_readings: int
    precision: str | None = None


def parse_packets(body: bytes, rules: PacketRules) -> Readings:
    """Parse a body: one packet, an array of packets, or one packet a line (NDJSON).

    Raises `UnparsableBody` and `TooManyReadings`. A packet or reading that breaks a rule is listed
    in `rejected`; its neighbours are kept.
    """
    # Checked before decoding: three bytes of JSON can become a hundred in memory.
    most_values = _VALUES_A_READING * rules.most_readings
    if len(body) > most_values and body.count(b",") + body.count(b"\n") > most_values:
        raise TooManyReadings(f"more than {most_values} values or lines in one request")
    parser = _PacketParser(rules)
    for index, packet in enumerate(_packets(body)):
        parser.take(index, packet)
        if max(index + 1, len(parser.readings.time)) > rules.most_readings:
            raise TooManyReadings(f"more than {rules.most_readings} packets or readings in one request")
    return parser.readings


def _packets(body: bytes) -> list[Any]:
    """Decode a body into a list of packets."""
    if not body.strip():
        raise UnparsableBody("the body is empty; send one packet, an array of packets, or one packet a line")
    try:
        decoded = _decode(body)
    except ValueError as exc:
        if b"\n" not in body.strip():
            raise UnparsableBody(f"the body is not JSON: {exc}") from exc
    else:
        return decoded if isinstance(decoded, list) else [decoded]
    packets = []
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            packets.append(_decode(line))
        except ValueError as exc:
            raise UnparsableBody(f"line {number} is not JSON: {exc}") from exc
    return packets


def _decode(text: bytes) -> Any:
    """Decode JSON text. Raises ValueError.

    NaN, Infinity and 1e999 are not valid JSON, but common libraries write them. They are decoded as numbers
    that are not finite: so only their readings are rejected, and not the whole body.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError as exc:
        raise ValueError("it nests too deeply") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        try:
            return json.loads(text.decode())
        except RecursionError as too_deep:
            raise ValueError("it nests too deeply") from too_deep
        except ValueError:
            raise ValueError(str(exc)) from exc


class _PacketParser:
    """Collects the columns of one body."""

    def __init__(self, rules: PacketRules) -> None:
        self.rules = rules
        self.readings = Readings()
        self.numbers: dict[str, dict[str, int]] = {}
        self.newest = rules.arrived_at + FUTURE_ALLOWANCE

    def take(self, index: int, packet: Any) -> None:
        """Add the readings of one packet, or reject it."""
        if type(packet) is not dict:
            self.readings.reject(index, None, "value_type", f"a packet is a JSON object, not {_kind(packet)}")
            return
        device_id = packet.pop("device_id", None)
        if device_id is None:
            device_id = self.rules.grant.device_id
        if not isinstance(device_id, str) or device_id not in self.rules.grant.devices:
            message = f"this token may not write for device {str(device_id)[:80]!r}"
            if device_id is None:
                message = "this token writes for several devices; name one in device_id"
            self.readings.reject(index, None, "device_not_allowed", message)
            return
        time = self.time_of(index, packet)
        if time is not None:
            self.take_fields(index, packet, time, device_id, prefix="")

    def take_fields(
        self, index: int, fields: dict[str, Any], time: int, device_id: str, *, prefix: str
    ) -> None:
        """Add the fields of a packet or of a nested object; `prefix` goes before their names."""
        readings, numbers = self.readings, self.numbers.setdefault(device_id, {})
        for name, value in fields.items():
            metric = prefix + name if prefix else name
            kind = type(value)
            if kind is float or kind is int or kind is bool:
                # Compared before conversion: a whole number may be too large for a float.
                if not -LARGEST_VALUE <= value <= LARGEST_VALUE:
                    # Python refuses to print very long whole numbers.
                    text = repr(value) if kind is float else f"a whole number of {value.bit_length()} bits"
                    message = f"{text} is no finite number, or too large for a reading"
                    readings.reject(index, metric, "value_not_finite", message)
                    continue
                number = numbers.get(metric)
                if number is None:
                    number = self.number_of(index, device_id, metric)
                    if number is None:
                        continue
                readings.key.append(number)
                readings.time.append(time)
                readings.value.append(float(value))
                readings.packet.append(index)
            elif kind is not dict:
                readings.ignore(metric)
            elif len(metric) < METRIC_NAME_LENGTH:
                self.take_fields(index, value, time, device_id, prefix=metric + ".")
            else:
                problem = metric_name_problem(metric + ".") or ""
                readings.reject(index, metric, "metric_name", problem)

    def number_of(self, index: int, device_id: str, metric: str) -> int | None:
        """Return the number of a series new to this body, or reject the metric's name."""
        if problem := metric_name_problem(metric):
            self.readings.reject(index, metric, "metric_name", problem)
            return None
        number = self.numbers[device_id][metric] = len(self.readings.keys)
        self.readings.keys.append((device_id, metric))
        return number

    def time_of(self, index: int, packet: dict[str, Any]) -> int | None:
        """Return the packet's time in microseconds, or reject it."""
        if "timestamp" not in packet:
            # A microsecond apart: packets of one body must not conflict with each other.
            return self.rules.arrived_at + index
        stamp = packet.pop("timestamp")
        try:
            time = self.microseconds(stamp)
        except _BadTime as exc:
            self.readings.reject(index, None, exc.code, str(exc))
            return None
        if time > self.newest:
            self.readings.reject(
                index, None, "time_future", f"{stamp!r} is more than 10 minutes ahead of our clock"
            )
            return None
        if time < self.rules.oldest:
            self.readings.reject(index, None, "time_past", f"{stamp!r} is older than readings may be here")
            return None
        return time

    def microseconds(self, stamp: Any) -> int:
        """Return a `timestamp` as microseconds since 1970 UTC. Raises `_BadTime`."""
        if type(stamp) is str:
            try:
                instant = datetime.fromisoformat(stamp)
            except ValueError:
                raise _BadTime("time_invalid", f"{stamp[:80]!r} is not a time in RFC 3339") from None
            if instant.tzinfo is None:
                raise _BadTime("time_ambiguous", f"{stamp[:80]!r} has no offset; end it with Z or +hh:mm")
            return to_microseconds(instant)
        if type(stamp) is int or type(stamp) is float:
            if self.rules.precision is None:
                message = f"{stamp} could be seconds or milliseconds; name ?precision=s, ms, us or ns"
                raise _BadTime("time_ambiguous", message)
            try:
                return PRECISIONS[self.rules.precision](stamp)
            except (OverflowError, ValueError):
                raise _BadTime("time_invalid", f"{stamp} is not a time") from None
        raise _BadTime("time_invalid", f"a timestamp is text or a number, not {_kind(stamp)}")


class _BadTime(Exception):
    """The timestamp cannot be used; `code` is for the answer."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _kind(value: Any) -> str:
    """Return the name of a value's type in JSON."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
