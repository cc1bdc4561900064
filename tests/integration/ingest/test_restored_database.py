"""An older state of the database under a running ingest: no reading is stored under another's series."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from joulebook.ingest.commit.columns import Readings
from joulebook.ingest.commit.group_commit import GroupCommitter
from joulebook.ingest.commit.storing import ReadingStore, StoredCounts
from joulebook.ingest.metrics import IngestMetrics

from ..drills.faults import writing_backends
from .conftest import T0


class Ingest:
    """What stores readings in an ingest process, and the database that it writes to."""

    def __init__(self, telemetry: dict[str, str], most_metrics: int) -> None:
        self.telemetry = telemetry
        self.before = writing_backends(telemetry)
        metrics = IngestMetrics()
        self.committer = GroupCommitter(
            telemetry["writer"], queue_readings=1000, device_metrics=most_metrics, metrics=metrics
        )
        self.store = ReadingStore(committer=self.committer, metrics=metrics)

    async def send(self, device_id: str, second: int, **values: float) -> StoredCounts:
        self.readings = Readings(
            keys=[(device_id, metric) for metric in values],
            key=list(range(len(values))),
            time=[int((T0.timestamp() + second) * 1_000_000)] * len(values),
            value=list(values.values()),
            packet=[0] * len(values),
        )
        return await self.store.store(self.readings)

    def restore(self, device_id: str, other: str) -> None:
        """Let the ids of a device's series stand for another device's, and the connections be closed.

        That is how it looks to ingest when a database is put back in which those series were not yet.
        """
        with psycopg.connect(self.telemetry["superuser"], autocommit=True) as conn:
            conn.execute("UPDATE series SET device_id = %s WHERE device_id = %s", [other, device_id])
            for backend in writing_backends(self.telemetry) - self.before:
                conn.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])


@asynccontextmanager
async def running(telemetry: dict[str, str], *, most_metrics: int = 10) -> AsyncIterator[Ingest]:
    ingest = Ingest(telemetry, most_metrics)
    try:
        yield ingest
    finally:
        await ingest.committer.close()


def test_after_a_restore_readings_go_to_their_own_series_and_not_to_who_has_its_id_now(
    telemetry, stored, device_id
):
    async def run() -> None:
        async with running(telemetry) as ingest:
            assert await ingest.send(device_id, 0, power=1.0, current=2.0) == StoredCounts(accepted=2)
            ingest.restore(device_id, f"{device_id}_other")
            assert await ingest.send(device_id, 1, power=3.0, current=4.0) == StoredCounts(accepted=2)
            assert await ingest.send(device_id, 2, power=5.0) == StoredCounts(accepted=1)

    asyncio.run(run())
    assert stored(f"{device_id}_other") == {("power", 0.0): 1.0, ("current", 0.0): 2.0}
    assert stored() == {("power", 1.0): 3.0, ("current", 1.0): 4.0, ("power", 2.0): 5.0}


def test_many_that_wait_while_the_database_is_restored_are_all_stored_where_they_belong(
    telemetry, stored, device_id
):
    async def run() -> list[StoredCounts]:
        async with running(telemetry) as ingest:
            await ingest.send(device_id, 0, power=0.0)
            ingest.restore(device_id, f"{device_id}_other")
            return await asyncio.gather(
                *(ingest.send(device_id, second, power=float(second)) for second in range(1, 30))
            )

    assert asyncio.run(run()) == [StoredCounts(accepted=1)] * 29
    assert stored(f"{device_id}_other") == {("power", 0.0): 0.0}
    assert stored() == {("power", float(second)): float(second) for second in range(1, 30)}


def test_a_metric_that_no_longer_fits_under_the_cap_is_refused_once(telemetry, stored, device_id):
    async def run() -> Ingest:
        async with running(telemetry, most_metrics=1) as ingest:
            await ingest.send(device_id, 0, power=1.0)
            ingest.restore(device_id, f"{device_id}_other")
            assert await ingest.send(device_id, 1, current=2.0, power=3.0) == StoredCounts(accepted=1)
            return ingest

    readings = asyncio.run(run()).readings
    assert [(one.metric, one.code) for one in readings.rejected] == [("power", "metric_limit")]
    assert readings.rejected_total == 1
    assert stored() == {("current", 1.0): 2.0}
