"""Answers at any moment of any history equal what a person computes from the readings."""

from __future__ import annotations

import math
from datetime import timedelta
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulebook.telemetry.history.columns import Column, Wanted
from joulebook.telemetry.history.points import read_points
from joulebook.telemetry.kinds.kinds import KINDS
from joulebook.telemetry.kinds.settings import MetricSettings
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds

from .answer_truth import Bucket, told
from .test_roller import CLOSED, act, histories

SECONDS = {"raw": 0, "1s": 1, "5s": 5, "10s": 10, "15s": 15, "30s": 30, "1m": 60, "5m": 300, "15m": 900,
           "30m": 1800, "1h": 3600, "3h": 10_800, "6h": 21_600, "12h": 43_200, "1d": 86_400}  # fmt: skip
ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns")
# What is there and rolled up before a history begins, and until when time is closed then.
SOME = [(which, 97 * number + which, number % 7) for which in range(3) for number in range(90)]
MINUTES_CLOSED = 150
QUESTIONS = st.fixed_dictionaries(
    {
        "moment": st.integers(0, 8),
        "kind": st.sampled_from(["gauge", "counter", "state"]),
        "start": st.one_of(st.integers(-600, 9000), st.integers(-10, 10).map(lambda minute: 60 * minute)),
        "length": st.one_of(st.integers(1, 10_000), st.sampled_from([1800, 3600, 9000])),
        "max_points": st.sampled_from([2, 3, 10, 40]),
        "zone": st.sampled_from(ZONES),
        "silence": st.sampled_from([None, 30, 600]),
    }
)


def readings_of(conn, series: int) -> list[tuple[int, float]]:
    rows = conn.execute("SELECT time, value FROM readings WHERE series_id = %s ORDER BY time", [series])
    return [(to_microseconds(time), value) for time, value in rows]


def check(database, reader, series: int, question: dict[str, object]) -> None:
    """Ask and compare every figure of the answer."""
    start = CLOSED + timedelta(seconds=question["start"])
    end = start + timedelta(seconds=question["length"])
    silence = None if question["silence"] is None else timedelta(seconds=question["silence"])
    wanted = Wanted(series, MetricSettings("power", KINDS[question["kind"]], "W", "Power"), "W")
    points = read_points(
        reader, [wanted], start, end, ZoneInfo(question["zone"]),
        max_points=question["max_points"], silence=silence,
    )  # fmt: skip
    readings = readings_of(database.owner, series)
    begin, stop = to_microseconds(start), to_microseconds(end)
    [column] = points.columns
    if points.resolution == "raw":
        inside = [(at, value) for at, value in readings if begin <= at < stop]
        assert list(zip(points.time.tolist(), column.value.tolist(), strict=True)) == inside
        if question["kind"] != "counter":
            return  # of others a raw answer says no more
    limit = question["silence"] and question["silence"] * MICROSECONDS
    zone = ZoneInfo(question["zone"])
    expected = told(readings, begin, stop, seconds=SECONDS[points.resolution], zone=zone, limit=limit)
    seen = dict(zip(points.time.tolist(), range(len(points.time)), strict=True))
    assert expected.keys() <= seen.keys()
    for at, place in seen.items():
        bucket = expected.get(at)
        if points.resolution != "raw":
            check_readings(column, place, bucket)
            later = points.time.tolist()[place + 1 :][:1] or [stop]
            check_coverage(column, place, bucket, min(later[0], stop) - max(at, begin))
        if question["kind"] == "counter":
            check_rise(column, place, bucket)
        if question["kind"] == "state" and bucket:
            check_shares(column, place, bucket)


def check_readings(column: Column, place: int, bucket: Bucket | None) -> None:
    """Compare what every kind has."""
    assert column.count[place] == (bucket.count if bucket else 0)
    if bucket:
        assert same(column.mean[place], bucket.mean)
        assert (column.min[place], column.max[place]) == pytest.approx(
            (bucket.min, bucket.max), nan_ok=True, rel=0
        )


def check_coverage(column: Column, place: int, bucket: Bucket | None, length: int) -> None:
    """Compare the known share of the bucket's requested time of `length` microseconds."""
    covered = bucket.covered if bucket else 0.0
    assert same(column.coverage[place], covered * MICROSECONDS / length)


def check_rise(column: Column, place: int, bucket: Bucket | None) -> None:
    """Compare how far a counter rose; where nothing is told it rose by nothing."""
    assert same(column.more.increase[place], bucket.increase if bucket else 0.0)
    assert same(column.more.unallocated[place], bucket.unallocated if bucket else 0.0)
    assert column.more.resets[place] == (bucket.resets if bucket else 0)


def check_shares(column: Column, place: int, bucket: Bucket) -> None:
    """Compare the shares of a state's values."""
    shares = {state.value: state.share[place] for state in column.more.states}
    assert bucket.covered == 0 or same(sum(shares.values()), 1.0)
    mean_state = sum(value * share for value, share in shares.items()) if bucket.covered else 0.0
    assert same(mean_state * bucket.covered, bucket.on)


def same(found: float, expected: float) -> bool:
    return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-6) or (
        math.isnan(found) and math.isnan(expected)
    )


class Beginnings:
    """Three series to each history, as it finds them: made for 25 histories at once, for each alone is slow."""

    def __init__(self, database):
        self._database = database
        self._ready: list[list[int]] = []

    def next(self) -> list[int]:
        """Return series that no history had yet, and close time as far as it was when they were made."""
        if not self._ready:
            self._make()
        self._database.reopen(CLOSED + timedelta(minutes=MINUTES_CLOSED))
        return self._ready.pop()

    def _make(self) -> None:
        self._database.clear(CLOSED)
        series = self._database.series(3 * 25)
        of_all = [(place + which, *reading) for which, *reading in SOME for place in range(0, len(series), 3)]
        act(self._database, series, ("write", of_all))
        act(self._database, series, ("close", MINUTES_CLOSED))
        self._database.roll_all()
        self._ready = [series[place : place + 3] for place in range(0, len(series), 3)]


def hold_any_answer(database, reader, series, history, questions) -> None:
    """Let a history happen, asking each question at its moment and all of them at the end."""
    for moment, step in enumerate(steps := [*history, ("roll", None)]):
        act(database, series, step)
        for number, question in enumerate(questions):
            if question["moment"] == moment or moment == len(steps) - 1:
                check(database, reader, series[number % 3], question)


@pytest.fixture
def beginnings(rollup_database):
    """What histories begin with."""
    return Beginnings(rollup_database)


@pytest.fixture
def reader(rollup_urls):
    """A connection with the rights of the web's process."""
    with psycopg.connect(rollup_urls["reader"], autocommit=True) as conn:
        yield conn


@pytest.mark.timeout(900)
@given(histories(), st.lists(QUESTIONS, min_size=1, max_size=3))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_answer_at_every_moment_equals_the_readings(
    rollup_database, beginnings, reader, history, questions
):
    hold_any_answer(rollup_database, reader, beginnings.next(), history, questions)


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
@given(histories(), st.lists(QUESTIONS, min_size=1, max_size=3))
@settings(max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_drill_twenty_thousand_histories(rollup_database, beginnings, reader, history, questions):
    hold_any_answer(rollup_database, reader, beginnings.next(), history, questions)
