"""The slow model itself, against figures that a person works out by hand."""

from __future__ import annotations

import math
from zoneinfo import ZoneInfo

import pytest

from .slow_meaning import (
    HOUR,
    MINUTE,
    NewMeter,
    Register,
    amounts,
    gaps_of,
    good_readings,
    levels,
    rises,
    rises_of,
    states,
)


def every(minutes: float, *values: float, start: int = 0) -> list[tuple[int, float]]:
    return [(start + int(place * minutes * MINUTE), value) for place, value in enumerate(values)]


def risen(readings, register=None, edges=(-(10**18), 10**18)):
    found = rises_of(readings, gaps_of(readings), register or Register())
    return [math.fsum(bucket.up) - math.fsum(bucket.down) for bucket in rises(found, edges)]


def test_an_outage_among_even_readings_is_unknown_and_a_change_of_rate_is_not():
    outage = every(1, *[1.0] * 20) + every(1, *[1.0] * 20, start=60 * MINUTE)
    assert [gap.end - gap.begin for gap in gaps_of(outage) if not gap.is_known] == [41 * MINUTE]
    faster = every(10, *[1.0] * 20) + every(1 / 60, *[1.0] * 600, start=200 * MINUTE)
    assert all(gap.is_known for gap in gaps_of(faster))


def test_a_lone_distance_is_known_and_an_owners_limit_stands_above_all():
    lone = [(0, 1.0), (9 * HOUR, 1.0)]
    assert [gap.is_known for gap in gaps_of(lone)] == [True]
    assert [gap.is_known for gap in gaps_of(lone, HOUR)] == [False]


def test_a_gap_across_an_edge_is_split_and_in_and_out_are_apart():
    readings = [(0, 600.0), (90 * MINUTE, -600.0), (3 * HOUR, 0.0)]
    first, second, third = levels(readings, gaps_of(readings), [0, HOUR, 2 * HOUR, 3 * HOUR])
    assert first.integral.value == 600 * 3600
    assert (second.integral_in.value, second.integral_out.value) == (600 * 1800, 600 * 1800)
    assert (third.known, third.integral.value) == (HOUR, -600 * 3600)


def test_a_spike_of_one_bucket_leaves_the_next_exact():
    readings = every(60, 1e20, 1000.0, 1000.0)
    assert levels(readings, gaps_of(readings), [0, HOUR, 2 * HOUR])[1].integral.value == 3_600_000


def test_states_share_known_time_and_count_changes():
    readings = every(10, 0, 0, 1, 1, 0, 1, 1)
    [bucket] = states(readings, gaps_of(readings), [0, HOUR])
    assert (bucket.shares, bucket.changes) == ({0: 0.5, 1: 0.5}, 3)


def test_an_amount_at_an_edge_belongs_to_the_time_that_it_covers():
    readings = every(30, 1.0, 2.0, 4.0)
    assert amounts(readings, [0, HOUR, 2 * HOUR]) == [[1, 2], [4]]
    assert amounts(readings, [-HOUR, 0, HOUR], covers_before=True) == [[1], [2, 4]]


@pytest.mark.parametrize(
    ("values", "rise"),
    [
        ((12_000, 12_007, 0, 12_014.4, 12_014.4), 14.4),
        ((12_000, 12_007, 99_999, 12_014.4, 12_014.4), 14.4),
        ((12_000, 12_007, 1, 2, 3, 12_014.4, 12_014.4), 14.4),
        ((12_000, 12_007, 1, 2, 3, 4, 12_014.4, 12_014.4), 7 + 1 + 3 + 12_010.4),
        ((20, 20.5, 5, 10, 19, 19.5), 0.5 + 5 + 5 + 9 + 0.5),
        ((12_000, 12_007, 3, 5, 6), 7 + 3 + 2),
        ((12_000, 12_007, 3, 5), 7 + 3),
        ((12_000, 12_007, 3), 7),
        ((100, 98, 99, 101), 1),
    ],
)
def test_glitches_count_for_nothing_resets_from_zero_and_dips_are_waited_out(values, rise):
    assert risen(every(10, *map(float, values))) == [pytest.approx(rise)]


def test_the_newest_reading_is_provisional():
    readings = every(10, 100.0, 101.0, 0.0)
    assert good_readings(readings, Register()) == readings[:2]
    assert good_readings(readings, Register(confirmed=frozenset({20 * MINUTE}))) == readings


def test_an_overflow_is_no_reset():
    readings = every(10, 990.0, 995.0, 3.0, 4.0, 4.1)
    assert risen(readings, Register(rolls_over_at=1000.0)) == [pytest.approx(14.1)]


def test_a_register_of_the_day_begins_anew_at_midnight_though_its_clock_is_late():
    berlin = ZoneInfo("Europe/Berlin")
    evening = every(5, 9.0, 9.5, 10.0, 10.1, 0.0, 0.2, 0.4, 0.4, start=22 * HOUR + 45 * MINUTE)
    assert risen(evening, Register(day_zone=berlin), [22 * HOUR, 23 * HOUR, 24 * HOUR]) == [
        pytest.approx(1.0),
        pytest.approx(0.1 + 0.4),
    ]
    exact = every(30, 9.0, 10.0, 8.0, 8.5, 8.6, start=22 * HOUR + 15 * MINUTE)
    assert risen(exact, Register(day_zone=berlin), [22 * HOUR, 23 * HOUR, 26 * HOUR]) == [
        1.0,
        pytest.approx(8.6),
    ]


def test_a_net_register_rises_and_falls():
    readings = every(10, 10.0, 10.5, 10.2, 10.9)
    [bucket] = rises(rises_of(readings, gaps_of(readings), Register(runs_both_ways=True)), [0, HOUR])
    assert (math.fsum(bucket.up), math.fsum(bucket.down)) == (pytest.approx(1.2), pytest.approx(0.3))


def test_a_rise_that_is_not_believed_counts_when_it_is_confirmed():
    readings = every(60, 10.0, 11.0, 500.0, 501.0, 501.1)
    assert risen(readings, Register(greatest_rise=5.0)) == [pytest.approx(2.1)]
    ignored = Register(ignored=frozenset({2 * HOUR}))
    assert risen(readings, ignored) == [pytest.approx(2.1)]
    confirmed = Register(greatest_rise=5.0, confirmed=frozenset({2 * HOUR}))
    assert risen(readings, confirmed) == [pytest.approx(491.1)]


def test_a_rise_in_unknown_time_is_unallocated_or_spread():
    readings = every(10, 1, 2, 3, 4, 5, 6) + every(10, 18, 19, 20, 21, 22, start=3 * HOUR)
    found = rises_of(readings, gaps_of(readings), Register())
    edges = [0, HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR]
    assert [math.fsum(bucket.up) for bucket in rises(found, edges)] == [5, 0, 0, 4]
    assert [math.fsum(bucket.unallocated) for bucket in rises(found, edges)] == [0, 0, 0, 12]
    spread = rises(found, edges, spreads=True)
    assert [math.fsum(bucket.up) for bucket in spread] == pytest.approx(
        [5 + 12 * 10 / 130, 12 * 60 / 130, 12 * 60 / 130, 4]
    )


def test_a_replaced_meter_ends_at_its_last_register_and_the_new_one_begins_at_its_first():
    readings = every(10, 10, 12, 100, 103)
    meter = NewMeter(15 * MINUTE, final=13, start=98)
    assert risen(readings, Register(replaced=(meter,))) == [2 + 1 + 2 + 3]
    assert risen(readings, Register(replaced=(NewMeter(15 * MINUTE),))) == [2 + 3]
