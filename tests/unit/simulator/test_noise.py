"""Noise: uniform, smooth, and the same however time is cut."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from joulebook.simulator.noise import grain, pick, smooth, stream, uniform

SECONDS = np.arange(1_700_000_000, 1_700_100_000, dtype=np.int64)


def test_uniform_values_fill_the_unit_interval_evenly() -> None:
    values = uniform(stream(1, "x"), SECONDS)
    counts, _ = np.histogram(values, bins=10, range=(0, 1))
    assert counts.sum() == len(SECONDS)
    assert counts.min() > 9_500
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.02


def test_grain_has_mean_zero_and_deviation_one() -> None:
    values = grain(stream(1, "x"), SECONDS)
    assert abs(values.mean()) < 0.02
    assert abs(values.std() - 1) < 0.02


def test_smooth_noise_stays_in_range_and_moves_slowly() -> None:
    values = smooth(stream(1, "x"), SECONDS, 600.0)
    assert values.min() >= -1
    assert values.max() <= 1
    assert values.std() > 0.3
    assert np.abs(np.diff(values)).max() <= 2 * 1.5 / 600


@given(cut=st.integers(1, 4_999), period=st.floats(5, 100_000))
def test_noise_does_not_depend_on_where_time_is_cut(cut: int, period: float) -> None:
    seconds, number = SECONDS[:5_000], stream(2, "y")
    parts = [smooth(number, part, period) for part in (seconds[:cut], seconds[cut:])]
    np.testing.assert_array_equal(np.concatenate(parts), smooth(number, seconds, period))


def test_streams_differ_by_seed_and_by_name() -> None:
    assert len({stream(seed, name) for seed in range(50) for name in ("a", "b")}) == 100


def test_a_picked_value_is_the_uniform_one() -> None:
    number = stream(3, "z")
    assert pick(number, 5) == uniform(number, np.arange(10, dtype=np.int64))[5]
