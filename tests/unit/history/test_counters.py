"""Rises of counters from pieces of any size, against a person's arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.telemetry.history.counters import Rises, rises_by_bucket
from joulebook.telemetry.history.registers import RegisterChange, RegisterRule, are_unclear, steps_of
from joulebook.telemetry.rollups.summaries import Summaries, summarise, summarise_each

from ...slow_register import HOUR, MINUTE, Slow

SECOND = 1_000_000
DAY = 24 * HOUR
Reading = tuple[int, float]


def pieces(readings: list[Reading], width: int = 1):
    """Summaries of (second, value) in pieces of `width` seconds."""
    time = np.array([second for second, _ in readings], np.int64) * SECOND
    value = np.array([value for _, value in readings], np.float64)
    return summarise(np.ones(len(time), np.int32), time, value, time // (width * SECOND) * (width * SECOND))


def edges(*seconds: int):
    return np.array(seconds, np.int64) * SECOND


def unknown_gaps(rows: Summaries, silence: int):
    """The begins and ends of the times between rows that are longer than a silence."""
    is_unknown = rows["first_at"][1:] - rows["last_at"][:-1] > silence
    return rows["last_at"][:-1][is_unknown], rows["first_at"][1:][is_unknown]


def rises_of(
    readings: list[Reading], borders: list[int], rule: RegisterRule | None = None, *, silence: int = 1000
) -> Rises:
    """Rises of (second, value), none of them the newest of the series."""
    rows, rule = pieces(readings), rule or RegisterRule()
    steps = steps_of(rows, rule, has_newest=False)
    return rises_by_bucket(steps, edges(*borders), unknown_gaps(rows, silence * SECOND), rule)


# Any register ---------------------------------------------------------------------------------------------------


@st.composite
def registers(draw) -> list[Reading]:
    """Readings of a register in microseconds, with zeros, jumps, dips, resets and silences."""
    time, register = draw(st.integers(0, 30 * HOUR)), draw(st.sampled_from([0.0, 5.0, 100.0, 12_000.0]))
    distances = draw(st.sampled_from([(1,), (1, 10), (1, 10, 60, 300), (60,), (10, 10, 10, 1440)]))
    readings = []
    for _ in range(draw(st.integers(0, 40))):
        time += draw(st.sampled_from(distances)) * MINUTE + draw(st.integers(0, 1))
        register += draw(st.sampled_from([0.0, 0.1, 1.0, 3.0, register * 0.02]))
        shown = register
        match draw(st.integers(0, 14)):
            case 0:
                shown = 0.0
            case 1:
                shown = register * 8 + 10
            case 2:
                shown = register * 0.95
            case 3:
                shown = register = draw(st.sampled_from([0.0, 0.3, register * 0.3]))
            case 4:
                shown = draw(st.sampled_from([-3.0, register * 0.5]))
        readings.append((time, round(shown, 2)))
    return readings


def rows_of(readings: list[Reading], width: int) -> Summaries:
    time = np.array([time for time, _ in readings], np.int64)
    value = np.array([value for _, value in readings], np.float64)
    return summarise(np.ones(len(time), np.int32), time, value, time // width * width)


def with_single_readings(rows: Summaries, which, readings: list[Reading]) -> Summaries:
    again = [
        rows_of([each for each in readings if row["first_at"] <= each[0] <= row["last_at"]], 1)
        for row in rows[which]
    ]
    joined = np.concatenate([rows[~which], *again])
    return joined[np.argsort(joined["first_at"])]


@given(
    registers(),
    st.sampled_from([1, MINUTE, 5 * MINUTE, HOUR]),
    st.booleans(),
    st.sampled_from([None, 10.0, 100.0, 12_010.0]),
    st.sampled_from([None, 2.0, 50.0]),
    st.data(),
)
def test_any_register_rises_as_the_rule_says_one_reading_after_the_other(
    readings, width, resets_daily, rolls_over_at, greatest_rise, data
):
    times = [time for time, _ in readings]
    some = st.sets(st.sampled_from(times), max_size=2) if times else st.just(set())
    ignored, confirmed = data.draw(some), data.draw(some)
    midnights = list(range(0, 60 * DAY, DAY)) if resets_daily else []
    slow = Slow(
        readings,
        midnights=midnights,
        rolls_over_at=rolls_over_at,
        greatest_rise=greatest_rise,
        ignored=ignored,
        confirmed=confirmed,
    )
    rule = RegisterRule(
        midnights=np.array(midnights, np.int64),
        rolls_over_at=rolls_over_at,
        greatest_rise=greatest_rise,
        ignored=np.array(sorted(ignored), np.int64),
        confirmed=np.array(sorted(confirmed), np.int64),
    )
    rows = rows_of(readings, width)
    rows = with_single_readings(rows, are_unclear(rows, rule, has_newest=True), readings)
    steps = steps_of(rows, rule, has_newest=True)
    expected = slow.rises()
    entry = np.where(steps.is_disbelieved, 0.0, steps.entry)
    assert entry.sum() + steps.inner.sum() == pytest.approx(sum(rise for *_, rise, _ in expected))
    assert steps.resets.sum() == sum(is_reset for *_, is_reset in expected)
    assert [times.index(time) for time in steps.glitches["first_at"]] == sorted(slow.glitches())
    if width == 1:
        assert entry.tolist() == pytest.approx([rise for *_, rise, _ in expected])
        risen = [since for since, _, rise, _ in expected if rise > 0]
        assert steps.since[steps.entry > 0][: len(risen)].tolist() == risen or greatest_rise is not None


@given(registers(), st.integers(5, 400), st.sampled_from([30, 60, 1440]), st.booleans())
def test_what_the_buckets_claim_and_what_none_can_is_the_whole_rise(readings, silence, bucket, spreads):
    rows, rule = rows_of(readings, 1), RegisterRule(spreads=spreads)
    steps = steps_of(rows, rule, has_newest=True)
    unknown = unknown_gaps(rows, silence * MINUTE)
    borders = np.arange(0, 90 * DAY, bucket * MINUTE)
    found = rises_by_bucket(steps, borders, unknown, rule)
    whole = (steps.entry + steps.inner).sum()
    assert found.increase.sum() + found.unallocated.sum() == pytest.approx(whole)
    assert found.unallocated.sum() == 0 or not spreads


# The kinds of falls and jumps -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "rise", "resets", "glitches"),
    [
        ([100, 110, 107, 112, 113], 13, 0, 0),
        ([100, 110, 3, 8, 9], 10 + 9, 1, 0),
        ([12000, 12001, 0, 12002, 12003], 3, 0, 1),
        ([12000, 12001, 99999, 12002, 12003], 3, 0, 1),
        ([12000, 12001, 0, 0.1, 0.2, 12002, 12003], 3, 0, 3),
        ([12000, 12001, 0, 99999, 12002, 12003], 3, 0, 2),
        ([12000, 12001, 0, 0, 0, 0, 12002, 12003], 1 + 12003, 1, 0),
        ([20, 21, 5, 10, 19, 22], 1 + 22, 1, 0),
        ([12000, 12001, 14000, 99999, 12002, 12003], 1 + 1999 + 85999 + 12003, 1, 0),
    ],
)
def test_a_fall_is_a_dip_a_reset_or_a_glitch(values, rise, resets, glitches):
    found = rises_of(list(enumerate(map(float, values))), [0, 20])
    assert found.increase.tolist() == pytest.approx([rise])
    assert (found.resets.tolist(), found.glitches.tolist()) == ([resets], [glitches])


@pytest.mark.parametrize("newest", [0.0, 89.0, 200.0, 110.0])
def test_the_newest_reading_waits_if_it_may_be_a_glitch(newest):
    rows = pieces([(0, 99.0), (1, 100.0), (2, newest)])
    steps = steps_of(rows, RegisterRule(), has_newest=True)
    assert (steps.entry.sum(), steps.resets.sum(), len(steps.glitches)) == (1.0, 0, 0)


def test_after_another_reading_stays_down_the_fall_is_a_reset():
    steps = steps_of(pieces([(0, 99.0), (1, 100.0), (2, 1.0), (3, 1.05)]), RegisterRule(), has_newest=True)
    assert (steps.entry.sum(), steps.resets.sum()) == (pytest.approx(1.0 + 1.05), 1)


def test_a_register_that_rolls_over_goes_on_at_zero():
    found = rises_of([(0, 9990.0), (1, 9998.0), (2, 3.0), (3, 5.0)], [0, 9], RegisterRule(rolls_over_at=1e4))
    assert (found.increase.tolist(), found.resets.tolist()) == ([8.0 + 5.0 + 2.0], [0])


def test_a_net_register_has_its_rises_and_its_falls_apart():
    readings = [(0, 0.2), (1, 0.5), (2, 0.3), (3, -0.4), (4, 0.1), (5, 0.3)]
    found = rises_of(readings, [0, 9], RegisterRule(runs_both_ways=True))
    assert found.increase.tolist() == pytest.approx([0.3 + 0.5 + 0.2])
    assert found.decrease.tolist() == pytest.approx([0.2 + 0.7])
    assert (found.resets.tolist(), found.glitches.tolist()) == ([0], [0])


@pytest.mark.parametrize("odd", [0.0, 99999.0])
def test_a_net_register_has_glitches_too(odd):
    readings = [(0, -500.1), (1, -500.0), (2, odd), (3, -500.2), (4, -500.1)]
    found = rises_of(readings, [0, 9], RegisterRule(runs_both_ways=True))
    assert found.increase.tolist() == pytest.approx([0.1 + 0.1])
    assert found.decrease.tolist() == pytest.approx([0.2])
    assert found.glitches.tolist() == [1]


def test_a_rise_above_the_believed_one_waits_for_its_owner():
    readings = [(0, 100.0), (600, 130.0), (1200, 131.0)]
    believed = rises_of(readings, [0, 2000], RegisterRule(greatest_rise=20.0))
    confirmed = rises_of(
        readings, [0, 2000], RegisterRule(greatest_rise=20.0, confirmed=np.array([600]) * SECOND)
    )
    assert (believed.increase.tolist(), confirmed.increase.tolist()) == ([1.0], [31.0])


def test_an_ignored_reset_counts_for_nothing_and_a_confirmed_glitch_is_a_reset():
    fell = [(0, 100.0), (1, 40.0), (2, 41.0)]
    assert rises_of(fell, [0, 9]).increase.tolist() == [41.0]
    assert rises_of(fell, [0, 9], RegisterRule(ignored=np.array([1]) * SECOND)).increase.tolist() == [1.0]
    back = [(0, 100.0), (1, 40.0), (2, 101.0)]
    assert rises_of(back, [0, 9]).increase.tolist() == [1.0]
    found = rises_of(back, [0, 9], RegisterRule(confirmed=np.array([1]) * SECOND))
    assert (found.increase.tolist(), found.resets.tolist()) == ([101.0], [1])


@pytest.mark.parametrize("fall_at", [-10, 0, 10])
def test_a_daily_register_begins_with_its_fall_near_midnight(fall_at):
    """In minutes from midnight: 5.0 at the evening's end, 1.0 an hour after midnight."""
    day = 24 * 60
    readings = [(day - 60, 4.0), (day - 20, 5.0)]
    readings += [(day + minute, 5.0 if minute < fall_at else 0.1) for minute in (-15, -5, 5, 15)]
    readings += [(day + 60, 1.0)]
    rule = RegisterRule(midnights=edges(0, day * 60, 2 * day * 60))
    found = rises_of(
        [(minute * 60, value) for minute, value in readings], [0, 2 * day * 60], rule, silence=5000
    )
    assert (found.increase.tolist(), found.resets.tolist()) == ([1.0 + 1.0], [0])


def test_a_daily_register_may_stand_higher_in_the_morning_than_in_the_evening():
    hours = [(20, 3.0), (22, 3.5), (24 + 9, 4.0), (24 + 10, 4.5)]
    rule = RegisterRule(midnights=edges(0, 86_400, 2 * 86_400))
    found = rises_of([(hour * 3600, value) for hour, value in hours], [0, 86_400, 172_800], rule, silence=60)
    assert (found.increase.tolist(), found.unallocated.tolist()) == ([0.5, 4.5], [0.0, 0.0])


# Silences ---------------------------------------------------------------------------------------------------------


def test_a_silence_inside_a_bucket_is_that_buckets_and_across_a_border_nobodys():
    readings = [(0, 1.0), (8, 5.0), (25, 9.0), (26, 10.0)]
    rises = rises_of(readings, [0, 10, 20, 30], silence=5)
    assert rises.increase.tolist() == [4.0, 0.0, 1.0]
    assert rises.unallocated.tolist() == [0.0, 0.0, 4.0]
    assert rises.spread is None


def test_a_rise_over_a_silence_may_be_spread_evenly_over_its_time():
    readings = [(0, 1.0), (8, 5.0), (24, 9.0), (26, 10.0), (46, 20.0)]
    rises = rises_of(readings, [5, 10, 20, 30], RegisterRule(spreads=True), silence=5)
    assert rises.increase.tolist() == pytest.approx([3 * 0.5 + 0.5, 2.5, 1.0 + 1.0 + 2.0])
    assert rises.spread.tolist() == pytest.approx([3 * 0.5 + 0.5, 2.5, 1.0 + 2.0])
    assert rises.unallocated.tolist() == [0.0, 0.0, 0.0]


def test_a_silence_beside_a_glitch_makes_the_whole_rise_unknown():
    readings = [(0, 100.0), (1, 101.0), (2, 0.0), (22, 103.0), (23, 104.0)]
    rises = rises_of(readings, [0, 10, 30], silence=5)
    assert (rises.increase.tolist(), rises.unallocated.tolist()) == ([1.0, 1.0], [0.0, 2.0])


# Replacements -----------------------------------------------------------------------------------------------------


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
    rises = rises_of(readings, [0, 3, 6], RegisterRule(replacements=[replacement]), silence=10)
    assert rises.increase.tolist() == increase
    assert rises.resets.sum() == 0


def test_a_new_meter_may_begin_higher_than_the_old_ended():
    readings = [(0, 100.0), (4, 5000.0), (5, 5001.0)]
    rule = RegisterRule(replacements=[RegisterChange(2 * SECOND, final=101.0)])
    assert rises_of(readings, [0, 6], rule, silence=10).increase.tolist() == [2.0]


def test_a_wider_tolerance_takes_a_deeper_dip_for_a_dip():
    rows = summarise_each(np.ones(4, np.int32), np.arange(4) * SECOND, np.array([100.0, 85.0, 86.0, 87.0]))
    assert steps_of(rows, RegisterRule(), has_newest=False).entry.sum() == 87.0
    assert steps_of(rows, RegisterRule(tolerance=0.2), has_newest=False).entry.sum() == 0.0
