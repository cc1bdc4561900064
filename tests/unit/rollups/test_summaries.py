"""Summaries of readings, and their merging, against sums made one reading at a time."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from joulebook.telemetry.rollups.gaps import SLOTS, Edges
from joulebook.telemetry.rollups.packed_edges import pack_edges, unpack_edges
from joulebook.telemetry.rollups.summaries import SUMMARY, edges_of, merge, summarise, summarise_each

from .gap_truth import known_gaps

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
    rows, edges = merge(summarise_each(series, time, value), Edges.none(len(time)), time // fine * fine)
    for factor in (times, again):
        fine *= factor
        rows, edges = merge(rows, edges, rows["bucket"] // fine * fine)
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
    again, _ = merge(
        summarise_each(series, time, np.array([5.0, 7.0, 1.0, 0.5])), Edges.none(4), np.zeros(4, np.int64)
    )
    assert again.tolist() == rows.tolist()


def test_nothing_comes_to_nothing():
    rows, edges = merge(np.empty(0, SUMMARY), Edges.none(0), np.empty(0, np.int64))
    assert (len(rows), len(edges)) == (0, 0)


def test_a_dip_across_a_border_is_no_rise_twice():
    series, time, value = arrays([(0, 90.0), (1, 100.0), (2, 97.0), (3, 101.0)])
    rows, edges = merge(
        summarise_each(series, time, value), Edges.none(4), time // (2 * SECOND) * (2 * SECOND)
    )
    assert rows["increase"].tolist() == [10.0, 4.0]
    assert merge(rows, edges, np.zeros(2, np.int64))[0]["increase"].tolist() == [11.0]


# Stretches of readings: how many, and how far apart in seconds. So there are bursts, outages and changed rates.
STRETCHES = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 40), st.sampled_from([1, 2, 10]), st.just(0)),
        st.tuples(st.integers(1, 4), st.sampled_from([15, 40, 200, 900]), st.just(0)),
        st.tuples(st.integers(1, 20), st.integers(1, 12), st.integers(1, 25)),
    ),
    min_size=1, max_size=8,
)  # fmt: skip
ANY_VALUE = st.sampled_from([0.0, 1.0, -3.0, 600.0, -0.5, 2.0**20])


@st.composite
def histories(draw):
    """Draw readings of one series, of changing rates, with or without jitter."""
    at, times = 0, []
    for number, distance, jitter in draw(STRETCHES):
        for _ in range(number):
            at += distance + (draw(st.integers(0, jitter)) if jitter else 0)
            times.append(at)
    is_flat = draw(st.booleans())
    values = (
        [2.0] * len(times) if is_flat else draw(st.lists(ANY_VALUE, min_size=len(times), max_size=len(times)))
    )
    return list(zip(times, values, strict=True))


def assert_same(rows, edges, expected, expected_edges) -> None:
    for name in SUMMARY.names or ():
        assert rows[name].tolist() == expected[name].tolist(), name
    assert edges.gaps.tolist() == expected_edges.gaps.tolist()
    assert edges.values.tolist() == expected_edges.values.tolist()


@given(histories(), st.lists(st.sampled_from([2, 3, 5]), max_size=3), st.sampled_from([1, 5, 30, 60]))
def test_known_time_and_edges_are_the_same_however_often_rows_were_merged(readings, factors, width):
    series, time, value = arrays(readings)
    fine = width * SECOND
    rows = summarise(series, time, value, time // fine * fine)
    edges = edges_of(rows, time, value)
    for factor in factors:
        fine *= factor
        rows, edges = merge(rows, edges, rows["bucket"] // fine * fine)
        whole = summarise(series, time, value, time // fine * fine)
        assert_same(rows, edges, whole, edges_of(whole, time, value))


@given(histories(), st.sampled_from([5, 30, 60, 300, 3600]))
def test_a_row_knows_what_it_decides_and_what_is_pending(readings, width):
    series, time, value = arrays(readings)
    rows = summarise(series, time, value, time // (width * SECOND) * (width * SECOND))
    known = known_gaps(time.tolist())
    begin = 0
    for row in rows:
        inner = int(row["count"]) - 1
        span = range(begin, begin + inner)
        slots = [*span] if inner <= SLOTS else [*span[:5], *span[-5:]]
        pending = [place for bit, place in enumerate(slots) if row["pending"] >> bit & 1]
        decided = [place for place in span if place not in pending]
        distance = {place: int(time[place + 1] - time[place]) for place in span}
        if inner <= SLOTS:
            assert pending == [*span]
        assert row["known"] == sum(distance[place] for place in decided if known[place])
        held = [value[place] * distance[place] / SECOND for place in decided if known[place]]
        assert row["known_integral"] == sum(held)
        assert row["known_in"] == sum(each for each in held if each > 0)
        whole = [value[place] * distance[place] / SECOND for place in span]
        assert row["integral_in"] == sum(each for each in whole if each > 0)
        begin += inner + 1


@given(histories(), st.sampled_from([5, 30, 60, 300, 3600]))
def test_edges_come_back_from_their_bytes(readings, width):
    series, time, value = arrays(readings)
    rows = summarise(series, time, value, time // (width * SECOND) * (width * SECOND))
    edges = edges_of(rows, time, value)
    packed: dict[int, bytes] = {}
    for index, words in pack_edges(rows, edges):
        packed |= dict(zip(index.tolist(), (row.astype(">i8").tobytes() for row in words), strict=True))
    together = b"".join(packed[row] for row in range(len(rows)))
    size = np.array([len(packed[row]) for row in range(len(rows))], np.int32)
    found = unpack_edges(rows, together, size, is_legacy=np.zeros(len(rows), np.bool_))
    assert found.gaps.tolist() == edges.gaps.tolist()
    assert found.values.tolist() == edges.values.tolist()


def test_a_row_of_even_distances_needs_no_bytes():
    time = np.arange(60) * SECOND
    rows = summarise(np.ones(60, np.int32), time, np.arange(60.0), np.zeros(60, np.int64))
    [(_, words)] = pack_edges(rows, edges_of(rows, time, np.arange(60.0)))
    assert words.shape == (1, 0)
    assert (rows["known"], rows["pending"]) == (59 * SECOND, 0)
