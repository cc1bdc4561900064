"""Where a packet has its time, its device and its readings.

A `FieldMap` says so, from the address or from the token. Uplinks of The Things Stack and value lists of
collectd are known without one, and a time is found by its well-known name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from joulebook.ingest.access.tokens import FieldMap, Grant
from joulebook.ingest.times import ALL_TIME_WORDS, TIME_WORDS, BadTime, DeviceClock, read_time_word

_THINGS_STACK = FieldMap(
    time_field="received_at",
    device_field="end_device_ids.device_id",
    values="uplink_message.decoded_payload",
)

_TOLERANCE = 2_000_000
"""Microseconds between two times of a packet that count as one: some clocks show whole seconds."""

_MOST_LEVELS = 2
"""Levels of objects below a packet in which a time is looked for."""


def complete(fields: FieldMap, packet: dict[str, Any]) -> FieldMap:
    """Return the field map for a packet: what `fields` leaves open is as the packet's form has it."""
    return fields.over(_THINGS_STACK) if "end_device_ids" in packet else fields


def take_device(packet: dict[str, Any], fields: FieldMap) -> Any:
    """Take the value naming the device out of a packet; None if nothing names it."""
    if fields.device_field is None:
        return packet.pop("device_id", None)
    return take_out(packet, fields.device_field) if fields.device_field else None


def place_of_time(packet: dict[str, Any], fields: FieldMap) -> str | None:
    """Return the path of the packet's named time; None if it has none there, nor a `timestamp`."""
    if fields.time_field and is_at(packet, fields.time_field):
        return fields.time_field
    return "timestamp" if "timestamp" in packet and fields.time_field != "" else None


def values_at(packet: dict[str, Any], path: str) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the object at a path, None if there is none, and the names of all fields beside the path."""
    outside: list[str] = []
    holder, prefix = packet, ""
    for step in _steps(packet, path):
        outside += [prefix + name for name in holder if name != step]
        inner = holder.get(step)
        if type(inner) is not dict:
            return None, outside
        holder, prefix = inner, f"{prefix}{step}."
    return holder, outside


def _steps(packet: dict[str, Any], path: str) -> list[str]:
    return [path] if path in packet else path.split(".")


def is_at(packet: dict[str, Any], path: str) -> bool:
    """Return whether the packet has a field at a path of names joined by dots."""
    *way, last = _steps(packet, path)
    for step in way:
        inner = packet.get(step)
        if type(inner) is not dict:
            return False
        packet = inner
    return last in packet


def take_out(packet: dict[str, Any], path: str) -> Any:
    """Remove the field at a path and return its value; None if there is none."""
    if not is_at(packet, path):
        return None
    *way, last = _steps(packet, path)
    for step in way:
        packet = packet[step]
    return packet.pop(last)


def has_time_word(fields: dict[str, Any], levels: int = _MOST_LEVELS) -> bool:
    """Return whether a field with the well-known name of a time is in a packet, or `levels` below it."""
    if not ALL_TIME_WORDS.isdisjoint(fields):
        return True
    if levels:
        for inner in fields.values():
            if type(inner) is dict and has_time_word(inner, levels - 1):
                return True
    return False


class _Candidate(NamedTuple):
    name: str
    holder: dict[str, Any]
    word: str
    instant: int


def find_time(packet: dict[str, Any], clock: DeviceClock, arrived_at: int) -> tuple[int | None, list[str]]:
    """Return a packet's time by a well-known name, None if there is none; and the names that are not used.

    At the top such a field is a time for sure; below it, only if its value is one. The used field leaves the
    packet with all of its neighbours that have such names. Raises `BadTime` if the time is not beyond doubt.
    """
    at_top = [name for name in packet if name in ALL_TIME_WORDS]
    found, problem = _candidates([("", packet)], TIME_WORDS, clock, arrived_at)
    if not found:
        deeper, problem_below = _candidates(_levels(packet), TIME_WORDS[:1], clock, arrived_at)
        found, problem = deeper, problem or problem_below
    if not found:
        if problem is not None:
            raise problem
        if not at_top:
            return None, []
        value = packet[at_top[0]]
        raise BadTime(
            "time_ambiguous", f"{at_top[0]!r} looks like its time, but {_shown(value)} is none; {_REMEDY}"
        )
    first = found[0]
    for other in found:
        if abs(other.instant - first.instant) > _TOLERANCE:
            message = f"{first.name!r} and {other.name!r} are different times; {_REMEDY}"
            raise BadTime("time_ambiguous", message)
    unused = []
    for holder, prefix in [(packet, ""), *((each.holder, each.name[: -len(each.word)]) for each in found)]:
        for word in [name for name in holder if name in ALL_TIME_WORDS]:
            del holder[word]
            if (prefix + word) not in {each.name for each in found}:
                unused.append(prefix + word)
    return first.instant, unused


_REMEDY = (
    "send the time as `timestamp`, or name its field with ?time_field=NAME; "
    "?time_field= without a name stands for the time of arrival"
)


def _levels(packet: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects below a packet with the prefix of their fields, the outer ones first."""
    level = [("", packet)]
    for _ in range(_MOST_LEVELS):
        level = [
            (f"{prefix}{name}.", inner)
            for prefix, holder in level
            for name, inner in holder.items()
            if type(inner) is dict
        ]
        yield from level


def _candidates(
    holders: Any, groups: tuple[tuple[str, ...], ...], clock: DeviceClock, arrived_at: int
) -> tuple[list[_Candidate], BadTime | None]:
    """Return the readable times of the first group that has any, and the first problem."""
    places = list(holders)
    problem = None
    for words in groups:
        found = []
        for prefix, holder in places:
            for word in words:
                if word not in holder:
                    continue
                try:
                    instant = read_time_word(holder[word], clock, arrived_at)
                except BadTime as exc:
                    problem = problem or BadTime(exc.code, f"{prefix}{word}: {exc}")
                    continue
                if instant is not None:
                    found.append(_Candidate(prefix + word, holder, word, instant))
        if found:
            return found, None
    return [], problem


def _shown(value: Any) -> str:
    text = repr(value) if type(value) is not int or value.bit_length() < 200 else "a very large number"
    return text[:80]


def is_value_list(packet: dict[str, Any]) -> bool:
    """Return whether a packet is a value list as collectd's plugin write_http sends it."""
    names, values = packet.get("dsnames"), packet.get("values")
    texts = (packet.get(name, "") for name in ("host", "plugin", "plugin_instance", "type", "type_instance"))
    return (
        type(names) is list
        and type(values) is list
        and len(names) == len(values)
        and all(type(name) is str for name in names)
        and all(type(text) is str for text in texts)
        and bool(packet.get("plugin"))
        and bool(packet.get("type"))
        and "time" in packet
    )


def plain_packet(packet: dict[str, Any], grant: Grant) -> tuple[dict[str, Any], list[str]]:
    """Return a value list of collectd as a packet, and the names of fields that are no part of it.

    The metric is `plugin-instance.type-instance`, with the name of the data source behind it unless that is
    `value`. The host is the device if the token may write for a device called so, else a tag of the metric.
    """
    host = packet.get("host") or None
    name = ".".join(
        "-".join(filter(None, (packet[of], packet.get(f"{of}_instance")))) for of in ("plugin", "type")
    )
    tag = ""
    if host is not None and host not in grant.devices and grant.device_id is not None:
        tag, host = "{host=" + host.translate(_ESCAPED) + "}", None
    plain = {
        f"{name}{'' if source == 'value' else '.' + source}{tag}": value
        for source, value in zip(packet["dsnames"], packet["values"], strict=True)
    }
    outside = [key for key, value in packet.items() if key not in _OF_VALUE_LIST and value]
    return {"device_id": host, "time": packet["time"], **plain}, outside


_ESCAPED = str.maketrans({character: f"\\{character}" for character in "\\,={}"})
_OF_VALUE_LIST = frozenset(
    {
        *("values", "dstypes", "dsnames", "time", "interval"),
        *("host", "plugin", "plugin_instance", "type", "type_instance"),
    }
)
