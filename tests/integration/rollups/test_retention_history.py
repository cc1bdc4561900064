"""Curves of time whose readings are dropped come from the rollups that are kept, with nothing lost on the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import connect
from joulebook.telemetry.history.columns import Wanted
from joulebook.telemetry.history.points import Points, read_points
from joulebook.telemetry.kinds.kinds import KINDS
from joulebook.telemetry.kinds.settings import MetricSettings
from joulebook.telemetry.readings import MICROSECONDS, from_microseconds, to_microseconds
from joulebook.telemetry.retention import Retention
from joulebook.telemetry.writer import write_batch

CLOSED = datetime(2026, 1, 1, tzinfo=UTC)
NOW = CLOSED + timedelta(days=60)
STEP = 30
VALUES = (np.arange(0, 60 * 86400, STEP) // STEP) % 977 + 0.25


@pytest.fixture
def series(rollup_database) -> int:
    """A series with two readings a minute for 60 days, rolled up."""
    (number,) = rollup_database.series()
    for day in range(60):
        seconds = np.arange(day * 86400, (day + 1) * 86400, STEP)
        rows = Batch(
            np.full(len(seconds), number, np.int32),
            to_microseconds(CLOSED) + seconds * MICROSECONDS,
            VALUES[seconds // STEP].astype(np.float64),
        )
        write_batch(rollup_database.writer, rows)
    rollup_database.roller.close(NOW)
    rollup_database.roll_all()
    return number


@pytest.fixture
def ask(rollup_database, series):
    """Ask for points between two instants, as the reader."""

    def points(start: datetime, end: datetime, *, max_points: int = 750, kind: str = "gauge") -> Points:
        with connect(rollup_database.urls["reader"]) as conn:
            wanted = [Wanted(series, MetricSettings("power", KINDS[kind], "W", "Power"), "W")]
            return read_points(conn, wanted, start, end, ZoneInfo("UTC"), max_points=max_points)

    return points


def dropped(rollup_database, **days: int) -> dict[str, datetime]:
    """Apply limits and return from when on each table is kept."""
    tables = dict.fromkeys(("readings", "readings_1m", "readings_5m", "readings_1h"))
    keep = tables | {table: timedelta(days=number) for table, number in days.items()}
    with connect(rollup_database.urls["writer"]) as conn:
        retention = Retention(conn, keep)
        moved = retention.move(NOW)
        assert retention.drop(patience=timedelta(0))
    return {table: from_microseconds(instant) for table, instant in moved.items()}


def same(points: Points, before: Points) -> None:
    (after,), (expected,) = points.columns, before.columns
    assert points.time.tolist() == before.time.tolist()
    for name in ("count", "min", "max"):
        assert getattr(after, name).tolist() == getattr(expected, name).tolist()
    np.testing.assert_allclose(after.mean, expected.mean, rtol=1e-12)
    if expected.more is not None:
        np.testing.assert_allclose(after.more.increase, expected.more.increase, rtol=1e-12)
        assert after.more.resets.tolist() == expected.more.resets.tolist()


def test_ten_minutes_of_old_time_come_by_the_minute_and_whole(rollup_database, ask, series):
    begin = CLOSED + timedelta(days=3, hours=5, seconds=17)
    end = begin + timedelta(minutes=10)
    assert ask(begin, end).resolution == "raw"
    dropped(rollup_database, readings=20)
    found = ask(begin, end)
    assert (found.resolution, found.source) == ("1m", "readings_1m")
    (column,) = found.columns
    assert column.count.tolist() == [2] * 11, "the minutes at both ends are whole"
    first = (3 * 86400 + 5 * 3600) // STEP
    assert column.max.tolist() == [max(VALUES[first + 2 * n : first + 2 * n + 2]) for n in range(11)]
    recent = ask(NOW - timedelta(minutes=10), NOW)
    assert recent.resolution == "raw"


def test_where_minutes_are_dropped_too_the_next_width_that_is_kept_answers(rollup_database, ask, series):
    begin = CLOSED + timedelta(days=3, hours=5, seconds=17)
    retained_from = dropped(rollup_database, readings=5, readings_1m=10)
    assert begin < retained_from["readings_1m"]
    found = ask(begin, begin + timedelta(minutes=10))
    assert (found.resolution, found.source) == ("5m", "readings_5m")
    assert found.columns[0].count.tolist() == [10, 10, 10]


@pytest.mark.parametrize("kind", ["gauge", "counter"])
def test_whole_buckets_are_the_same_before_and_after(rollup_database, ask, series, kind):
    ends = [CLOSED + timedelta(hours=hours) for hours in (7, 24, 24 * 30, 24 * 60)]
    before = [ask(CLOSED, end, kind=kind) for end in ends]
    dropped(rollup_database, readings=5)
    for end, expected in zip(ends, before, strict=True):
        same(ask(CLOSED, end, kind=kind), expected)


def test_a_range_across_the_border_has_no_hole(rollup_database, ask, series):
    border = dropped(rollup_database, readings=20)["readings"]
    found = ask(border - timedelta(minutes=30), border + timedelta(minutes=30))
    assert found.resolution == "1m"
    assert found.columns[0].count.tolist() == [2] * 60
