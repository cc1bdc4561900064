"""The database hangs: everybody is told to come again, memory stays flat, and it recovers by itself."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from joulebook.ingest.connection import TIMEOUT_SECONDS

from .faults import stopped_database
from .ledger import START

CLIENTS = 16
READINGS = 2_000


def resident_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


@pytest.mark.parametrize(
    "seconds", [TIMEOUT_SECONDS + 2, pytest.param(30.0, marks=pytest.mark.slow)], ids=["short", "30 s"]
)
def test_a_stopped_database_is_a_503_in_bounded_time_and_recovers_by_itself(
    telemetry, ingest, device_id, device_token, seconds
):
    headers = {"Authorization": f"Bearer {device_token}"}
    over = threading.Event()
    waited: list[float] = []
    peaks: list[float] = []

    def packets(client: int) -> list[dict[str, object]]:
        return [
            {"timestamp": (START + timedelta(seconds=row)).isoformat(), f"client_{client}": row}
            for row in range(READINGS)
        ]

    def send_until_stored(client: int) -> dict[str, object]:
        with httpx.Client(timeout=60, headers=headers, base_url=ingest.url) as http:
            while True:
                begin = time.monotonic()
                answer = http.post("/api/readings", json=packets(client))
                if answer.status_code == 200:
                    return answer.json()
                assert answer.status_code == 503, answer.text
                assert 1 <= int(answer.headers["Retry-After"]) <= 60
                waited.append(time.monotonic() - begin)
                peaks.append(resident_megabytes(ingest.process.pid))
                time.sleep(0.2)

    assert httpx.post(f"{ingest.url}/api/readings", json={"power": 1}, headers=headers).status_code == 200
    before = resident_megabytes(ingest.process.pid)
    with ThreadPoolExecutor(CLIENTS) as pool:
        with stopped_database():
            answers = [pool.submit(send_until_stored, client) for client in range(CLIENTS)]
            time.sleep(1)
            assert httpx.get(f"{ingest.url}/livez").status_code == 200
            assert httpx.get(f"{ingest.url}/readyz", timeout=8).status_code == 503
            over.wait(seconds - 1)
        resumed = time.monotonic()
        bodies = [answer.result() for answer in answers]
        recovery = time.monotonic() - resumed
    assert all(body["accepted"] + body["duplicate"] == READINGS for body in bodies)
    for client in range(CLIENTS):
        again = httpx.post(f"{ingest.url}/api/readings", json=packets(client), headers=headers, timeout=60)
        assert again.json()["duplicate"] == READINGS
    ingest.wait(path="/readyz")
    print(  # noqa: T201 - a drill reports its figures
        f"\ndatabase stopped for {seconds:.0f} s: {len(waited)} answers 503 after at most {max(waited):.1f} s, "
        f"all stored {recovery:.1f} s after it went on; peak RSS {max(peaks):.0f} MB (before: {before:.0f} MB)"
    )
    assert max(waited) < TIMEOUT_SECONDS + 6
    assert max(peaks) < before + 150
