"""Packets as other programs send them: their own time, their device, and their values, or a refusal."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from joulebook.ingest.access.tokens import FieldMap, Grant
from joulebook.ingest.commit.columns import Readings
from joulebook.ingest.packets import PacketRules, parse_packets
from joulebook.ingest.times import AS_UTC, IN_DEVICE_ZONE, DeviceClock
from joulebook.telemetry.readings import to_microseconds

NOW = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)
SENT = datetime(2026, 11, 20, 12, tzinfo=UTC)
EPOCH = int(SENT.timestamp())


def rules(*, clock: DeviceClock | None = None, gateway: bool = False, **fields: str) -> PacketRules:
    devices = frozenset({"meter", "boiler"} if gateway else {"meter"})
    grant = Grant(
        token="t",
        devices=devices,
        device_id=None if gateway else "meter",
        clocks=dict.fromkeys(devices, clock) if clock else {},
    )
    return PacketRules(
        grant=grant,
        arrived_at=to_microseconds(NOW),
        oldest=to_microseconds(datetime(2000, 1, 1, tzinfo=UTC)),
        most_readings=1000,
        fields=FieldMap(**fields),
    )


def parsed(packet: Any, **options: Any) -> Readings:
    return parse_packets(json.dumps(packet).encode(), rules(**options))


def stored(readings: Readings) -> dict[str, float | str]:
    assert not readings.rejected, readings.rejected
    return {
        readings.keys[number][1]: readings.texts[int(readings.value[row])]
        if readings.forms.get(number, 0) >= 2
        else readings.value[row]
        for row, number in enumerate(readings.key)
    }


def times_of(readings: Readings) -> set[datetime]:
    return {datetime.fromtimestamp(time / 1e6, UTC) for time in readings.time}


TASMOTA = {
    "Time": "2026-11-20T12:00:00",
    "ENERGY": {
        "TotalStartTime": "2024-02-10T22:46:34",
        "Total": 123.456,
        "Today": 1.2,
        "Power": 45,
        "Voltage": 231,
    },
    "TempUnit": "C",
}
SHELLY = {
    "src": "shellyplus1pm-a8032abe54dc",
    "method": "NotifyStatus",
    "params": {"ts": EPOCH + 0.25, "switch:0": {"id": 0, "apower": 8.9, "aenergy": {"by_minute": [1, 2, 3]}}},
}
SHELLY_STATUS = {
    "sys": {"mac": "A8032ABE54DC", "time": "12:00", "unixtime": EPOCH},
    "switch:0": {"output": True, "apower": 8.9},
}
ZIGBEE = {"last_seen": "2026-11-20T13:00:00+01:00", "temperature": 21.4, "linkquality": 87, "state": "ON"}
OWNTRACKS = {"_type": "location", "tst": EPOCH, "created_at": EPOCH + 9, "lat": 52.5, "batt": 81}
UPLINK = {
    "end_device_ids": {"device_id": "meter", "application_ids": {"application_id": "home"}},
    "correlation_ids": ["as:up:01"],
    "received_at": "2026-11-20T12:00:00.123456789Z",
    "uplink_message": {
        "f_port": 2,
        "frm_payload": "AQI=",
        "decoded_payload": {"temperature": 21.4, "battery": {"voltage": 3.6}},
        "rx_metadata": [{"rssi": -98}],
        "received_at": "2026-11-20T11:59:59.9Z",
    },
}
COLLECTD = [
    {
        "values": [1.5, 2.5],
        "dstypes": ["derive", "derive"],
        "dsnames": ["rx", "tx"],
        "time": EPOCH + 0.5,
        "interval": 10.0,
        "host": "cellar.home",
        "plugin": "interface",
        "plugin_instance": "eth0",
        "type": "if_octets",
        "type_instance": "",
    },
    {
        "values": [42],
        "dstypes": ["gauge"],
        "dsnames": ["value"],
        "time": EPOCH + 0.5,
        "interval": 10.0,
        "host": "cellar.home",
        "plugin": "cpu",
        "plugin_instance": "0",
        "type": "cpu",
        "type_instance": "idle",
    },
]


def test_tasmota_has_its_time_by_the_device_s_rule():
    readings = parsed(TASMOTA, clock=DeviceClock(AS_UTC))
    assert times_of(readings) == {SENT}
    assert stored(readings) == {
        "ENERGY.TotalStartTime": "2024-02-10T22:46:34",
        "ENERGY.Total": 123.456,
        "ENERGY.Today": 1.2,
        "ENERGY.Power": 45,
        "ENERGY.Voltage": 231,
        "TempUnit": "C",
    }
    one_hour_behind = {**TASMOTA, "Time": "2026-11-20T13:00:00"}
    berlin = parsed(one_hour_behind, clock=DeviceClock(IN_DEVICE_ZONE, "Europe/Berlin"))
    assert times_of(berlin) == {SENT}


def test_tasmota_without_a_rule_is_refused_and_told_what_fits():
    readings = parsed(TASMOTA)
    assert [(one.code, one.metric) for one in readings.rejected] == [("time_ambiguous", None)]
    assert "UTC" in readings.rejected[0].message
    assert not readings.value


def test_shelly_has_the_time_of_its_notification():
    readings = parsed(SHELLY)
    assert times_of(readings) == {SENT.replace(microsecond=250_000)}
    assert stored(readings) == {
        "src": "shellyplus1pm-a8032abe54dc",
        "method": "NotifyStatus",
        "params.switch:0.id": 0,
        "params.switch:0.apower": 8.9,
        "params.switch:0.aenergy.by_minute.1": 1,
        "params.switch:0.aenergy.by_minute.2": 2,
        "params.switch:0.aenergy.by_minute.3": 3,
    }
    assert not readings.ignored


def test_shelly_s_status_has_the_time_of_its_clock():
    readings = parsed(SHELLY_STATUS)
    assert times_of(readings) == {SENT}
    assert stored(readings) == {
        "sys.mac": "A8032ABE54DC",
        "switch:0.output": 1,
        "switch:0.apower": 8.9,
    }
    assert list(readings.ignored) == ["sys.time"]


@pytest.mark.parametrize("last_seen", ["2026-11-20T13:00:00+01:00", "2026-11-20T12:00:00.000Z", EPOCH * 1000])
def test_zigbee2mqtt_has_the_time_the_device_was_seen(last_seen):
    readings = parsed({**ZIGBEE, "last_seen": last_seen})
    assert times_of(readings) == {SENT}
    assert stored(readings) == {"temperature": 21.4, "linkquality": 87, "state": "ON"}


def test_owntracks_has_the_time_of_its_fix_and_names_the_other():
    readings = parsed(OWNTRACKS)
    assert times_of(readings) == {SENT}
    assert stored(readings) == {"_type": "location", "lat": 52.5, "batt": 81}
    assert list(readings.ignored) == ["created_at"]


def test_the_things_stack_has_its_device_time_and_decoded_payload():
    readings = parsed(UPLINK, gateway=True)
    assert readings.keys[0][0] == "meter"
    assert times_of(readings) == {SENT.replace(microsecond=123_456)}
    assert stored(readings) == {"temperature": 21.4, "battery.voltage": 3.6}
    # All else is named: nothing is lost in silence.
    assert {"correlation_ids", "uplink_message.f_port", "uplink_message.rx_metadata"} <= set(readings.ignored)


def test_an_uplink_without_a_decoded_payload_is_refused():
    message = {**UPLINK["uplink_message"]}
    del message["decoded_payload"]
    readings = parsed({**UPLINK, "uplink_message": message})
    assert [one.code for one in readings.rejected] == ["nothing_stored"]
    assert "uplink_message.decoded_payload" in readings.rejected[0].message


def test_an_uplink_of_another_device_is_refused_unless_no_field_names_it():
    other = {**UPLINK, "end_device_ids": {"device_id": "eui-70b3"}}
    assert [one.code for one in parsed(other).rejected] == ["device_not_allowed"]
    assert stored(parsed(other, device_field="")) == {"temperature": 21.4, "battery.voltage": 3.6}


def test_collectd_s_values_are_named_like_its_own_and_by_host():
    readings = parsed(COLLECTD)
    assert times_of(readings) == {SENT.replace(microsecond=500_000)}
    assert stored(readings) == {
        "interface-eth0.if_octets.rx{host=cellar.home}": 1.5,
        "interface-eth0.if_octets.tx{host=cellar.home}": 2.5,
        "cpu-0.cpu-idle{host=cellar.home}": 42,
    }
    assert not readings.ignored
    own = [{**one, "host": "boiler"} for one in COLLECTD]
    by_host = parsed(own, gateway=True)
    assert {device_id for device_id, _ in by_host.keys} == {"boiler"}
    assert "cpu-0.cpu-idle" in stored(by_host)


def test_a_field_map_names_time_device_and_values():
    packet = {
        "dev": {"name": "boiler"},
        "measured": "2026-11-20T12:00:00Z",
        "signal": -70,
        "data": {"now": {"power": 5, "state": "on"}, "v": 1},
    }
    readings = parsed(packet, gateway=True, time_field="measured", device_field="dev.name", values="data.now")
    assert {device_id for device_id, _ in readings.keys} == {"boiler"}
    assert times_of(readings) == {SENT}
    assert stored(readings) == {"power": 5, "state": "on"}
    assert set(readings.ignored) == {"dev", "signal", "data.v"}


def test_a_field_map_may_say_that_the_time_is_that_of_arrival():
    packet = {"time": 12.5, "power": 5}
    assert [one.code for one in parsed(packet).rejected] == ["time_ambiguous"]
    readings = parsed(packet, time_field="")
    assert times_of(readings) == {NOW}
    assert stored(readings) == {"time": 12.5, "power": 5}


def test_a_missing_time_of_a_field_map_is_refused_but_a_timestamp_is_one():
    assert [one.code for one in parsed({"power": 5}, time_field="at").rejected] == ["time_ambiguous"]
    readings = parsed({"power": 5, "timestamp": "2026-11-20T12:00:00Z"}, time_field="at")
    assert times_of(readings) == {SENT}


@pytest.mark.parametrize(
    "packet",
    [
        {"time": 12.5},
        {"ts": None},
        {"unixtime": 20261120},
        {"last_seen": "2 minutes ago"},
        {"Time": "12:00"},
        {"ts": EPOCH, "time": "2026-11-20T11:00:00Z"},
        {"created_at": "2026-11-20 12:00:00"},
        {"a": {"ts": EPOCH}, "b": {"ts": EPOCH - 60}},
        {"ts": True},
        {"ts": [EPOCH]},
    ],
)
def test_a_time_that_is_not_beyond_doubt_is_refused_and_nothing_stored_at_its_arrival(packet):
    readings = parsed({**packet, "power": 5})
    assert [one.code for one in readings.rejected] == ["time_ambiguous"]
    assert not readings.value


@pytest.mark.parametrize("divide", [1, 1_000, 1_000_000, 1_000_000_000])
@pytest.mark.parametrize("as_text", [False, True])
def test_a_number_under_a_time_word_may_have_any_unit(divide, as_text):
    number = EPOCH * 1_000_000_000 // divide
    assert times_of(parsed({"ts": str(number) if as_text else number, "power": 5})) == {SENT}


def test_a_time_word_below_that_is_no_time_is_a_field():
    readings = parsed({"battery": {"time": 12, "voltage": 51}})
    assert stored(readings) == {"battery.time": 12, "battery.voltage": 51}
    assert times_of(readings) == {NOW}


def test_a_time_word_beside_a_timestamp_is_a_field():
    readings = parsed({"timestamp": "2026-11-20T12:00:00Z", "time": 12.5})
    assert stored(readings) == {"time": 12.5}


def test_a_time_by_its_word_must_be_allowed_too():
    readings = parsed([{"ts": EPOCH + 3_600, "power": 5}, {"ts": 946_684_800, "power": 5}])
    assert [(one.index, one.code) for one in readings.rejected] == [(0, "time_future")]
