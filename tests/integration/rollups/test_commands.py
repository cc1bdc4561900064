"""`joulebook verify` and `joulebook rollups` on a real TimescaleDB, run as people run them."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import connect
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds
from joulebook.telemetry.rollups.roller import Roller
from joulebook.telemetry.rollups.status import union_length
from joulebook.telemetry.writer import write_batch

from ..telemetry_database import addresses

CLOSED = datetime(2026, 1, 1, tzinfo=UTC)

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(rollup_database, joulebook: Command) -> Command:
    """The command line on the rollup tests' database."""
    return lambda *words: joulebook(*words, **addresses(rollup_database.urls))


@pytest.fixture
def series(rollup_database) -> int:
    """A series with two days of readings that are rolled up."""
    (number,) = rollup_database.series()
    seconds = np.arange(0, 48 * 3600, 60)
    time = to_microseconds(CLOSED) + seconds * MICROSECONDS
    write_batch(
        rollup_database.writer,
        Batch(np.full(len(time), number, np.int32), time, np.cos(seconds.astype(float))),
    )
    rollup_database.roller.close(CLOSED + timedelta(hours=48))
    rollup_database.roll_all()
    return number


def test_verify_prints_its_figures_and_succeeds_where_nothing_differs(command, series):
    done = command("verify", "--full")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:3] == [
        f"buckets compared   {48 * 73:,}",
        f"readings read      {48 * 60:,}",
        "buckets differing  0",
    ]
    sample = command("verify", "--sample", "10")
    assert sample.returncode == 0, sample.stderr
    assert "buckets differing  0" in sample.stdout


def test_verify_names_what_differs_and_fails_and_a_rebuild_mends_it(rollup_database, command, series):
    rollup_database.owner.execute(
        "UPDATE readings_1h SET max = 7 WHERE bucket >= %s", [CLOSED + timedelta(hours=24)]
    )
    before = command("verify", "--full", "--to", "2026-01-02")
    assert before.returncode == 0, before.stdout
    wrong = command("verify", "--full", "--from", "2026-01-01T12:00:00+01:00")
    assert wrong.returncode == 1
    assert "buckets differing  24" in wrong.stdout
    assert "readings_1h  device-1 power  2026-01-02T00:00Z: max is 7.0, should be " in wrong.stdout
    assert "and 14 more" in wrong.stdout
    assert "joulebook rollups rebuild" in wrong.stdout

    rebuilding = command("rollups", "rebuild", "--from", "2026-01-02", "--to", "2026-01-03")
    assert rebuilding.returncode == 0, rebuilding.stderr
    assert "2026-01-02T00:00Z to 2026-01-03T00:00Z is marked" in rebuilding.stderr
    assert "% of the time since" in command("rollups", "status").stdout
    rollup_database.roll_all()
    assert command("verify", "--full").returncode == 0
    assert rollup_database.differing() == []


def test_a_rebuild_of_everything_can_be_waited_for(rollup_database, command, series):
    rollup_database.owner.execute("DELETE FROM readings_1m")
    rollup_database.owner.execute("UPDATE readings_5m SET sum = 0")
    stop = threading.Event()

    def roll() -> None:
        with connect(rollup_database.urls["writer"]) as conn:
            roller = Roller(conn)
            while not stop.is_set():
                roller.roll()
                time.sleep(0.05)

    rolling = threading.Thread(target=roll)
    rolling.start()
    try:
        done = command("rollups", "rebuild", "--all", "--wait")
    finally:
        stop.set()
        rolling.join()
    assert done.returncode == 0, done.stderr
    assert done.stderr.rstrip().endswith("is rolled up")
    assert rollup_database.differing() == []


def test_status_tells_what_is_closed_what_waits_and_the_size_of_tables(rollup_database, command, series):
    done = command("rollups", "status")
    assert done.returncode == 0, done.stderr
    lines = dict(
        line.split(None, 1)
        for line in done.stdout.replace("closed until", "closed")
        .replace("rolled up ", "rolled ")
        .splitlines()
    )
    assert lines["closed"].startswith("2026-01-03T00:00Z, ")
    assert lines["rolled"] == "everything that is closed"
    assert lines["marks"] == "none"
    assert set(lines) >= {"readings", "readings_1m", "readings_5m", "readings_1h"}
    write_batch(
        rollup_database.writer,
        Batch(np.array([series], np.int32), np.array([to_microseconds(CLOSED) + 1]), np.array([1.0])),
    )
    marks = [line for line in command("rollups", "status").stdout.splitlines() if line.startswith("marks")]
    assert marks == ["marks          1 of 1 series, 60 seconds in 2026-01-01T00:00Z to 2026-01-01T00:01Z"]


def test_a_rebuild_that_names_no_time_or_a_wrong_one_is_refused(command, series):
    for words in (
        (),
        ("--all", "--from", "2026-01-01"),
        ("--from", "yesterday"),
        ("--from", "2026-01-02", "--to", "2026-01-01"),
    ):
        refused = command("rollups", "rebuild", *words)
        assert refused.returncode == 2, words
    nothing = command("rollups", "rebuild", "--from", "2030-01-01")
    assert nothing.returncode == 0
    assert "nothing to rebuild" in nothing.stderr


def test_covered_time_counts_what_ranges_share_once():
    assert union_length([(5, 10), (0, 3), (8, 12), (20, 19), (9, 10)]) == 3 + 7
    assert union_length([]) == 0
