"""What one token may hold of ingest while others want it, too."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from ...conftest import Service, free_port
from ..drills.faults import stopped_database
from .conftest import until, until_waiting


@pytest.fixture(scope="module")
def small(telemetry) -> Iterator[Service]:
    """An ingest of sixteen connections, and of a queue that one device could fill."""
    limits = {"JOULEBOOK_INGEST_CONNECTIONS": "16", "JOULEBOOK_INGEST_QUEUE_READINGS": "1000"}
    service = Service("ingest", free_port(), limits)
    service.start(path="/readyz")
    yield service
    service.stop()


@pytest.fixture
def gateway(transactional_db, device, alice):
    """Three devices and the token that writes for all of them."""
    from joulebook.web.devices.operations import create_device, issue_gateway_token

    devices = [create_device(f"{device.device_id}_{number}", owner=alice) for number in range(3)]
    return [each.device_id for each in devices], issue_gateway_token(devices, name="barn")


def test_a_token_has_a_share_of_the_websockets(small, gateway, device_id, device_token):
    devices, token = gateway

    def opened(device: str, token: str) -> AbstractContextManager[ClientConnection]:
        address = f"{small.url.replace('http', 'ws')}/ws/device/{device}"
        return connect(address, additional_headers={"Authorization": f"Bearer {token}"})

    with ExitStack() as stack:
        first, _ = (stack.enter_context(opened(device, token)) for device in devices[:2])
        with pytest.raises(InvalidStatus) as refused, opened(devices[2], token):
            pass
        assert refused.value.response.status_code == 503
        answer = json.loads(refused.value.response.body or b"")
        assert "its share" in answer["message"]
        assert answer["request_id"] == refused.value.response.headers["X-Request-ID"]
        # A device that connects anew takes its own place, and other tokens have theirs.
        stack.enter_context(opened(devices[0], token))
        stack.enter_context(opened(device_id, device_token))
        first.close()

    def is_free() -> bool:
        try:
            with opened(devices[2], token):
                return True
        except InvalidStatus:
            return False

    until(is_free, what="connections that were closed still count")


def test_while_the_database_is_away_one_device_does_not_fill_the_queue_for_all(
    small, gateway, device_token, stored, device_id
):
    _, token = gateway
    devices, _ = gateway
    answers: list[int] = []
    lock = threading.Lock()

    def flood(number: int) -> None:
        body = [
            {"device_id": devices[0], "timestamp": 1_772_366_400 + 100 * number + second, "power": second}
            for second in range(100)
        ]
        answer = httpx.post(
            f"{small.url}/api/readings?precision=s",
            json=body,
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        )
        with lock:
            answers.append(answer.status_code)

    own = {"Authorization": f"Bearer {device_token}"}
    packets = [{"timestamp": f"2026-03-01T12:00:{second:02}Z", "power": second} for second in range(50)]
    # Both are known before: a device that is new is asked about in the database that is away.
    assert httpx.post(f"{small.url}/api/readings", json=packets[:1], headers=own).status_code == 200
    flood(99)
    with ThreadPoolExecutor(max_workers=12) as pool:
        with stopped_database():
            flooding = [pool.submit(flood, number) for number in range(12)]
            until_waiting(small, 900)
            until(lambda: 503 in answers, what="nobody is refused")
            modest = pool.submit(
                httpx.post, f"{small.url}/api/readings", json=packets, headers=own, timeout=60
            )
            until_waiting(small, 950)
        assert modest.result().status_code == 200
        for each in flooding:
            each.result()
    assert answers.count(503) >= 3
    assert len(stored()) == 50


def test_bodies_that_swell_leave_nothing_behind(small, device_token):
    """Refused bodies stayed in memory until the next garbage collection, 17 MB each."""
    bomb = gzip.compress(bytes(1 << 30))
    assert small.process is not None
    status = Path(f"/proc/{small.process.pid}/status")

    def peak() -> int:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text()).group(1)) // 1024

    def send(encoding: str, body: bytes) -> int:
        headers = {"Authorization": f"Bearer {device_token}", "Content-Encoding": encoding}
        return httpx.post(f"{small.url}/api/readings", content=body, headers=headers, timeout=120).status_code

    assert send("gzip", bomb) == 413
    before = peak()
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(pool.map(lambda _: send("gzip", bomb), range(60)))
    assert set(answers) == {413}
    assert peak() - before < 150
