"""Rises of counters and integrals of levels, from pieces of any size, against a person's arithmetic."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.telemetry.history.buckets import integrate, usual_distance
from joulebook.telemetry.history.counters import RegisterChange, compute_rises
from joulebook.telemetry.rollups.summaries import summarise, summarise_each

SECOND = 1_000_000
Reading = tuple[int, float]


def pieces(readings: list[Reading], width: int = 1):
    """Summaries of (second, value) in pieces of `width` seconds."""
    time = np.array([second for second, _ in readings], np.int64) * SECOND
    value = np.array([value for _, value in readings], np.float64)
    return summarise(np.ones(len(time), np.int32), time, value, time // (width * SECOND) * (width * SECOND))


def edges(*seconds: int):
    return np.array(seconds, np.int64) * SECOND


def told_rises(readings: list[Reading], borders: list[int], silence: int) -> tuple[list[float], list[float]]:
    """Rises and unallocated rises by bucket, one reading after the other."""
    number = len(borders) - 1
    increase, unallocated = [0.0] * number, [0.0] * number

    def bucket(second: int) -> int:
        return sum(second >= border for border in borders) - 1

    stood = readings[0][1] if readings else 0.0
    for (earlier, before), (later, value) in itertools.pairwise(readings):
        if before > 0 and before - value >= 0.1 * before:
            rise, stood = max(value, 0.0), max(value, 0.0)
        else:
            rise, stood = max(value - stood, 0.0), max(value, stood)
        if not 0 <= bucket(later) < number:
            continue
        if later - earlier > silence and bucket(earlier) != bucket(later):
            unallocated[bucket(later)] += rise
        else:
            increase[bucket(later)] += rise
    return increase, unallocated


COUNTERS = st.lists(
    st.tuples(st.integers(0, 100), st.one_of(st.integers(0, 30), st.integers(-5, 2000)).map(float)),
    max_size=40,
    unique_by=lambda reading: reading[0],
).map(sorted)


@given(COUNTERS, st.sampled_from([1, 2, 5, 10]), st.sampled_from([10, 20]), st.integers(1, 40))
def test_rises_are_those_of_a_person_with_a_pencil_whatever_the_pieces(readings, width, bucket, silence):
    borders = list(range(20, 90, bucket))
    rises = compute_rises(pieces(readings, width), edges(*borders), silence=silence * SECOND)
    assert (rises.increase.tolist(), rises.unallocated.tolist()) == told_rises(readings, borders, silence)


@given(COUNTERS, st.integers(1, 40))
def test_what_the_buckets_claim_and_what_none_can_is_the_whole_rise(readings, silence):
    rows = pieces(readings)
    rises = compute_rises(rows, edges(*range(0, 111, 10)), silence=silence * SECOND)
    whole = compute_rises(rows, edges(0, 110), silence=silence * SECOND)
    assert rises.increase.sum() + rises.unallocated.sum() == whole.increase.sum() + whole.unallocated.sum()


def test_a_reset_counts_from_zero_and_a_dip_is_waited_out():
    readings = [(0, 100.0), (1, 110.0), (2, 107.0), (3, 112.0), (4, 3.0), (5, 8.0)]
    rises = compute_rises(pieces(readings), edges(0, 3, 6), silence=SECOND)
    assert rises.increase.tolist() == [10.0, 2.0 + 8.0]
    assert rises.resets.tolist() == [0, 1]


def test_a_silence_inside_a_bucket_is_that_buckets_and_across_a_border_nobodys():
    readings = [(0, 1.0), (8, 5.0), (25, 9.0), (26, 10.0)]
    rises = compute_rises(pieces(readings), edges(0, 10, 20, 30), silence=5 * SECOND)
    assert rises.increase.tolist() == [4.0, 0.0, 1.0]
    assert rises.unallocated.tolist() == [0.0, 0.0, 4.0]


@pytest.mark.parametrize(
    ("replacement", "increase"),
    [
        (RegisterChange(3 * SECOND, final=125.0, start=2.0), [10.0, 15.0 + 5.0 + 6.0]),
        (RegisterChange(3 * SECOND, final=125.0), [10.0, 15.0 + 6.0]),
        (RegisterChange(3 * SECOND, start=2.0), [10.0, 5.0 + 6.0]),
        (RegisterChange(3 * SECOND), [10.0, 6.0]),
        (RegisterChange(3 * SECOND, final=90.0, start=7.0), [10.0, 0.0 + 6.0]),
    ],
)
def test_a_replaced_meter_is_no_reset(replacement, increase):
    readings = [(0, 100.0), (1, 110.0), (4, 7.0), (5, 13.0)]
    rises = compute_rises(pieces(readings), edges(0, 3, 6), silence=10 * SECOND, replacements=[replacement])
    assert rises.increase.tolist() == increase
    assert rises.resets.sum() == 0


def test_a_new_meter_may_begin_higher_than_the_old_ended():
    readings = [(0, 100.0), (4, 5000.0), (5, 5001.0)]
    rises = compute_rises(
        pieces(readings),
        edges(0, 6),
        silence=10 * SECOND,
        replacements=[RegisterChange(2 * SECOND, final=101.0)],
    )
    assert rises.increase.tolist() == [2.0]


def test_a_wider_tolerance_takes_a_deeper_dip_for_a_dip():
    rows = summarise_each(np.ones(3, np.int32), np.arange(3) * SECOND, np.array([100.0, 85.0, 101.0]))
    assert compute_rises(rows, edges(0, 3), silence=SECOND).increase.tolist() == [85.0 + 16.0]
    assert compute_rises(rows, edges(0, 3), silence=SECOND, tolerance=0.2).increase.tolist() == [1.0]


LEVELS = st.lists(
    st.tuples(st.integers(0, 100), st.integers(-50, 50).map(float)), max_size=40, unique_by=lambda r: r[0]
).map(sorted)


@given(LEVELS, st.sampled_from([10, 20]), st.integers(1, 40))
def test_each_second_is_held_by_the_reading_before_it_or_not_covered(readings, bucket, silence):
    borders = list(range(10, 91, bucket))
    found = integrate(pieces(readings), edges(*borders), silence=silence * SECOND)
    held: dict[int, float] = {}
    for (second, value), (later, _) in itertools.pairwise(readings):
        if later - second <= silence:
            held |= dict.fromkeys(range(second, later), value)
    for place, begin in enumerate(borders[:-1]):
        seconds = [held[second] for second in range(begin, begin + bucket) if second in held]
        assert (found.integral[place], found.covered[place]) == (sum(seconds), len(seconds))


@given(LEVELS, st.sampled_from([2, 5, 10]))
def test_pieces_without_a_silence_come_to_the_same_as_their_readings(readings, width):
    silence = 15 * SECOND
    fine = integrate(pieces(readings), edges(*range(0, 101, 10)), silence=silence)
    coarse = integrate(pieces(readings, width), edges(*range(0, 101, 10)), silence=silence)
    assert fine.integral.tolist() == coarse.integral.tolist()
    assert fine.covered.tolist() == coarse.covered.tolist()


def test_the_usual_distance_is_the_one_between_most_readings():
    readings = [(second, 1.0) for second in (*range(0, 50, 5), 90, 95)]
    assert usual_distance(pieces(readings)) == 5 * SECOND
    assert usual_distance(pieces(readings, 20)) == 5 * SECOND
    assert usual_distance(pieces([(1, 1.0)])) == 0
