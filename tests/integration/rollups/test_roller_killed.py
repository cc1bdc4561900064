"""kill -9 of a roller between each pair of its statements: the next pass puts everything right."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds
from joulebook.telemetry.rollups.verify import verify_all
from joulebook.telemetry.writer import write_batch

CLOSED = datetime(2026, 1, 1, tzinfo=UTC)
MIDNIGHT = to_microseconds(CLOSED)
POINTS = (
    "writers locked out", "closed", "locked", "marks taken", "readings_1m written", "readings_5m written",
    "readings_1h written", "put right",
)  # fmt: skip


def batch(series: int, seconds: np.ndarray, value: float) -> Batch:
    """Readings of one series at these seconds after midnight."""
    time_ = MIDNIGHT + seconds.astype(np.int64) * MICROSECONDS
    return Batch(np.full(len(seconds), series, np.int32), time_, value + np.sin(seconds))


def kill_at(url: str, point: str, until: datetime) -> None:
    """Run a roller until it stops at the point, then end it at once."""
    program = [
        sys.executable,
        str(Path(__file__).with_name("stopping_roller.py")),
        url,
        point,
        until.isoformat(),
    ]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "stopped\n", point
        process.kill()


@pytest.mark.parametrize(
    "late",
    [pytest.param(True, id="late readings"), pytest.param(False, id="a window", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("point", POINTS)
def test_a_roller_that_is_killed_between_two_statements_leaves_no_bucket_wrong(rollup_database, point, late):
    database = rollup_database
    series, other = database.series(2)
    write_batch(database.writer, batch(series, np.arange(0, 7200, 20), 5.0))
    write_batch(database.writer, batch(other, np.arange(0, 7200, 7), -3.0))
    until = CLOSED + timedelta(minutes=61)
    if late:
        database.roller.close(until)
        database.roll_all()
        write_batch(database.writer, batch(series, np.array([3, 66, 3599, 3601]), 900.0))
        write_batch(database.writer, batch(series, np.array([20, 40]), 1000.0), replace=True)
        until = CLOSED + timedelta(minutes=119)
    kill_at(database.urls["writer"], point, until)
    # What is written after the death and before the next pass counts as well.
    write_batch(database.writer, batch(other, np.array([2, 3600 - 1]), 77.0))

    with database.owner.cursor() as cursor:
        deadline = time.monotonic() + 60
        while cursor.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted").fetchone():
            assert time.monotonic() < deadline, "the dead roller's locks stay"
            time.sleep(0.02)
    assert verify_all(database.owner, 0, 1 << 60).differing == 0, (
        "what is closed and not marked is right at once"
    )
    database.roller.close(CLOSED + timedelta(minutes=119))
    database.roll_all()
    assert database.marks() == 0
    assert database.differing() == []
    assert verify_all(database.owner, 0, 1 << 60).buckets > 250
