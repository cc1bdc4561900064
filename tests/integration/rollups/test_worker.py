"""The real `joulebook worker` rolls up; kill -9 of it under a storm of late readings leaves no bucket wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import connect
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds
from joulebook.telemetry.rollups.state import ROLLERS_LOCK
from joulebook.telemetry.rollups.verify import verify_all
from joulebook.telemetry.writer import Outcome, write_batch

from ..worker_process import Worker

CLOSED = datetime(2026, 1, 1, tzinfo=UTC)
MIDNIGHT = to_microseconds(CLOSED)
STORM_SECONDS = 6 * 3600

_HOLDER = """
SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = %(key)s AND granted AND database =
    (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def wait_until(true: object, *, seconds: float, what: str, worker: Worker) -> None:
    deadline = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"{what}\n{worker.log.read_text()[-2000:]}"
        time.sleep(0.1)


@pytest.fixture
def workers(rollup_database, transactional_db, tmp_path) -> Iterator[list[Worker]]:
    running: list[Worker] = []
    yield running
    for worker in running:
        worker.kill()


def test_the_worker_rolls_up_what_is_stored_and_what_comes_late(rollup_database, workers, tmp_path):
    first, second = rollup_database.series(2)
    seconds = np.arange(0, 7200, 5)
    for each in (first, second):
        write_batch(
            rollup_database.writer,
            Batch(np.full(len(seconds), each, np.int32), MIDNIGHT + seconds * MICROSECONDS, np.sin(seconds)),
        )
    worker = Worker(rollup_database.urls, tmp_path / "worker.log")
    workers.append(worker)
    recently = datetime.now(UTC) - timedelta(minutes=5)
    wait_until(
        lambda: rollup_database.closed_until() > to_microseconds(recently) and rollup_database.marks() == 0,
        seconds=90, what="time was not closed and rolled up", worker=worker,
    )  # fmt: skip
    assert rollup_database.differing() == []
    late = Batch(np.array([first], np.int32), np.array([MIDNIGHT + 3601 * MICROSECONDS]), np.array([99.0]))
    write_batch(rollup_database.writer, late)
    wait_until(lambda: rollup_database.marks() == 0, seconds=30, what="the mark stayed", worker=worker)
    assert rollup_database.differing() == []
    row = rollup_database.owner.execute("SELECT max(max) FROM readings_1h").fetchone()
    assert row == (99.0,)
    worker.stop()
    workers.clear()


class Storm:
    """Two clients that write late readings of any age, some of them in the place of others."""

    def __init__(self, url: str, series: list[int]) -> None:
        self.url, self.series = url, series
        self.stored = self.replaced = 0
        self.failed: list[BaseException] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(number,)) for number in range(2)]

    def _client(self, number: int) -> None:
        random = np.random.default_rng(number)
        try:
            with connect(self.url) as conn:
                while not self._stop.wait(0.03):
                    time_ = MIDNIGHT + random.integers(0, STORM_SECONDS, 40) * MICROSECONDS
                    batch = Batch(
                        random.choice(self.series, 40).astype(np.int32), time_, random.normal(size=40)
                    )
                    outcome = write_batch(conn, batch, replace=bool(random.integers(2)))
                    self.stored += int((outcome == Outcome.STORED).sum())
                    self.replaced += int((outcome == Outcome.REPLACED).sum())
        except BaseException as exc:  # noqa: BLE001 - raised again below
            self.failed.append(exc)

    def __enter__(self) -> Storm:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


def kill_while_one_rolls(victims: list[Worker], watch: psycopg.Connection, *, seconds: float) -> bool:
    """Kill workers when a roller is at work; tell whether that was a pass of theirs."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        holder = watch.execute(_HOLDER, {"key": ROLLERS_LOCK}).fetchone()
        if holder is not None:
            for worker in victims:
                worker.kill()
            # A backend notices that its client is gone when it next has something to say to it.
            for _ in range(20):
                row = watch.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", holder).fetchone()
                if row is None:
                    return True
                time.sleep(0.02)
            return False
    for worker in victims:
        worker.kill()
    return False


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [pytest.param(5), pytest.param(50, marks=pytest.mark.slow)])
def test_kill_nine_of_a_roller_under_a_storm_of_late_readings_leaves_no_bucket_wrong(
    rollup_database, workers, tmp_path, kills
):
    series = rollup_database.series(20)
    rollup_database.roller.close(CLOSED + timedelta(seconds=STORM_SECONDS))
    rollup_database.roll_all()
    workers += [Worker(rollup_database.urls, tmp_path / f"worker-{number}.log") for number in range(2)]
    mid_pass = 0
    with Storm(rollup_database.urls["writer"], series) as storm:
        with psycopg.connect(rollup_database.urls["superuser"], autocommit=True) as watch:
            for number in range(kills):
                # Of one alone it is luck whether the pass was its own; the other goes on then.
                victims = [workers[number // 2 % 2]] if number % 2 else workers
                mid_pass += kill_while_one_rolls(victims, watch, seconds=20)
                for worker in victims:
                    worker.start()
    assert storm.failed == []
    wait_until(lambda: rollup_database.marks() == 0, seconds=120, what="marks stayed", worker=workers[0])
    for worker in workers:
        worker.kill()
    rollup_database.roll_all()
    differing = rollup_database.differing()
    with connect(rollup_database.urls["reader"]) as reading:
        found = verify_all(reading, 0, 1 << 60)
    print(  # noqa: T201 - a drill reports its figures
        f"\nkill -9 of a roller: {kills} times, {mid_pass} of them in the middle of a pass, "
        f"{storm.stored} late readings stored and {storm.replaced} replaced; "
        f"differing buckets: {len(differing)} of {found.buckets}"
    )
    assert (differing, found.differing) == ([], 0)
    assert storm.stored > 100
    assert mid_pass > 0
