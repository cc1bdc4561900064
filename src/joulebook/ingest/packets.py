"""JSON packets: the format, the parameters and the answers shared by HTTP and WebSockets.

Nothing here touches a database or reads a clock: bytes and the time of arrival go in, columns and rejections
come out. docs/reference/ingest.md describes the format.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from joulebook.ingest.access.tokens import NO_FIELDS, FieldMap, Grant
from joulebook.ingest.commit.columns import Readings, TooManyReadings, UnparsableBody, presentable
from joulebook.ingest.commit.storing import StoredCounts
from joulebook.ingest.requests.intake import Limits
from joulebook.ingest.requests.refusals import Refusal
from joulebook.ingest.shapes import (
    complete,
    find_time,
    has_time_word,
    is_value_list,
    place_of_time,
    plain_packet,
    take_device,
    take_out,
    values_at,
)
from joulebook.ingest.times import DEFAULT_CLOCK, BadTime, instant_by_size, read_time
from joulebook.telemetry.kinds.settings import LISTS_OF_TEXTS, NUMBERS, TEXTS, TRUTH_VALUES
from joulebook.telemetry.kinds.units import unit_problem
from joulebook.telemetry.readings import (
    FUTURE_ALLOWANCE,
    LARGEST_VALUE,
    METRIC_NAME_LENGTH,
    MICROSECONDS,
    from_microseconds,
    metric_name_problem,
)
from joulebook.telemetry.texts import flags_text, text_problem

PRECISIONS: dict[str, Callable[[float], int]] = {
    "s": lambda number: round(number * MICROSECONDS),
    "ms": lambda number: round(number * 1_000),
    "us": round,
    "ns": lambda number: int(number // 1_000),
}
"""Converts a number in `timestamp` to microseconds, by the request's `precision`."""

_DECODER = msgspec.json.Decoder()

_MOST_REASONS = 5
"""Reasons in the message about a packet without readings."""

_VALUES_A_READING = 5
"""Values and lines allowed in a body for each reading allowed; the others are mostly ignored."""


@dataclass(frozen=True)
class Parameters:
    """The query parameters of an address."""

    precision: str | None = None
    replace: bool = False
    atomic: bool = False
    fields: FieldMap = NO_FIELDS


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
    fields = FieldMap(*(given.pop(name, None) for name in ("time_field", "device_field", "values")))
    if given:
        raise Refusal(400, "parameter", f"parameter {next(iter(given))[:40]!r} is not known here")
    return Parameters(
        precision=precision, replace=on_conflict == "replace", atomic=atomic == "1", fields=fields
    )


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
    1970 UTC; `precision` is a key of `PRECISIONS`, or None if the request names none. `fields` has the places
    of time, device and readings in packets.
    """

    grant: Grant
    arrived_at: int
    oldest: int
    most_readings: int
    precision: str | None = None
    fields: FieldMap = NO_FIELDS


def packet_rules(grant: Grant, parameters: Parameters, limits: Limits, *, arrived_at: int) -> PacketRules:
    """Return the rules for the packets of a request; its field map goes before the token's."""
    return PacketRules(
        grant,
        arrived_at,
        limits.oldest,
        limits.most_readings,
        parameters.precision,
        parameters.fields.over(grant.fields),
    )


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
        self.numbers: dict[str, dict[str | tuple[int, str], int]] = {}
        self.text_indexes: dict[str, int] = {}
        self.own_device = rules.grant.device_id
        self.devices, self.clocks = rules.grant.devices, rules.grant.clocks
        self.arrived_at, self.oldest = rules.arrived_at, rules.oldest
        self.newest = rules.arrived_at + FUTURE_ALLOWANCE
        self.is_plain = rules.fields == NO_FIELDS
        self.skipped: list[str] = []
        self.skipped_in = -1

    def take(self, index: int, packet: Any) -> None:
        """Add the readings of one packet, or reject it."""
        readings = self.readings
        if type(packet) is not dict:
            readings.reject(index, None, "value_type", f"a packet is a JSON object, not {_kind(packet)}")
            return
        try:
            # The usual forms first: with a `timestamp`, or without any time.
            has_stamp = "timestamp" in packet
            if self.is_plain and (has_stamp or not has_time_word(packet)):
                device_id = packet.pop("device_id", None)
                if device_id is None:
                    device_id = self.own_device
                if type(device_id) is not str or device_id not in self.devices:
                    raise self.wrong_device(device_id)
                time = self.time_of_stamp(packet, device_id) if has_stamp else self.arrived_at + index
                fields = packet
            else:
                device_id, time, fields = self.open(index, packet)
            if "units" in fields and (units := _units(fields["units"])) is not None:
                del fields["units"]
                self.take_fields(index, fields, time, device_id, prefix="")
                self.take_units(index, units, device_id)
            else:
                self.take_fields(index, fields, time, device_id, prefix="")
        except (BadTime, _Refused) as exc:
            readings.reject(index, None, exc.code, str(exc))
        if (not readings.packet or readings.packet[-1] != index) and readings.last_rejected != index:
            why = "; ".join(self.skipped) if self.skipped_in == index else "it has no field for a metric"
            readings.reject(index, None, "nothing_stored", f"nothing in it can be a reading: {why}")

    def time_of_stamp(self, packet: dict[str, Any], device_id: str) -> int:
        """Take the field `timestamp` out of a packet and return its time. Raises `BadTime` and `_Refused`."""
        stamp = packet.pop("timestamp")
        if type(stamp) is str:
            time = read_time(stamp, self.clocks.get(device_id, DEFAULT_CLOCK), self.arrived_at)
        else:
            time = self.read_number(stamp)
        if not self.oldest <= time <= self.newest:
            raise self.wrong_time(time, stamp)
        return time

    def wrong_device(self, named: Any) -> _Refused:
        """Return the refusal of a packet whose device the token may not write for."""
        message = f"this token may not write for device {str(named)[:80]!r}"
        if named is None:
            message = "this token writes for several devices; name one in device_id"
        return _Refused("device_not_allowed", message)

    def open(self, index: int, packet: dict[str, Any]) -> tuple[str, int, dict[str, Any]]:
        """Return device, time and fields of a packet of any form. Raises `_Refused`."""
        rules = self.rules
        outside: list[str] = []
        if "dsnames" in packet and is_value_list(packet):
            packet, outside = plain_packet(packet, rules.grant)
        fields = complete(rules.fields, packet)
        device_id = take_device(packet, fields)
        if device_id is None:
            device_id = self.own_device
        if type(device_id) is not str or device_id not in self.devices:
            raise self.wrong_device(device_id)
        time = self.time_of(index, packet, fields, device_id, outside)
        if fields.values:
            values, beside = values_at(packet, fields.values)
            outside += beside
        else:
            values = packet
        for name in outside:
            self.skip(index, name, "is outside of its readings")
        if values is None:
            raise _Refused("nothing_stored", f"it has no object {fields.values!r} with its readings")
        return device_id, time, values

    def time_of(
        self, index: int, packet: dict[str, Any], fields: FieldMap, device_id: str, outside: list[str]
    ) -> int:
        """Take the time out of a packet; names of other times are added to `outside`. Raises `_Refused`."""
        clock = self.clocks.get(device_id, DEFAULT_CLOCK)
        path = place_of_time(packet, fields)
        if path == "timestamp":
            return self.time_of_stamp(packet, device_id)
        if path is not None:
            stamp = take_out(packet, path)
            if type(stamp) is str:
                time = read_time(stamp, clock, self.arrived_at)
            else:
                time = self.read_number(stamp, by_size=True)
        elif fields.time_field:
            raise _Refused("time_ambiguous", f"it has no field {fields.time_field[:80]!r} with its time")
        else:
            found: int | None = None
            unused: list[str] = []
            if fields.time_field is None:
                found, unused = find_time(packet, clock, self.arrived_at)
            outside += unused
            if found is None:
                # A microsecond apart: packets of one body must not conflict with each other.
                return self.arrived_at + index
            time, stamp = found, from_microseconds(found).isoformat()
        if not self.oldest <= time <= self.newest:
            raise self.wrong_time(time, stamp)
        return time

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
                    form = TRUTH_VALUES if kind is bool else NUMBERS
                    number = self.number_of(index, device_id, metric, form)
                    if number is None:
                        continue
                readings.key.append(number)
                readings.time.append(time)
                readings.value.append(float(value))
                readings.packet.append(index)
            elif kind is dict:
                self.take_inner(index, value, time, device_id, metric)
            elif kind is str:
                self.take_text(index, value, time, device_id, metric, TEXTS)
            elif kind is list:
                self.take_list(index, value, time, device_id, metric)
            else:
                self.skip(index, metric, "is null")

    def take_inner(self, index: int, fields: dict[str, Any], time: int, device_id: str, metric: str) -> None:
        """Add the fields of an object below a field, unless the field's name is too long already."""
        if len(metric) < METRIC_NAME_LENGTH:
            self.take_fields(index, fields, time, device_id, prefix=metric + ".")
        else:
            self.readings.reject(index, metric, "metric_name", metric_name_problem(metric + ".") or "")

    def take_list(self, index: int, items: list[Any], time: int, device_id: str, metric: str) -> None:
        """Add a list: numbers as metrics counted from 1, texts, or nothing at all, as a set of flags."""
        given = [item for item in items if item is not None]
        kinds = set(map(type, given))
        if kinds <= {str} and (given or not items):
            self.take_text(index, flags_text(given), time, device_id, metric, LISTS_OF_TEXTS)
        elif given and kinds <= {int, float, bool}:
            counted = {str(at): item for at, item in enumerate(items, start=1) if item is not None}
            self.take_inner(index, counted, time, device_id, metric)
        else:
            self.skip(
                index, metric, "is a list of objects, or of several types" if given else "is a list of nulls"
            )

    def take_text(self, index: int, text: str, time: int, device_id: str, metric: str, form: int) -> None:
        """Add a text, or a list of texts as one, or reject it."""
        readings = self.readings
        if problem := text_problem(text):
            code = "text_limit" if problem.is_too_long else "value_type"
            readings.reject(index, metric, code, f"the text cannot be stored: {problem.message}")
            return
        number = self.numbers[device_id].get((form, metric))
        if number is None:
            number = self.number_of(index, device_id, metric, form)
            if number is None:
                return
        at = self.text_indexes.get(text)
        if at is None:
            at = self.text_indexes[text] = len(readings.texts)
            readings.texts.append(text)
        readings.key.append(number)
        readings.time.append(time)
        readings.value.append(float(at))
        readings.packet.append(index)

    def number_of(self, index: int, device_id: str, metric: str, form: int) -> int | None:
        """Return the number of a series new to this body, or reject the metric's name."""
        readings = self.readings
        if problem := metric_name_problem(metric):
            readings.reject(index, metric, "metric_name", problem)
            return None
        number = len(readings.keys)
        self.numbers[device_id][(form, metric) if form >= TEXTS else metric] = number
        readings.keys.append((device_id, metric))
        if form != NUMBERS:
            readings.forms[number] = form
        return number

    def take_units(self, index: int, units: dict[str, str], device_id: str) -> None:
        """Note the units of metrics; a unit of a list is that of its numbers."""
        numbers = self.numbers[device_id]
        for metric, unit in units.items():
            if (problem := unit_problem(unit)) is not None:
                self.skip(index, f"units.{metric}", f"cannot be used: {problem}")
                continue
            found = numbers.get(metric)
            if found is not None:
                self.readings.units[found] = unit
                continue
            at = 1
            while (found := numbers.get(f"{metric}.{at}")) is not None:
                self.readings.units[found] = unit
                at += 1
            if at == 1:
                self.skip(index, f"units.{metric}", "is the unit of no number in it")

    def skip(self, index: int, name: str, why: str) -> None:
        """Name a field that is no reading in the answer; the reason is for a packet without readings."""
        self.readings.ignore(name)
        if self.skipped_in != index:
            self.skipped, self.skipped_in = [], index
        if len(self.skipped) < _MOST_REASONS:
            self.skipped.append(f"{presentable(name)[:80]!r} {why}")

    def wrong_time(self, time: int, stamp: Any) -> _Refused:
        """Return the refusal of a time, given as `stamp`, that readings may not have."""
        if time > self.newest:
            return _Refused("time_future", f"{stamp!r} is more than 10 minutes ahead of our clock")
        return _Refused("time_past", f"{stamp!r} is older than readings may be here")

    def read_number(self, stamp: Any, *, by_size: bool = False) -> int:
        """Return a time given as a number as microseconds since 1970 UTC. Raises `_Refused`.

        `by_size`: without a precision, the number's size decides its unit.
        """
        if type(stamp) is not int and type(stamp) is not float:
            raise _Refused("time_invalid", f"a timestamp is text or a number, not {_kind(stamp)}")
        if self.rules.precision is None:
            if by_size and (time := instant_by_size(stamp)) is not None:
                return time
            message = f"{stamp} could be seconds or milliseconds; name ?precision=s, ms, us or ns"
            raise _Refused("time_ambiguous", message)
        try:
            return PRECISIONS[self.rules.precision](stamp)
        except (OverflowError, ValueError):
            raise _Refused("time_invalid", f"{stamp} is not a time") from None


class _Refused(Exception):
    """The packet is refused as a whole; `code` is for the answer."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _units(value: Any) -> dict[str, str] | None:
    """Return the units by metric in a packet's field `units`, or None if it is an ordinary field."""
    if type(value) is not dict:
        return None
    units: dict[str, str] = {}
    for name, unit in value.items():
        if type(unit) is str:
            units[name] = unit
        elif (inner := _units(unit)) is None:
            return None
        else:
            units |= {f"{name}.{below}": each for below, each in inner.items()}
    return units


def _kind(value: Any) -> str:
    """Return the name of a value's type in JSON."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
