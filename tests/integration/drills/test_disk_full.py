"""The disk is full: everybody is told to come again, nothing is corrupt, and what waited is stored when there is room."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import httpx
import psycopg
import pytest

from .faults import SmallDisk
from .ledger import Ledger, assert_exactly_once

# No other test has readings of these weeks, so all their chunks are created on the small disk.
START = datetime(2003, 6, 2, tzinfo=UTC)
SINCE, UNTIL = "2003-05-01", "2003-08-01"


@pytest.fixture
def small_disk(telemetry):
    disk = SmallDisk(telemetry, megabytes=4)
    yield disk
    disk.remove(since=SINCE, until=UNTIL)


def counts(telemetry: dict[str, str], device_id: str) -> set[int]:
    """Count the device's readings by the table and by its key: they differ where either is damaged."""
    found = set()
    with psycopg.connect(telemetry["superuser"]) as conn:
        for off in ("enable_seqscan", "enable_indexscan"):
            conn.execute(
                f"SET enable_seqscan = on; SET enable_indexscan = on; SET enable_bitmapscan = off; SET {off} = off"
            )
            row = conn.execute(
                "SELECT count(value) FROM readings WHERE series_id = ANY(ARRAY(SELECT id FROM series WHERE device_id = %s)) "
                "AND time >= %s AND time < %s",
                [device_id, SINCE, UNTIL],
            ).fetchone()
            found.add(row[0])
    return found


@pytest.mark.needs_mounting
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("batches", "rounds"),
    [(20, 1), pytest.param(250, 10, marks=pytest.mark.slow)],
    ids=["80,000", "1,000,000"],
)
def test_a_full_disk_is_a_503_and_after_freeing_nothing_is_lost(
    telemetry, small_disk, ingest, device_id, device_token, batches, rounds
):
    ledger = Ledger(ingest.url, device_token, clients=4, batches=batches, readings=1000, start=START)
    headers = {"Authorization": f"Bearer {device_token}"}
    took: list[float] = []
    reasons: list[str] = []

    def fill_and_free() -> None:
        """Wait until the disk is full, look at what clients are told, and make room for a part of what is left."""
        for number in range(1, rounds + 1):
            refused = ledger.refused
            while ledger.refused < refused + 8:
                if ledger.given_up.wait(0.01):
                    return
            begin = time.monotonic()
            told = httpx.post(
                f"{ingest.url}/api/readings", headers=headers, json=[
                    {"timestamp": f"2003-07-{day:02}T{hour:02}:00:00Z", "probe": 1} for day in range(1, 29) for hour in range(24)
                ],
            )  # fmt: skip
            reasons.append(f"{told.status_code} {told.text}")
            assert httpx.get(f"{ingest.url}/livez").status_code == 200
            # A reading takes about 80 bytes with its key: every time but the last there is too little room again.
            bytes_needed = ledger.total * (45 * number // rounds if number < rounds else 250)
            small_disk.grow(4 + bytes_needed // 1_000_000)
            took.append(time.monotonic() - begin)

    thread = threading.Thread(target=fill_and_free)
    thread.start()
    try:
        ledger.run()
    finally:
        ledger.given_up.set()
        thread.join()
    assert len(took) == rounds
    assert all("503" in reason and "No space left on device" in reason for reason in reasons), reasons
    assert_exactly_once(telemetry, device_id, ledger, "disk full", took)
    assert counts(telemetry, device_id) == {ledger.total}
