"""Group commit when the database restarts, hangs, or is slower than the queue is long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import numpy as np
import psycopg
import pytest

from joulebook.ingest.commit import series_ids
from joulebook.ingest.commit.columns import Readings
from joulebook.ingest.commit.group_commit import (
    NOT_WRITTEN,
    OVER_CAP,
    GroupCommitter,
    Outcomes,
    QueueFull,
)
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import Outcome

from ..drills.faults import stopped, writing_backends

MINUTE = 60_000_000


@pytest.fixture
def readings_of(device_id: str) -> Callable[[int, int], Readings]:
    """Make readings of a series of this test's own: `readings_of(start, rows)`."""

    def make(start: int, rows: int) -> Readings:
        numbers = range(start, start + rows)
        return Readings(
            keys=[(device_id, "power")],
            key=[0] * rows,
            time=[1_760_000_000_000_000 + MINUTE * number for number in numbers],
            value=[float(number) for number in numbers],
            packet=[0] * rows,
        )

    return make


class Committer(GroupCommitter):
    """A committer that returns the outcomes also where all readings are new."""

    async def submit(self, readings: Readings, **options: object) -> Outcomes:
        outcomes = await super().submit(readings, **options)
        return np.zeros(len(readings.time), np.int8) if outcomes is None else outcomes


@asynccontextmanager
async def committing(telemetry: dict[str, str], **options: float) -> AsyncIterator[Committer]:
    settings = {"queue_readings": 1000, "device_metrics": 10, "timeout": 1.0, **options}
    committer = Committer(telemetry["writer"], **settings)
    try:
        yield committer
    finally:
        await committer.close()


@pytest.fixture
def new_backend(telemetry: dict[str, str]) -> Iterator[Callable[[], int]]:
    """Name the one backend that was not there when the test began."""
    before = writing_backends(telemetry)

    def find() -> int:
        (pid,) = writing_backends(telemetry) - before
        return pid

    return find


def test_the_first_batch_after_the_database_closed_an_idle_connection_is_stored(
    telemetry, readings_of, new_backend
):
    async def run() -> list[Outcome]:
        async with committing(telemetry) as committer:
            await committer.submit(readings_of(0, 1))
            with psycopg.connect(telemetry["superuser"], autocommit=True) as conn:
                conn.execute("SELECT pg_terminate_backend(%s, 5000)", [new_backend()])
            return [*await committer.submit(readings_of(0, 2))]

    assert asyncio.run(run()) == [Outcome.DUPLICATE, Outcome.STORED]


def test_batches_wait_for_a_silent_database_no_longer_than_their_timeout(telemetry, readings_of, new_backend):
    async def run() -> None:
        async with committing(telemetry) as committer:
            await committer.submit(readings_of(0, 1))
            waited = []

            async def submit(start: int) -> None:
                begin = time.monotonic()
                with pytest.raises(DatabaseUnavailable, match="has not answered for 1 s"):
                    await committer.submit(readings_of(start, 10))
                waited.append(time.monotonic() - begin)

            with stopped(new_backend()):
                await asyncio.gather(submit(10), submit(20), submit(30))
            assert all(0.9 < seconds < 2.5 for seconds in waited), waited
            # Unknown fate: each was stored as a whole, or not at all.
            first = np.concatenate([await committer.submit(readings_of(start, 10)) for start in (10, 20, 30)])
            assert set(first) <= {Outcome.STORED, Outcome.DUPLICATE}
            again = await committer.submit(readings_of(10, 30))
            assert set(again) == {Outcome.DUPLICATE}

    asyncio.run(run())


def test_what_waits_for_a_silent_database_is_bounded_and_stored_by_a_fresh_connection(
    telemetry, readings_of, new_backend
):
    async def run() -> None:
        async with committing(telemetry, timeout=5.0) as committer:
            await committer.submit(readings_of(0, 1))
            with stopped(new_backend()):
                waiting = [asyncio.ensure_future(committer.submit(readings_of(9, 1)))]
                await asyncio.sleep(3)  # as long as a fresh connection may take, before they are overdue, too
                waiting += [
                    asyncio.ensure_future(committer.submit(readings_of(start, 100)))
                    for start in range(100, 1300, 100)
                ]
                results = await asyncio.gather(*waiting, return_exceptions=True)
            # What waited behind the silent backend was stored by a fresh one.
            assert [type(result) for result in results] == [DatabaseUnavailable] + [np.ndarray] * 9 + [
                QueueFull
            ] * 3
            assert set(await committer.submit(readings_of(2000, 1000))) == {Outcome.STORED}

    asyncio.run(run())


def test_closing_does_not_wait_for_ever_for_a_silent_database(telemetry, readings_of, new_backend):
    async def run() -> float:
        async with committing(telemetry) as committer:
            await committer.submit(readings_of(0, 1))
            with stopped(new_backend()):
                lost = asyncio.ensure_future(committer.submit(readings_of(1, 1)))
                await asyncio.sleep(0.05)
                begin = time.monotonic()
                await committer.close()
                with pytest.raises(DatabaseUnavailable):
                    await lost
                return time.monotonic() - begin

    assert asyncio.run(run()) < 3


def test_a_full_queue_refuses_the_sender_with_the_most_in_it_and_takes_all_others(
    telemetry, readings_of, new_backend
):
    async def run() -> None:
        async with committing(telemetry, timeout=30) as committer:
            await committer.submit(readings_of(0, 1))

            def submit(sender: str, start: int, rows: int) -> asyncio.Future[object]:
                return asyncio.ensure_future(committer.submit(readings_of(start, rows), sender=sender))

            with stopped(new_backend()):
                first = submit("other", 9, 1)  # is being stored, and cannot be taken back
                await asyncio.sleep(0.2)
                greedy = [submit("greedy", start, 100) for start in range(100, 1300, 100)]
                await asyncio.sleep(0.1)
                modest = [submit(f"modest {start}", start, 10) for start in range(2000, 2200, 10)]
                await asyncio.sleep(0.1)
                # Nobody gives way to one that would have the most itself.
                with pytest.raises(QueueFull):
                    await committer.submit(readings_of(3000, 900), sender="as greedy")
                with pytest.raises(QueueFull):
                    await committer.submit(readings_of(4000, 300), sender="greedy")
            assert type(await first) is np.ndarray
            assert {type(one) for one in await asyncio.gather(*modest)} == {np.ndarray}
            results = await asyncio.gather(*greedy, return_exceptions=True)
        # Nine fitted beside the first one; two of them, the newest, gave way to the others' 200.
        assert [type(result) for result in results] == [np.ndarray] * 7 + [QueueFull] * 5

    asyncio.run(run())


def test_a_known_series_costs_no_query(telemetry, readings_of, monkeypatch):
    asked = []

    def counted(conn, keys, **options):
        keys = list(keys)
        asked.append(keys)
        return ensure_series(conn, keys, **options)

    monkeypatch.setattr(series_ids, "ensure_series", counted)

    async def run() -> None:
        async with committing(telemetry) as committer:
            for start in range(5):
                assert [*await committer.submit(readings_of(start, 1))] == [Outcome.STORED]
            assert len(asked) == 1
            await asyncio.gather(*(committer.submit(readings_of(start, 1)) for start in range(10, 30)))
            assert len(asked) == 1

    asyncio.run(run())


def test_one_group_with_new_series_of_several_requests_creates_each_once_and_keeps_to_the_cap(
    telemetry, device_id
):
    """The metrics of the first requests fill the device; those of later ones are beyond its cap."""

    def readings(metric: str, second: int) -> Readings:
        time = 1_760_000_000_000_000 + 1_000_000 * second
        return Readings(keys=[(device_id, metric)], key=[0], time=[time], value=[1.0], packet=[0])

    async def run() -> list[Outcomes]:
        async with committing(telemetry, device_metrics=2) as committer:
            metrics = ["power", "current", "power", "voltage", "current", "voltage"]
            return await asyncio.gather(
                *(committer.submit(readings(metric, second)) for second, metric in enumerate(metrics))
            )

    outcomes = [int(one[0]) for one in asyncio.run(run())]
    assert outcomes == [0, 0, 0, OVER_CAP, 0, OVER_CAP]


def test_an_atomic_request_with_a_rejected_reading_stores_nothing(telemetry, stored, device_id):
    def readings() -> Readings:
        time = 1_760_000_000_000_000
        keys = [(device_id, "power"), (device_id, "current")]
        return Readings(keys=keys, key=[0, 1], time=[time, time], value=[1.0, 2.0], packet=[0, 0])

    async def run() -> list[Outcomes]:
        async with committing(telemetry, device_metrics=1) as committer:
            beyond_the_cap = await committer.submit(readings(), atomic=True)
            rejected_before = readings()
            rejected_before.reject(1, None, "value_type", "no object")
            return [beyond_the_cap, await committer.submit(rejected_before, atomic=True)]

    for outcomes in asyncio.run(run()):
        assert [*outcomes] == [NOT_WRITTEN, OVER_CAP]
    assert stored() == {}
