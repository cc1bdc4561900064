"""The battery keeps to its limits whatever is asked of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from joulebook.simulator.battery import MINUTE, Battery
from joulebook.simulator.noise import Floats

BATTERY = Battery(capacity=10_000.0, charge_limit=5_000.0, discharge_limit=4_600.0, reserve=0.08)


def run(wanted: Floats, stored: float, *, floor: float = 0.0, ripple: float = 0.0) -> tuple[Floats, Floats]:
    minutes = len(wanted) // MINUTE
    return BATTERY.run(
        wanted, stored, floor=np.full(minutes, floor), ripple=np.full(len(wanted), ripple)
    )  # fmt: skip


@given(
    wishes=st.lists(st.floats(-50_000, 50_000), min_size=1, max_size=120),
    start=st.floats(0.08, 1.0),
    ripple=st.floats(-10, 10),
)
@example(wishes=[0.0] * 120, start=0.08, ripple=10.0)
@example(wishes=[0.0] * 120, start=1.0, ripple=-10.0)
def test_what_is_stored_stays_between_the_reserve_and_full(
    wishes: list[float], start: float, ripple: float
) -> None:
    power, stored = run(np.repeat(wishes, MINUTE), start * BATTERY.capacity, ripple=ripple)
    assert stored.max() <= BATTERY.capacity + 0.3
    assert stored.min() >= BATTERY.reserve * BATTERY.capacity - 0.3
    assert power.min() >= -5_010
    assert power.max() <= 4_610


@given(st.floats(-4_000, 4_000))
def test_energy_is_kept_less_the_loss_of_its_way(wish: float) -> None:
    power, stored = run(np.full(MINUTE, wish), 5_000.0)
    moved = power.sum() / 3600.0
    change = stored[-1] - 5_000.0
    assert change == pytest.approx(-moved * (0.958 if moved < 0 else 1 / 0.958), abs=1e-6)


def test_within_its_limits_it_does_what_is_asked() -> None:
    wanted = np.tile([1_200.0, -800.0], MINUTE)
    power, _ = run(wanted, 5_000.0)
    np.testing.assert_array_equal(power, wanted)


def test_it_gives_nothing_below_the_floor_but_takes() -> None:
    power, stored = run(np.full(10 * MINUTE, 2_000.0), 6_000.0, floor=0.6)
    assert stored[-1] == pytest.approx(6_000.0, abs=1.5)
    assert np.abs(power).max() <= 5.0
    _, stored = run(np.full(10 * MINUTE, -2_000.0), 6_000.0, floor=0.6)
    assert stored[-1] > 6_300.0


def test_charging_tapers_off_above_nine_tenths() -> None:
    power, stored = run(np.full(120 * MINUTE, -5_000.0), 8_500.0)
    fast, slow = power[stored < 9_000.0], power[stored > 9_800.0]
    assert fast.min() == -5_000.0
    assert slow.min() > -1_100.0
    assert stored[-1] > 9_900.0


def test_the_voltage_falls_with_the_charge_and_under_load() -> None:
    shares = np.linspace(0.0, 1.0, 50)
    rest = BATTERY.voltage(shares, np.zeros(50))
    assert (np.diff(rest) > 0).all()
    assert (BATTERY.voltage(shares, np.full(50, 4_000.0)) < rest).all()
    assert 45.0 < rest.min() < rest.max() < 57.6
