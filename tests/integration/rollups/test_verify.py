"""Verification on a real TimescaleDB: it finds every kind of wrong bucket, and blames no right one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import numpy as np
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import connect
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds
from joulebook.telemetry.rollups.verify import MOST_NAMED, verify_all, verify_sample
from joulebook.telemetry.writer import write_batch

CLOSED = datetime(2026, 1, 1, tzinfo=UTC)
MIDNIGHT = to_microseconds(CLOSED)
HOUR = 3600 * MICROSECONDS
ALWAYS = (0, 1 << 60)


def fill(database, *, hours: int, series: int = 2) -> list[int]:
    """Write readings of odd values each half minute, close their time and roll it up."""
    ids = database.series(series)
    seconds = np.arange(0, hours * 3600, 30)
    for each in ids:
        value = np.sin(seconds * each) * 1000 / 7
        write_batch(
            database.writer,
            Batch(np.full(len(seconds), each, np.int32), MIDNIGHT + seconds * MICROSECONDS, value),
        )
    database.roller.close(CLOSED + timedelta(hours=hours))
    database.roll_all()
    return ids


@pytest.fixture
def reading(rollup_database):
    with connect(rollup_database.urls["reader"]) as conn:
        yield conn


def test_rollups_that_are_right_do_not_differ_and_each_bucket_is_compared_once(rollup_database, reading):
    fill(rollup_database, hours=50)
    found = verify_all(reading, *ALWAYS)
    assert (found.differing, found.first) == (0, [])
    assert found.buckets == 2 * 50 * (60 + 12 + 1)
    assert found.readings == 2 * 50 * 120


def test_every_table_and_column_that_is_wrong_is_found_and_named(rollup_database, reading):
    first, _ = fill(rollup_database, hours=5)
    at = CLOSED + timedelta(hours=2)
    changes = {
        "count": "count + 1", "sum": "sum + 0.0001", "min": "min - 1e-9", "max": "max + 1e-9", "first": "first + 1e-9",
        "last": "last - 1e-9", "first_at": "first_at + interval '1 microsecond'", "last_at": "last_at - interval '1 microsecond'",
        "increase": "increase + 0.001", "first_peak": "first_peak + 1e-9", "last_peak": "last_peak + 1e-9", "resets": "resets + 1",
        "integral": "integral + 0.01", "longest_gap": "longest_gap + 1", "rises": "rises + 0.01",
        "integral_in": "integral_in + 0.01", "known": "known + 1", "known_integral": "known_integral + 0.01",
        "known_in": "known_in + 0.01", "first_usual": "first_usual + 1", "last_usual": "last_usual + 1",
        "pending": "pending + 1",
    }  # fmt: skip
    for table in ("readings_1m", "readings_5m", "readings_1h"):
        for column, change in changes.items():
            with rollup_database.owner.transaction(force_rollback=False):
                rollup_database.owner.execute(
                    f"CREATE TEMP TABLE saved AS SELECT * FROM {table} WHERE series_id = %s AND bucket = %s",
                    [first, at],
                )
                rollup_database.owner.execute(
                    f"UPDATE {table} SET {column} = {change} WHERE series_id = %s AND bucket = %s",
                    [first, at],
                )
            found = verify_all(reading, MIDNIGHT + 2 * HOUR, MIDNIGHT + 3 * HOUR)
            assert found.differing == 1, (table, column)
            (named,) = found.first
            assert (named.table, named.series_id, named.bucket) == (table, first, at)
            assert named.what.startswith(f"{column} is ")
            rollup_database.owner.execute(
                f"DELETE FROM {table} WHERE series_id = %s AND bucket = %s", [first, at]
            )
            rollup_database.owner.execute(f"INSERT INTO {table} SELECT * FROM saved")
            rollup_database.owner.execute("DROP TABLE saved")
    assert verify_all(reading, *ALWAYS).differing == 0


def test_rows_that_are_missing_or_too_many_are_found(rollup_database, reading):
    first, second = fill(rollup_database, hours=3)
    gone = rollup_database.owner.execute("DELETE FROM readings_5m WHERE series_id = %s", [first]).rowcount
    found = verify_all(reading, *ALWAYS)
    assert found.differing == gone == 36
    assert {(named.table, named.what) for named in found.first} == {("readings_5m", "is missing")}
    # Unmarked, behind the rollups' back.
    rollup_database.owner.execute(
        "DELETE FROM readings WHERE series_id = %s AND time >= %s", [second, CLOSED + timedelta(hours=2)]
    )
    found = verify_all(reading, *ALWAYS)
    assert found.differing == gone + 60 + 12 + 1
    assert {(named.series_id, named.what) for named in found.first} == {(second, "has no readings")}
    assert len(found.first) == MOST_NAMED


def test_a_row_of_time_that_is_not_closed_is_found(rollup_database, reading):
    fill(rollup_database, hours=3)
    rollup_database.owner.execute(
        "UPDATE rollup_state SET closed_until = %s", [CLOSED + timedelta(hours=2, minutes=58)]
    )
    found = verify_all(reading, *ALWAYS)
    assert {(named.table, named.what) for named in found.first} == {
        (table, "is stored before its time is closed")
        for table in ("readings_1m", "readings_5m", "readings_1h")
    }
    assert found.differing == 2 * (2 + 1 + 1)


def test_what_is_marked_is_not_compared_and_all_around_it_is(rollup_database, reading):
    first, _ = fill(rollup_database, hours=3)
    before = verify_all(reading, *ALWAYS).buckets
    late = Batch(np.array([first], np.int32), np.array([MIDNIGHT + HOUR + 61_500_000]), np.array([1e6]))
    write_batch(rollup_database.writer, late)
    found = verify_all(reading, *ALWAYS)
    assert (found.differing, found.buckets) == (0, before - 3)
    rollup_database.owner.execute("DELETE FROM rollup_dirty")
    assert verify_all(reading, *ALWAYS).differing == 3


def test_readings_that_are_no_longer_kept_are_not_compared(rollup_database, reading):
    fill(rollup_database, hours=4)
    rollup_database.owner.execute(
        "UPDATE rollup_state SET readings_kept_from = %s", [CLOSED + timedelta(hours=3)]
    )
    rollup_database.owner.execute("DELETE FROM readings WHERE time < %s", [CLOSED + timedelta(hours=3)])
    found = verify_all(reading, *ALWAYS)
    assert (found.differing, found.buckets) == (0, 2 * 73)


def test_a_sample_is_spread_over_time_and_finds_what_is_wrong_everywhere(rollup_database, reading):
    fill(rollup_database, hours=14 * 24, series=1)
    found = verify_sample(reading, *ALWAYS, hours=28, random=Random(5))
    assert found.differing == 0
    assert 20 * 73 <= found.buckets <= 28 * 73
    rollup_database.owner.execute("UPDATE readings_1h SET count = count + 1")
    found = verify_sample(reading, *ALWAYS, hours=28, random=Random(5))
    assert 20 <= found.differing <= 28
    days = {named.bucket.date() for named in found.first}
    assert len(days) == 5, "two hours of each day"


def test_nothing_at_all_is_nothing_wrong(rollup_database, reading):
    assert verify_all(reading, *ALWAYS).buckets == 0
    assert verify_sample(reading, *ALWAYS, hours=10, random=Random(5)).buckets == 0
