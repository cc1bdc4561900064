"""Many large bodies at once, slow or swelling: memory stays bounded, and others are served."""

from __future__ import annotations

import gzip
import socket
import time
from pathlib import Path

import httpx
import pytest

from ...conftest import Service, free_port

MEGABYTE = 1_000_000


@pytest.fixture
def narrow(telemetry):
    """An ingest service that takes bodies of a megabyte, and holds four of them."""
    service = Service("ingest", free_port(), {"JOULEBOOK_INGEST_MAX_BYTES": str(MEGABYTE)})
    service.start(path="/readyz")
    yield service
    service.stop()


def memory(service: Service, field: str) -> float:
    """Return a process's megabytes: `VmRSS` now, `VmHWM` at most so far."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def test_large_bodies_that_come_slowly_stand_back_and_the_devices_are_told_to_come_again(
    narrow, device_token
):
    head = (
        f"POST /api/readings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {device_token}\r\n"
        f"Content-Length: {MEGABYTE - 1}\r\n\r\n"
    )
    headers = {"Authorization": f"Bearer {device_token}"}
    before = memory(narrow, "VmRSS")
    slow = [socket.create_connection(("127.0.0.1", int(narrow.url.rpartition(":")[2]))) for _ in range(40)]
    try:
        for one in slow:
            one.sendall(head.encode() + b" " * 100_000)
        for _ in range(8):
            for one in slow:
                try:
                    one.sendall(b" " * 100_000)
                except OSError:
                    continue  # it was told, and the door is closed
        time.sleep(1)
        body = b'{"power": 1.5}' + b" " * 900_000
        with httpx.Client(base_url=narrow.url, headers=headers) as http:
            assert http.post("/api/readings", content=body, timeout=20).json()["accepted"] == 1
            assert http.post("/api/readings", json={"power": 2.5}).status_code == 200
        answers = [answer_of(one) for one in slow]
    finally:
        for one in slow:
            one.close()
    told = [answer for answer in answers if answer]
    assert len(told) >= 30  # four megabytes hold a few of what each would send
    for answer in told:
        assert answer.startswith("HTTP/1.1 503 ")
        assert "retry-after: " in answer.lower()
    assert memory(narrow, "VmHWM") < before + 25


def answer_of(one: socket.socket) -> str:
    """Return what the server has answered until now; nothing where it still waits for the rest."""
    one.settimeout(0.05)
    try:
        return one.recv(1000).decode()
    except TimeoutError:
        return ""
    except ConnectionResetError:
        return "HTTP/1.1 503 retry-after: the answer was lost on the way"


def test_bodies_that_would_swell_when_they_are_decoded_are_refused_before(telemetry, device_token):
    service = Service("ingest", free_port())
    service.start(path="/readyz")
    try:
        before = memory(service, "VmRSS")
        headers = {"Authorization": f"Bearer {device_token}", "Content-Encoding": "gzip"}
        for start, pattern, end in (b"[", b"[],", b"[]]"), (b"[", b'{"a":{}},', b"{}]"), (b"", b"{}\n", b""):
            body = gzip.compress(start + pattern * (15 * MEGABYTE // len(pattern)) + end, 1)
            answer = httpx.post(f"{service.url}/api/readings", content=body, headers=headers, timeout=30)
            assert answer.status_code == 413
            assert answer.json()["code"] == "too_large"
        assert memory(service, "VmHWM") < before + 60
    finally:
        service.stop()
