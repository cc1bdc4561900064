"""Summaries of readings, and their merging, against sums made one reading at a time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.telemetry.rollups.summaries import SUMMARY, merge, summarise, summarise_each

SECOND = 1_000_000
# Whole numbers below 2^30: sums of them are exact, so that results can be compared to the last bit.
VALUES = st.one_of(st.integers(-50, 1000), st.integers(0, 2**30)).map(float)
READINGS = st.lists(st.tuples(st.integers(0, 40), VALUES), min_size=1, max_size=60, unique_by=lambda r: r[0])


def increase_of(values: list[float]) -> tuple[float, int]:
    """How far a counter rose over these readings, and its resets, told as a person would."""
    total, resets, highest = 0.0, 0, values[0]
    for before, value in itertools.pairwise(values):
        if before > 0 and before - value >= 0.1 * before:
            resets += 1
            total += max(value, 0)
            highest = max(value, 0)
            if value < 0:
                highest = 0
        elif value > highest:
            total += value - highest
            highest = value
    return total, resets


def told(readings: list[tuple[int, float]]) -> dict[str, float]:
    times = [second * SECOND for second, _ in readings]
    values = [value for _, value in readings]
    increase, resets = increase_of(values)
    return {
        "count": len(values), "sum": sum(values), "min": min(values), "max": max(values),
        "first": values[0], "last": values[-1], "first_at": times[0], "last_at": times[-1],
        "increase": increase, "resets": resets,
        "integral": sum(
            value * (after - at) / SECOND for value, at, after in zip(values, times, times[1:], strict=False)
        ),
        "longest_gap": max((after - at for at, after in itertools.pairwise(times)), default=0),
    }  # fmt: skip


def arrays(readings: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.ones(len(readings), np.int32),
        np.array([second * SECOND for second, _ in readings], np.int64),
        np.array([value for _, value in readings]),
    )


def assert_equal(row: np.void, expected: dict[str, float]) -> None:
    assert {name: row[name].item() for name in expected} == expected


@given(READINGS, st.integers(1, 45))
def test_a_summary_says_what_its_readings_come_to(readings, width):
    readings.sort()
    series, time, value = arrays(readings)
    rows = summarise(series, time, value, time // (width * SECOND) * (width * SECOND))
    buckets = sorted({second // width for second, _ in readings})
    assert rows["bucket"].tolist() == [bucket * width * SECOND for bucket in buckets]
    for row, bucket in zip(rows, buckets, strict=True):
        assert_equal(row, told([reading for reading in readings if reading[0] // width == bucket]))


@given(READINGS, st.integers(1, 8), st.integers(1, 4), st.integers(1, 4))
def test_merged_summaries_are_the_summary_of_all_their_readings(readings, width, times, again):
    readings.sort()
    series, time, value = arrays(readings)
    fine = width * SECOND
    rows = merge(summarise_each(series, time, value), time // fine * fine)
    for factor in (times, again):
        fine *= factor
        rows = merge(rows, rows["bucket"] // fine * fine)
    whole = summarise(series, time, value, time // fine * fine)
    for name in SUMMARY.names or ():
        assert rows[name].tolist() == whole[name].tolist(), name


def test_series_are_kept_apart():
    series = np.array([1, 1, 2, 2], np.int32)
    time = np.array([0, 1, 0, 1]) * SECOND
    rows = summarise(series, time, np.array([5.0, 7.0, 1.0, 0.5]), np.zeros(4, np.int64))
    assert rows["series_id"].tolist() == [1, 2]
    assert rows["increase"].tolist() == [2.0, 0.5]
    assert rows["resets"].tolist() == [0, 1]
    again = merge(summarise_each(series, time, np.array([5.0, 7.0, 1.0, 0.5])), np.zeros(4, np.int64))
    assert again.tolist() == rows.tolist()


@pytest.mark.parametrize("function", [lambda: merge(np.empty(0, SUMMARY), np.empty(0, np.int64))])
def test_nothing_comes_to_nothing(function):
    assert len(function()) == 0


def test_a_dip_across_a_border_is_no_rise_twice():
    series, time, value = arrays([(0, 90.0), (1, 100.0), (2, 97.0), (3, 101.0)])
    rows = merge(summarise_each(series, time, value), time // (2 * SECOND) * (2 * SECOND))
    assert rows["increase"].tolist() == [10.0, 4.0]
    assert merge(rows, np.zeros(2, np.int64))["increase"].tolist() == [11.0]
