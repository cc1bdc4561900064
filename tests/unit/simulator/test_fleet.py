"""A fleet's packets: what the homes did, at any rate, wherever one begins."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.simulator.clock import BLOCK
from joulebook.simulator.devices import DEVICE_KINDS
from joulebook.simulator.fleet import MICROSECONDS, Fleet, Ticks
from joulebook.simulator.home import Home

START = int(datetime(2026, 6, 14, 11, 52, 3, tzinfo=UTC).timestamp())
THREE = ["device_001", "device_002", "device_003"]


def packets_at(fleet: Fleet, time: int) -> list[dict[str, Any]]:
    tick = fleet.ticks.first_at(time)
    assert fleet.ticks.time(tick) == time
    return [json.loads(packet) for _, packet in fleet.packets(tick)]


def flat(packet: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in packet.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def test_packets_say_what_the_home_did_at_that_second() -> None:
    home = Home(7)
    block, after = home.advance(home.begin(START))
    fleet = Fleet(THREE, start=START, seed=7)
    second = START // BLOCK * BLOCK + 890
    told = [flat(packet) for packet in packets_at(fleet, second * MICROSECONDS)]
    for packet, kind in zip(told, DEVICE_KINDS, strict=True):
        assert packet.pop("timestamp") == datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        assert packet == {metric.name: metric.values(block)[890] for metric in kind.metrics}
    following, _ = home.advance(after)
    told = [flat(packet) for packet in packets_at(fleet, (second + 15) * MICROSECONDS)]
    assert [packet["power"] for packet in told] == [
        following.battery[5],
        following.solar[5],
        following.grid[5],
    ]


def test_slow_metrics_come_with_every_tenth_second_and_power_with_each() -> None:
    fleet = Fleet(THREE, start=START)
    for second in range(START, START + 25):
        for packet in packets_at(fleet, second * MICROSECONDS):
            assert "power" in packet
            assert (len(packet) > 2) == (second % 10 == 0)


@pytest.mark.parametrize("rate", [0.02, 0.3, 1.0, 3.0, 10.0])
def test_at_any_rate_slow_metrics_come_once_in_ten_seconds_at_most(rate: float) -> None:
    fleet = Fleet(THREE, start=START, rate=rate)
    first = fleet.ticks.first_at(START * MICROSECONDS)
    ticks = range(first, first + int(100 * rate) + 3)
    slow = [fleet.ticks.time(tick) // (10 * MICROSECONDS) for tick in ticks if fleet.ticks.is_slow(tick)]
    assert slow == sorted(set(slow))
    if rate >= 0.1:
        assert slow == list(range(slow[0], slow[-1] + 1)), "no ten seconds are left out"


def test_between_seconds_values_lie_on_the_line_between_them() -> None:
    fleet = Fleet(THREE, start=START, rate=4.0)
    last = (START // BLOCK + 1) * BLOCK - 1  # the last second of a block: its neighbour lies in the next
    told = [packets_at(fleet, last * MICROSECONDS + quarter * 250_000)[2]["power"] for quarter in range(5)]
    for quarter in range(5):
        assert told[quarter] == pytest.approx(told[0] + (told[4] - told[0]) * quarter / 4, abs=1e-3)


@given(st.floats(0.001, 1000), st.integers(0, 4_000_000_000 * MICROSECONDS))
def test_ticks_are_the_same_for_everyone_who_begins_anywhere(rate: float, time: int) -> None:
    ticks = Ticks(rate)
    tick = ticks.first_at(time)
    assert ticks.time(tick) >= time
    assert ticks.time(tick - 1) < time


def test_a_restart_goes_on_with_the_registers_where_they_were() -> None:
    later = START + 3 * BLOCK
    one = Fleet(THREE, start=START)
    for second in range(START, later + 1):
        last = list(one.packets(one.ticks.first_at(second * MICROSECONDS)))
    again = Fleet(THREE, start=later, states=one.states())
    assert list(again.packets(again.ticks.first_at(later * MICROSECONDS))) == last


def test_after_a_long_pause_registers_stand_where_they_stood_and_never_lower() -> None:
    devices = [f"sim-{number}" for number in range(30)]  # ten homes: too much to live through
    one = Fleet(devices, start=START)
    tenth = (START // 10 + 1) * 10
    before = packets_at(one, tenth * MICROSECONDS)
    months_later = tenth + 100 * 86_400
    after = packets_at(Fleet(devices, start=months_later, states=one.states()), months_later * MICROSECONDS)
    for old, new in zip(before, after, strict=True):
        for counter in ("energy.produced", "energy.imported", "energy.exported"):
            assert flat(new).get(counter, 0) >= flat(old).get(counter, 0)
            assert flat(new).get(counter, 0) - flat(old).get(counter, 0) < 10, "the meters stood still"


def test_three_devices_share_a_home_and_others_have_their_own() -> None:
    fleet = Fleet([f"sim-{number}" for number in range(7)], start=START, seed=5)
    assert sorted(fleet.states()) == [5, 6, 7]
    assert len(list(fleet.packets(fleet.ticks.first_at(START * MICROSECONDS)))) == 7


def test_the_next_blocks_are_ready_long_before_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet([f"sim-{number}" for number in range(60)], start=START)
    begin = START // BLOCK * BLOCK
    for second in range(START, begin + BLOCK - 60):
        list(fleet.packets(fleet.ticks.first_at(second * MICROSECONDS)))
    monkeypatch.setattr(Home, "advance", lambda *_: pytest.fail("computed at the last moment"))
    for second in range(begin + BLOCK - 60, begin + BLOCK + 1):
        list(fleet.packets(fleet.ticks.first_at(second * MICROSECONDS)))
