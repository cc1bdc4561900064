"""A home's blocks: energy adds up, limits hold, and time may be cut anywhere."""

from __future__ import annotations

import itertools
from dataclasses import fields
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.simulator.clock import BLOCK
from joulebook.simulator.home import Home, HomeBlock, stand_still
from joulebook.simulator.noise import Floats
from joulebook.simulator.sun import Site

BERLIN = Site(52.52, 13.40, "Europe/Berlin")
BLOCKS_A_DAY = 86_400 // BLOCK


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def live_through(home: Home, start: int, blocks: int) -> list[HomeBlock]:
    state = home.begin(start)
    lived = []
    for _ in range(blocks):
        block, state = home.advance(state)
        lived.append(block)
    return lived


def column(blocks: list[HomeBlock], name: str) -> Floats:
    return np.concatenate([getattr(block, name) for block in blocks])


@pytest.fixture(scope="module")
def june() -> list[HomeBlock]:
    return live_through(Home(1, BERLIN), seconds("2026-06-14"), 7 * BLOCKS_A_DAY)


@pytest.fixture(scope="module")
def december() -> list[HomeBlock]:
    return live_through(Home(1, BERLIN), seconds("2026-12-14"), 7 * BLOCKS_A_DAY)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    time=st.integers(0, 4_000_000_000),
    latitude=st.floats(-66, 66),
    longitude=st.floats(-180, 180),
)
def test_what_is_bought_covers_what_the_roof_and_the_battery_do_not(
    seed: int, time: int, latitude: float, longitude: float
) -> None:
    home = Home(seed, Site(latitude, longitude, "UTC"))
    block, _ = home.advance(home.begin(time))
    np.testing.assert_allclose(block.grid + block.solar + block.battery, block.load, atol=1e-9)
    assert (block.load > 0).all()
    assert (block.solar >= 0).all()
    for field in fields(HomeBlock):
        if field.name != "start":
            values = getattr(block, field.name)
            assert values.shape == (BLOCK,), field.name
            assert np.isfinite(values).all(), field.name


def test_the_battery_is_never_emptier_than_empty_nor_fuller_than_full(
    june: list[HomeBlock], december: list[HomeBlock]
) -> None:
    for season in (june, december):
        soc = column(season, "soc")
        assert soc.min() >= 0
        assert soc.max() <= 100
    assert column(june, "soc").max() > 99, "a June week should fill the battery at least once"
    assert column(december, "soc").min() < 15, "a December week should empty it at least once"


def test_the_battery_keeps_to_its_power_and_loses_some_energy_on_the_way(june: list[HomeBlock]) -> None:
    power = column(june, "battery")
    assert power.min() >= -5_010
    assert power.max() <= 4_610
    charged, given = -power[power < 0].sum(), power[power > 0].sum()
    soc = column(june, "soc")
    capacity = Home(1, BERLIN)._battery.capacity
    kept = (soc[-1] - soc[0]) / 100 * capacity * 3600
    assert 0.85 < (given + kept) / charged < 0.97


def test_a_full_battery_holds_still_but_not_dead_still(june: list[HomeBlock]) -> None:
    power, soc = column(june, "battery"), column(june, "soc")
    full = power[soc == 100.0]
    assert len(full) > 3_600
    assert 1 < np.median(np.abs(full)) < 10
    assert np.count_nonzero(np.diff(full)) > 0.9 * len(full)


def test_counters_never_fall_and_hold_the_integral_of_the_power(june: list[HomeBlock]) -> None:
    for counter, power in (
        ("produced", column(june, "solar")),
        ("imported", np.maximum(column(june, "grid"), 0)),
        ("exported", np.maximum(-column(june, "grid"), 0)),
    ):
        register = column(june, counter)
        assert (np.diff(register) >= 0).all(), counter
        assert register[-1] - register[0] == pytest.approx(power[1:].sum() / 3.6e6, abs=0.002), counter


def test_the_roof_is_dark_at_night_and_yields_at_noon_in_june(june: list[HomeBlock]) -> None:
    days = column(june, "solar").reshape(7, 86_400)
    assert (days[:, : 2 * 3600] == 0).all()  # until 02:00 UTC, 04:00 in Berlin
    noon = days[:, 11 * 3600 - 900 : 11 * 3600 + 900]
    assert (noon > 0).all()
    assert noon.max() > 4_000


def test_a_june_week_yields_several_times_a_december_week(
    june: list[HomeBlock], december: list[HomeBlock]
) -> None:
    assert column(june, "solar").sum() > 2 * column(december, "solar").sum()


def test_the_voltage_sags_while_the_home_buys(december: list[HomeBlock]) -> None:
    grid, voltage = column(december, "grid"), column(december, "voltage")
    assert voltage[grid > 3_000].mean() < voltage[np.abs(grid) < 200].mean() - 1.5
    assert voltage.min() > 207  # EN 50160 allows 230 V ± 10 %
    assert voltage.max() < 253


def test_the_frequency_stays_near_50_hertz(june: list[HomeBlock]) -> None:
    frequency = column(june, "frequency")
    assert abs(frequency.mean() - 50.0) < 0.01
    assert 49.85 < frequency.min() < frequency.max() < 50.15
    assert np.abs(np.diff(frequency)).max() < 0.05


def test_a_home_uses_little_at_night_and_has_peaks_of_appliances(june: list[HomeBlock]) -> None:
    days = column(june, "load").reshape(7, 86_400)
    night, evening = days[:, 2 * 3600 : 3 * 3600], days[:, 17 * 3600 : 20 * 3600]
    assert np.median(night) < 0.6 * np.median(evening)
    assert (days.max(axis=1) > 1_800).all()


@pytest.mark.parametrize(("day", "hours"), [("2026-10-22", {0, 1, 2}), ("2026-10-27", {1, 2, 3})])
def test_habits_follow_the_clock_on_the_wall_through_its_changes(day: str, hours: set[int]) -> None:
    """The cheap hours are from two to five in Berlin, which is another time of UTC before 25 October."""
    lived = live_through(Home(1, BERLIN), seconds(day), 3 * BLOCKS_A_DAY)
    charges = np.flatnonzero((column(lived, "solar") == 0) & (column(lived, "battery") < -1_000))
    assert len(charges) > 1_800
    assert set((charges % 86_400 // 3600).tolist()) <= hours


def test_history_and_live_agree_where_they_meet() -> None:
    start, joint = seconds("2026-03-27 20:00:00"), seconds("2026-03-29 06:52:31")
    past = Home(4, BERLIN)
    lived = live_through(past, start, (joint - start) // BLOCK + 3)
    live = Home(4, BERLIN)
    state = live.seek(live.begin(start), joint)
    for _ in range(2):
        block, state = live.advance(state)
        same = lived[(block.start - start) // BLOCK]
        for field in fields(HomeBlock):
            np.testing.assert_array_equal(getattr(block, field.name), getattr(same, field.name))


def test_nothing_jumps_from_one_block_to_the_next(june: list[HomeBlock]) -> None:
    for name, step in (("soc", 0.2), ("frequency", 0.05), ("temperature", 1.0), ("solar", 700.0)):
        steps = [
            abs(float(getattr(after, name)[0] - getattr(before, name)[-1]))
            for before, after in itertools.pairwise(june)
        ]
        assert max(steps) <= step, name


def test_two_homes_differ() -> None:
    start = seconds("2026-06-14 10:00:00")
    one, other = (live_through(Home(seed, BERLIN), start, 1)[0] for seed in (1, 2))
    assert not np.array_equal(one.load, other.load)
    assert one.produced[0] != other.produced[0]


def test_a_home_that_was_switched_off_goes_on_with_its_registers() -> None:
    home = Home(3, BERLIN)
    _, state = home.advance(home.begin(seconds("2026-06-14")))
    later = stand_still(state, seconds("2026-09-01 12:00:00"))
    block, _ = home.advance(later)
    assert block.start == seconds("2026-09-01 12:00:00")
    assert block.produced[0] * 1000 == pytest.approx(state.produced, abs=3)


def test_a_time_before_the_state_is_refused() -> None:
    home = Home(3, BERLIN)
    with pytest.raises(ValueError, match="before block"):
        home.seek(home.begin(seconds("2026-06-14")), seconds("2026-06-13"))


def test_the_batterys_state_says_what_its_power_does(june: list[HomeBlock]) -> None:
    state, power = column(june, "battery_state"), column(june, "battery")
    assert set(state) == {0.0, 1.0, 2.0}
    assert (power[state == 1] < -20).all()
    assert (power[state == 2] > 20).all()
    assert (abs(power[state == 0]) <= 20).all()
