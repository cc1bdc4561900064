"""States: shares of known time, changes, words of values, texts and flags, and since when a state holds."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulebook.telemetry.history.columns import Wanted
from joulebook.telemetry.history.points import read_points
from joulebook.telemetry.history.states import read_current_state
from joulebook.telemetry.kinds.kinds import STATE
from joulebook.telemetry.kinds.settings import (
    LISTS_OF_TEXTS,
    NUMBERS,
    TEXTS,
    TRUTH_VALUES,
    MetricSettings,
    StateWord,
)
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds
from joulebook.telemetry.texts import ensure_texts, flags_text
from joulebook.telemetry.writer import write_batch

from .answer_truth import bucket_of, pieces
from .test_answers import SECONDS, ZONES
from .test_roller import CLOSED, MIDNIGHT, batch

LIMIT = timedelta(minutes=20)


@pytest.fixture
def reader(rollup_urls):
    """A connection with the rights of the web's process."""
    with psycopg.connect(rollup_urls["reader"], autocommit=True) as conn:
        yield conn


def state(series: int, **more: object) -> Wanted:
    return Wanted(series, MetricSettings("mode", STATE, "", "Mode", silence_limit=LIMIT, **more), "")


def closed(database, minutes: int) -> None:
    database.roller.close(CLOSED + timedelta(minutes=minutes))
    database.roll_all()


def two_hours(reader, wanted: Wanted, **more: object):
    [column] = read_points(
        reader, [wanted], CLOSED, CLOSED + timedelta(hours=2), ZoneInfo("UTC"), **{"max_points": 2, **more}
    ).columns
    return column


READINGS = st.dictionaries(
    st.one_of(st.integers(0, 60).map(lambda step: 300 * step), st.integers(0, 18_000)),
    st.sampled_from([0.0, 0.0, 1.0, 1.0, 2.5]),
    min_size=1,
    max_size=60,
)
QUESTIONS = st.fixed_dictionaries(
    {
        "start": st.one_of(st.integers(-600, 18_000), st.integers(-2, 60).map(lambda step: 300 * step)),
        "length": st.one_of(st.integers(1, 20_000), st.sampled_from([3600, 10_800])),
        "max_points": st.sampled_from([2, 3, 10, 40]),
        "zone": st.sampled_from(ZONES),
    }
)


@pytest.mark.timeout(900)
@given(READINGS, st.integers(0, 300), st.lists(QUESTIONS, min_size=1, max_size=4))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_shares_and_changes_of_any_buckets_are_those_of_their_readings(
    rollup_database, reader, readings, minutes, questions
):
    [series] = rollup_database.series()
    rollup_database.reopen(CLOSED + timedelta(minutes=minutes))
    write_batch(rollup_database.writer, batch(series, *sorted(readings.items())))
    rollup_database.roll_all()
    stored = [(MIDNIGHT + second * MICROSECONDS, value) for second, value in sorted(readings.items())]
    newest = read_current_state(reader, series)
    run = [at for at, value in stored if value == stored[-1][1]]
    run = [at for at in run if all(value == stored[-1][1] for later, value in stored if later >= at)]
    assert (newest.value, to_microseconds(newest.since)) == (stored[-1][1], run[0])
    for asked in questions:
        start = CLOSED + timedelta(seconds=asked["start"])
        end = start + timedelta(seconds=asked["length"])
        zone = ZoneInfo(asked["zone"])
        points = read_points(reader, [state(series)], start, end, zone, max_points=asked["max_points"])
        if points.resolution == "raw":
            continue
        begin, stop = to_microseconds(start), to_microseconds(end)
        seconds = SECONDS[points.resolution]
        time, changes = defaultdict(lambda: defaultdict(int)), defaultdict(int)
        for (earlier, before), (at, value) in pairwise(stored):
            if value != before and begin <= at < stop:
                changes[bucket_of(at, seconds, zone)] += 1
            if at - earlier <= LIMIT // timedelta(microseconds=1):
                for since, until in pieces(max(earlier, begin), min(at, stop), seconds):
                    time[bucket_of(since, seconds, zone)][before] += until - since
        [column] = points.columns
        for place, bucket in enumerate(points.time.tolist()):
            known = sum(time[bucket].values())
            assert column.more.changes[place] == changes[bucket]
            for each in column.more.states:
                share = time[bucket][each.value] / known if known else math.nan
                assert math.isclose(each.share[place], share, abs_tol=1e-9) or (known == 0)
                assert known or math.isnan(each.share[place])


def test_the_owners_words_come_before_on_and_off_and_these_before_numbers(rollup_database, reader):
    [series] = rollup_database.series()
    write_batch(rollup_database.writer, batch(series, *((60 * minute, minute % 2) for minute in range(121))))
    words = (StateWord(1.0, "heating", "#d43d3d"),)
    expected = {
        (NUMBERS, ()): ["0", "1"],
        (TRUTH_VALUES, ()): ["off", "on"],
        (TRUTH_VALUES, words): ["off", "heating"],
        (NUMBERS, words): ["0", "heating"],
    }
    for (form, said), shown in expected.items():
        answer = two_hours(reader, state(series, form=form, words=said)).more.answer()
        assert [each["word"] for each in answer["states"]] == shown
        assert [each["share"].tolist() for each in answer["states"]] == [[0.5, 0.5], [0.5, 0.5]]
        assert answer["changes"].tolist() == [59, 60]
    raw = two_hours(reader, state(series, words=words), max_points=500).more.answer()
    assert raw["states"] == [
        {"value": 0.0, "word": "0", "colour": ""},
        {"value": 1.0, "word": "heating", "colour": "#d43d3d"},
    ]


def test_texts_have_their_shares_by_their_words(rollup_database, reader):
    [series] = rollup_database.series()
    codes = ensure_texts(rollup_database.writer, {series: ["resting", "charging"]}, most=200)[series]
    rows = [(60 * minute, codes["charging" if 30 <= minute < 45 else "resting"]) for minute in range(121)]
    write_batch(rollup_database.writer, batch(series, *rows))
    closed(rollup_database, 120)
    wanted = state(series, form=TEXTS, words=(StateWord(0.0, "", "#2e9e5b", text="charging"),))
    column = two_hours(reader, wanted)
    shares = {
        (each["word"], each["colour"]): each["share"].tolist() for each in column.more.answer()["states"]
    }
    assert shares == {("resting", ""): [0.75, 1.0], ("charging", "#2e9e5b"): [0.25, 0.0]}
    assert column.more.changes.tolist() == [2, 0]
    assert [name for name, _ in column.more.table()] == ["share of resting", "share of charging", "changes"]
    raw = two_hours(reader, wanted, max_points=500).more.answer()["states"]
    assert {each["value"]: each["word"] for each in raw} == {code: text for text, code in codes.items()}


def test_each_flag_has_a_share_of_its_own_and_several_may_hold_at_once(rollup_database, reader):
    [series] = rollup_database.series()
    lists = [flags_text(flags) for flags in ([], ["fan", "hot"], ["hot"])]
    codes = ensure_texts(rollup_database.writer, {series: lists}, most=200)[series]
    rows = [(60 * minute, codes[lists[minute // 10 % 3]]) for minute in range(121)]
    write_batch(rollup_database.writer, batch(series, *rows))
    closed(rollup_database, 120)
    column = two_hours(reader, state(series, form=LISTS_OF_TEXTS))
    shares = {each["word"]: each["share"].tolist() for each in column.more.answer()["states"]}
    assert shares == {"fan": [pytest.approx(1 / 3)] * 2, "hot": [pytest.approx(2 / 3)] * 2}
    assert all(each["value"] is None for each in column.more.answer()["states"])
    assert column.more.changes.tolist() == [5, 6]
    raw = two_hours(reader, state(series, form=LISTS_OF_TEXTS), max_points=500).more.answer()["states"]
    assert [each["word"] for each in raw] == ["none", "fan, hot", "hot"]


def test_since_when_a_state_holds_is_found_years_back(rollup_database, reader):
    quiet, [series] = 3 * 365 * 86_400, rollup_database.series()
    write_batch(rollup_database.writer, batch(series, (-quiet - 60, 1.0), (-quiet, 2.0)))
    days = np.arange(-quiet, 0, 6 * 3600)
    for part in np.array_split(days, 10):
        write_batch(rollup_database.writer, batch(series, *((float(second), 2.0) for second in part)))
    found = read_current_state(reader, series)
    assert (found.value, found.since) == (2.0, CLOSED - timedelta(seconds=quiet))
    assert read_current_state(reader, rollup_database.series()[0]) is None
