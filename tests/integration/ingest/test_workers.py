"""`joulebook ingest` with several processes: exactly once over all of them, restarted, and ended together."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest

from ...conftest import Service, free_port, run_joulebook

CLIENTS = 8
BATCHES = 20
READINGS = 200


@pytest.fixture(scope="module")
def service(telemetry):
    """Two ingest processes behind one port, for one test after the other."""
    service = Service("ingest", free_port(), {"JOULEBOOK_INGEST_WORKERS": "2"})
    yield service
    service.stop()


@pytest.fixture
def workers(service):
    """Two ingest processes behind one port, which a test may end."""
    if not service.is_running():
        service.start(path="/readyz")
    return service


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for_both(url: str) -> None:
    """Return when both processes have answered a new connection."""
    seen: set[str] = set()
    for _ in range(200):
        text = httpx.get(f"{url}/metrics", timeout=10).text
        seen.add(re.search(r'process="(\d+)"', text).group(1))
        if seen == {"1", "2"}:
            return
    raise AssertionError(f"only {seen} answered")


def test_overlapping_sends_over_both_processes_are_stored_exactly_once(
    telemetry, workers, device_id, device_token
):
    """Each batch overlaps its neighbours by half, and every client sends all of them."""
    wait_for_both(workers.url)
    told = {"accepted": 0, "duplicate": 0}
    lock = threading.Lock()

    def send_all(client: int) -> None:
        order = range(BATCHES) if client % 2 else range(BATCHES - 1, -1, -1)
        for batch in order:
            first = batch * READINGS // 2
            packets = [
                {"timestamp": 1_760_000_000 + second, "power": second}
                for second in range(first, first + READINGS)
            ]
            answer = httpx.post(  # a new connection each time, and so now one process, now the other
                f"{workers.url}/api/readings?precision=s",
                json=packets,
                headers={"Authorization": f"Bearer {device_token}"},
                timeout=30,
            )
            assert answer.status_code == 200, answer.text
            with lock:
                told["accepted"] += answer.json()["accepted"]
                told["duplicate"] += answer.json()["duplicate"]

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(send_all, range(CLIENTS)))
    expected = (BATCHES + 1) * READINGS // 2
    with psycopg.connect(telemetry["reader"]) as conn:
        counted = conn.execute(
            "SELECT count(*), count(DISTINCT time), sum(value) FROM readings "
            "JOIN series ON series.id = series_id WHERE device_id = %s",
            [device_id],
        ).fetchone()
    assert counted == (expected, expected, expected * (expected - 1) / 2)
    assert told["accepted"] == expected
    assert sum(told.values()) == CLIENTS * BATCHES * READINGS


def test_a_process_that_dies_is_started_again_and_nobody_is_refused_meanwhile(workers, device_token):
    victim, other = children(workers.process.pid)
    os.kill(victim, signal.SIGKILL)
    time.sleep(0.1)
    headers = {"Authorization": f"Bearer {device_token}"}
    for number in range(40):
        answer = httpx.post(
            f"{workers.url}/api/readings", json={f"power_{number}": 1}, headers=headers, timeout=30
        )
        assert answer.status_code == 200
    now = children(workers.process.pid)
    assert len(now) == 2
    assert other in now
    assert victim not in now
    wait_for_both(workers.url)


def test_sigterm_ends_all_processes_in_order(workers):
    wait_for_both(workers.url)
    both = children(workers.process.pid)
    drained = workers.log.read_text().count("Drained in")
    workers.process.terminate()
    assert workers.process.wait(timeout=60) == 0
    assert [pid for pid in both if Path(f"/proc/{pid}").exists()] == []
    assert workers.log.read_text().count("Drained in") == drained + 2
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{workers.url}/livez")


def test_the_processes_die_with_a_parent_that_is_killed(workers):
    both = children(workers.process.pid)
    workers.kill()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in both):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers.start(path="/readyz")


def test_a_port_that_is_taken_is_said_and_not_shared(workers):
    port = workers.url.rpartition(":")[2]
    failed = run_joulebook("ingest", "--workers", "2", JOULEBOOK_INGEST_PORT=port)
    assert failed.returncode == 1
    assert f"JOULEBOOK_INGEST_PORT={port}" in failed.stderr
    assert "in use" in failed.stderr


def test_a_setting_that_no_process_can_use_ends_them_all(telemetry):
    failed = run_joulebook(
        "ingest",
        "--workers",
        "2",
        JOULEBOOK_INGEST_PORT=str(free_port()),
        JOULEBOOK_INGEST_OLDEST="yesterday",
    )
    assert failed.returncode == 1
    assert "JOULEBOOK_INGEST_OLDEST='yesterday'" in failed.stderr
