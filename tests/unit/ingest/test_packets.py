"""Packets of any shape: what they become equals a slow description of the rules."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.ingest.access.tokens import Grant
from joulebook.ingest.commit.columns import Readings
from joulebook.ingest.packets import PacketRules, TooManyReadings, UnparsableBody, parse_packets
from joulebook.telemetry.readings import to_microseconds

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
RULES = PacketRules(
    grant=Grant(token="t", devices=frozenset({"device_001"}), device_id="device_001"),
    arrived_at=to_microseconds(NOW),
    oldest=to_microseconds(datetime(2000, 1, 1, tzinfo=UTC)),
    most_readings=1000,
)

names = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), min_size=1, max_size=8
).filter(lambda name: name not in {"timestamp", "device_id", "units"})
numbers = st.one_of(st.floats(-1e100, 1e100), st.integers(-(2**53), 2**53), st.booleans())
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=5)
others = st.one_of(
    st.none(),
    texts,
    st.lists(numbers, max_size=3),
    st.lists(texts | st.none(), max_size=3),
    st.lists(st.one_of(numbers, texts, st.none(), st.dictionaries(texts, numbers, max_size=1)), max_size=3),
)
fields = st.recursive(
    st.dictionaries(names, numbers | others, max_size=4),
    lambda inner: st.dictionaries(names, inner | numbers, max_size=3),
)
times = st.datetimes(datetime(2000, 1, 2), datetime(2026, 11, 20), timezones=st.timezones()).filter(
    lambda time: len(time.isoformat()[-6:]) == 6 and time.isoformat()[-6] in "+-"
)


def flatten(packet: dict, prefix: str = "") -> list[tuple[str, float | str]]:
    """Return what a packet becomes, by the words of the reference."""
    rows: list[tuple[str, float | str]] = []
    for name, value in packet.items():
        metric = prefix + name
        if isinstance(value, dict):
            rows += flatten(value, f"{metric}.")
        elif isinstance(value, bool | int | float):
            rows.append((metric, float(value)))
        elif isinstance(value, str):
            rows.append((metric, value))
        elif isinstance(value, list):
            given = [item for item in value if item is not None]
            if all(isinstance(item, str) for item in given) and (given or not value):
                flags = json.dumps(sorted(set(given)), ensure_ascii=False, separators=(",", ":"))
                rows.append((metric, flags))
            elif given and all(isinstance(item, bool | int | float) for item in given):
                numbered = enumerate(value, start=1)
                rows += [(f"{metric}.{at}", float(item)) for at, item in numbered if item is not None]
    return rows


def read_back(readings: Readings) -> list[tuple[int, int, str, float | str]]:
    """Return (packet, time, metric, value or text) of each reading."""
    return [
        (
            readings.packet[row],
            readings.time[row],
            readings.keys[number][1],
            readings.texts[int(readings.value[row])]
            if readings.forms.get(number, 0) >= 2
            else readings.value[row],
        )
        for row, number in enumerate(readings.key)
    ]


@given(packets=st.lists(st.tuples(times, fields), max_size=6), as_lines=st.booleans())
def test_every_value_of_every_packet_becomes_a_reading(packets, as_lines):
    bodies = [{"timestamp": time.isoformat(), **packet} for time, packet in packets]
    if as_lines and bodies:
        body = b"\n".join(json.dumps(one).encode() for one in bodies)
    else:
        body = json.dumps(bodies).encode()
    readings = parse_packets(body, RULES)
    assert read_back(readings) == [
        (index, to_microseconds(time), metric, value)
        for index, (time, packet) in enumerate(packets)
        for metric, value in flatten(packet)
    ]
    empty = [index for index, (_, packet) in enumerate(packets) if not flatten(packet)]
    assert [(one.index, one.code) for one in readings.rejected] == [
        (index, "nothing_stored") for index in empty
    ]


@given(body=st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(body):
    try:
        parse_packets(body, RULES)
    except UnparsableBody as exc:
        assert str(exc)  # noqa: PT017 - either way is right


@given(microseconds=st.integers(946_684_800_000_000, 1_795_000_000_000_000))
def test_times_are_kept_to_the_microsecond_in_every_precision(microseconds):
    stamps = {
        "us": microseconds,
        "ns": microseconds * 1000 + 999,
        "s": microseconds / 1e6,
        "ms": microseconds / 1e3,
    }
    for precision, stamp in stamps.items():
        rules = RULES._replace(precision=precision)
        readings = parse_packets(json.dumps({"timestamp": stamp, "power": 1}).encode(), rules)
        assert readings.time == [microseconds]


def test_ten_minutes_ahead_are_allowed_and_a_microsecond_more_is_not():
    edge = NOW + timedelta(minutes=10)
    packets = [{"timestamp": (edge + timedelta(microseconds=us)).isoformat(), "power": 1} for us in (0, 1)]
    readings = parse_packets(json.dumps(packets).encode(), RULES)
    assert len(readings.time) == 1
    assert [(one.index, one.code) for one in readings.rejected] == [(1, "time_future")]


def test_a_whole_number_too_large_rejects_only_itself():
    readings = parse_packets(b'{"a": 1' + b"0" * 400 + b', "b": 2}', RULES)
    assert readings.value == [2.0]
    assert [(one.metric, one.code) for one in readings.rejected] == [("a", "value_not_finite")]


def test_packets_without_a_time_do_not_take_each_others_place():
    readings = parse_packets(b'[{"power": 1}, {"power": 2}, {"power": 3}]', RULES)
    assert len(set(readings.time)) == 3


def test_the_token_s_own_device_may_be_named():
    assert parse_packets(b'{"device_id": "device_001", "power": 1}', RULES).value == [1.0]


def test_one_reading_too_many_refuses_the_body():
    body = json.dumps([{"power": 1}] * 1001).encode()
    with pytest.raises(TooManyReadings):
        parse_packets(body, RULES)


def test_the_largest_reading_is_taken_and_the_next_number_is_not():
    readings = parse_packets(b'{"a": 1e100, "b": -1e100, "c": 1.1e100, "d": -1e308}', RULES)
    assert readings.value == [1e100, -1e100]
    assert [(one.metric, one.code) for one in readings.rejected] == [
        ("c", "value_not_finite"),
        ("d", "value_not_finite"),
    ]


def test_a_metric_that_only_held_what_is_no_number_is_none():
    assert parse_packets(b'{"ghost": NaN, "power": 1}', RULES).keys == [("device_001", "power")]


@pytest.mark.parametrize("stamp", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1" + b"0" * 400])
@pytest.mark.parametrize("precision", ["s", "ms", "us", "ns"])
def test_a_time_that_is_no_number_rejects_only_its_packet(stamp, precision):
    rules = RULES._replace(precision=precision)
    body = b'[{"timestamp": 946684800, "power": 5}, {"timestamp": ' + stamp + b', "power": 1}, {"power": 2}]'
    readings = parse_packets(body, rules)
    assert readings.value[-1] == 2
    assert 1 in [one.index for one in readings.rejected]


def test_a_device_id_of_null_is_none_given():
    assert parse_packets(b'{"device_id": null, "power": 3}', RULES).keys == [("device_001", "power")]


def test_names_in_an_answer_are_short_encodable_and_few():
    body = json.dumps(
        {"\ud800": None, "k" * 1000: None} | {f"null_{number}": None for number in range(500)}
    ).encode()
    readings = parse_packets(body, RULES)
    assert len(readings.ignored) == 100
    assert max(map(len, readings.ignored)) == 200
    for name in readings.ignored:
        name.encode()
    readings = parse_packets(json.dumps({"\ud800": 1}).encode(), RULES)
    assert [one.code for one in readings.rejected] == ["metric_name"]
    readings.rejected[0].metric.encode()


def test_an_object_under_a_name_that_is_too_long_is_refused_once_and_not_entered():
    body = json.dumps({"k" * 100_000: {str(number): 1 for number in range(5_000)}, "power": 1}).encode()
    readings = parse_packets(body, RULES)
    assert readings.rejected_total == 1
    assert readings.keys == [("device_001", "power")]


def test_objects_as_deep_as_json_goes_are_refused_and_cost_nobody_else():
    deep = b'{"a":' * 900 + b"1" + b"}" * 900
    readings = parse_packets(b"[" + deep + b', {"power": 1}]', RULES)
    assert readings.keys == [("device_001", "power")]
    assert readings.rejected_total == 1


def test_everything_rejected_is_counted_and_the_first_hundred_are_noted():
    readings = parse_packets(b"[" + b",".join([b"7"] * 1000) + b"]", RULES)
    assert (len(readings.rejected), readings.rejected_total) == (100, 1000)
    with pytest.raises(TooManyReadings):
        parse_packets(b"[" + b",".join([b"7"] * 1001) + b"]", RULES)


def test_a_packet_names_the_units_of_its_numbers():
    packet = {
        "units": {"power": "kW", "battery": {"voltage": "V"}, "strings": "V", "absent": "A"},
        "power": 1.5,
        "battery": {"voltage": 51.2},
        "strings": [1, 2],
    }
    readings = parse_packets(json.dumps(packet).encode(), RULES)
    units = {readings.keys[number][1]: unit for number, unit in readings.units.items()}
    assert units == {"power": "kW", "battery.voltage": "V", "strings.1": "V", "strings.2": "V"}
    assert list(readings.ignored) == ["units.absent"]


@pytest.mark.parametrize("units", [{"power": 1}, "kW", ["kW"], 5])
def test_a_field_called_units_without_texts_alone_is_a_field(units):
    readings = parse_packets(json.dumps({"units": units, "power": 1.5}).encode(), RULES)
    assert not readings.units
    assert len(readings.value) == 2


@pytest.mark.parametrize(
    ("packet", "ignored"),
    [
        ({}, []),
        ({"power": None}, ["power"]),
        ({"a": {"b": {}}}, []),
        ({"phases": [{"power": 1}], "mixed": [1, "a"]}, ["phases", "mixed"]),
    ],
)
def test_a_packet_without_a_reading_is_refused_with_the_reason(packet, ignored):
    readings = parse_packets(json.dumps([packet, {"power": 1}]).encode(), RULES)
    assert [(one.index, one.code) for one in readings.rejected] == [(0, "nothing_stored")]
    assert list(readings.ignored) == ignored
    for name in ignored:
        assert name in readings.rejected[0].message
    assert readings.value == [1.0]


@pytest.mark.parametrize(
    ("text", "code"),
    [("x" * 1000, None), ("x" * 1001, "text_limit"), ("ä" * 501, "text_limit"), ("\0", "value_type")],
)
def test_a_text_that_cannot_be_stored_is_named(text, code):
    readings = parse_packets(json.dumps({"mode": text, "power": 1}).encode(), RULES)
    assert [one.code for one in readings.rejected] == ([] if code is None else [code])
    assert len(readings.value) == (2 if code is None else 1)


def test_a_list_of_texts_is_a_set_of_flags():
    body = b'[{"flags": ["B", "A", "B", null]}, {"flags": ["A", "B"]}, {"flags": []}]'
    readings = parse_packets(body, RULES)
    assert [text for *_, text in read_back(readings)] == ['["A","B"]', '["A","B"]', "[]"]
