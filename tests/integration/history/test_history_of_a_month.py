"""Thirty days at one reading a second, asked for in the ranges that people look at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import connect
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import write_batch

DEVICE = "device_of_a_month"
END = datetime(2026, 3, 31, tzinfo=UTC)
SECONDS = 30 * 86_400
START = END - timedelta(seconds=SECONDS)


@pytest.fixture(scope="module")
def power(telemetry):
    """The readings: one a second for 30 days, as the array that answers are compared with."""
    value = np.random.default_rng(11).normal(500, 200, SECONDS).round(1)
    value[1_234_567] = 25_000.0
    time = int(START.timestamp()) * 1_000_000 + np.arange(SECONDS, dtype=np.int64) * 1_000_000
    with connect(telemetry["writer"]) as conn:
        series = ensure_series(conn, [(DEVICE, "power")])[DEVICE, "power"]
        for first in range(0, SECONDS, 100_000):
            rows = slice(first, first + 100_000)
            length = len(time[rows])
            batch = Batch(np.full(length, series, np.int32), time[rows], value[rows])
            write_batch(conn, batch)
    return value


@pytest.fixture
def ask(power, alice, client_of, transaction_on_both):
    from joulebook.web.devices.operations import create_device

    create_device(DEVICE, owner=alice, time_zone="Europe/Berlin")
    client = client_of(alice)

    def get(**query):
        query = {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in query.items()
        }
        answer = client.get(f"/api/history/{DEVICE}", query)
        assert answer.status_code == 200, answer.content
        return answer.json()

    return get


@pytest.mark.parametrize(
    ("length", "resolution", "seconds", "points"),
    [
        (timedelta(minutes=10), "raw", 1, 600),
        (timedelta(hours=1), "5s", 5, 720),
        (timedelta(hours=24), "5m", 300, 288),
        (timedelta(days=7), "15m", 900, 672),
        (timedelta(days=30), "1h", 3600, 720),
    ],
)
def test_each_range_comes_in_its_resolution_and_equals_the_readings(
    ask, power, length, resolution, seconds, points
):
    answer = ask(start=END - length, end=END)
    assert (answer["resolution"], answer["points"], answer["source"]) == (resolution, points, "readings")
    begin = int((END - length).timestamp())
    assert answer["time"] == [begin + seconds * number for number in range(points)]
    [series] = answer["series"]
    assert (series["metric"], series["unit"], series["kind"]) == ("power", "W", "gauge")
    expected = power[-int(length.total_seconds()) :].reshape(points, seconds)
    if resolution == "raw":
        assert series["value"] == expected[:, 0].tolist()
        return
    assert series["count"] == [seconds] * points
    assert series["min"] == expected.min(axis=1).tolist()
    assert series["max"] == expected.max(axis=1).tolist()
    np.testing.assert_allclose(series["mean"], expected.mean(axis=1), rtol=1e-12)


def test_a_spike_of_one_second_is_seen_in_the_month(ask):
    [series] = ask(start=START, end=END)["series"]
    assert max(series["max"]) == 25_000.0


def test_a_range_between_buckets_counts_only_its_own_readings(ask, power):
    start = START + timedelta(seconds=100_123)
    answer = ask(start=start, end=start + timedelta(hours=20))
    [series] = answer["series"]
    assert sum(series["count"]) == 20 * 3600
    assert answer["time"][0] == int(start.timestamp()) // 300 * 300
    total = sum(mean * count for mean, count in zip(series["mean"], series["count"], strict=True))
    assert total == pytest.approx(power[100_123 : 100_123 + 72_000].sum(), rel=1e-12)


def test_more_points_are_finer_and_fewer_coarser(ask):
    window = {"start": END - timedelta(hours=24), "end": END}
    assert ask(**window, max_points=5000)["resolution"] == "30s"
    assert ask(**window, max_points=100)["resolution"] == "15m"
    assert ask(**window, max_points=10)["resolution"] == "3h"
    assert ask(start=START, end=END, max_points=10)["points"] <= 10


def test_buckets_stay_where_they_are_when_the_range_moves(ask):
    axes = []
    for shift in (0, 1, 77, 299):
        start = START + timedelta(days=3, seconds=shift)
        axes.append(set(ask(start=start, end=start + timedelta(hours=24))["time"][1:-1]))
    assert len(set.intersection(*axes)) == 286


def test_days_begin_at_the_asked_zones_midnight_and_one_is_short_when_clocks_change(ask):
    start, end = START + timedelta(days=7), END
    berlin = ask(start=start, end=end, max_points=30, tz="Europe/Berlin")
    assert berlin["resolution"] == "1d"
    counts = dict(zip(berlin["time"], berlin["series"][0]["count"], strict=True))
    spring = int(datetime(2026, 3, 28, 23, tzinfo=UTC).timestamp())
    assert counts[spring] == 23 * 3600
    kathmandu = ask(start=start, end=end, max_points=30, tz="Asia/Kathmandu")
    assert all((instant + 20_700) % 86_400 == 0 for instant in kathmandu["time"])
    assert sum(kathmandu["series"][0]["count"]) == sum(counts.values()) == 23 * 86_400


def test_all_begins_with_the_first_reading(ask):
    answer = ask(range="all")
    assert sum(answer["series"][0]["count"]) == SECONDS
    assert datetime.fromisoformat(answer["start"]) == START
