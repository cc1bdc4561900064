"""SIGTERM under load: what was begun is finished, what comes is told to return, and nothing is reset."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from datetime import timedelta

import httpx
import psycopg
import pytest

from ...conftest import Service, free_port
from .ledger import START

READINGS = 500


@pytest.fixture
def own_ingest(telemetry):
    """An ingest service for this test to end."""
    service = Service("ingest", free_port())
    service.start(path="/readyz")
    yield service
    service.stop()


class Sender:
    """A client that sends as fast as it can over a kept connection, and notes when and what it was told."""

    def __init__(self, url: str, token: str, number: int) -> None:
        self.number = number
        self.events: list[tuple[float, str]] = []
        self.acknowledged = 0
        self.without_retry_after = 0
        self._http = httpx.Client(timeout=30, base_url=url, headers={"Authorization": f"Bearer {token}"})

    def run(self, over: threading.Event) -> None:
        batch = 0
        while not over.is_set():
            body = json.dumps(
                [
                    {
                        "timestamp": (START + timedelta(seconds=batch * READINGS + row)).isoformat(),
                        f"client_{self.number}": row,
                    }
                    for row in range(READINGS)
                ]
            )
            begin = time.monotonic()
            try:
                answer = self._http.post("/api/readings", content=body)
            except httpx.ConnectError:
                self.events.append((begin, "closed door"))
                time.sleep(0.05)
                continue
            except httpx.TransportError as exc:
                self.events.append((begin, f"reset: {exc!r}"))
                continue
            self.events.append((begin, str(answer.status_code)))
            if answer.status_code == 200:
                batch += 1
                self.acknowledged += READINGS
            else:
                if "Retry-After" not in answer.headers:
                    self.without_retry_after += 1
                time.sleep(min(2.0, float(answer.headers.get("Retry-After", 1))))
        self._http.close()


@pytest.mark.parametrize("rounds", [2, pytest.param(20, marks=pytest.mark.slow)], ids=["short", "20 ends"])
def test_sigterm_under_load_resets_no_request(telemetry, own_ingest, device_id, device_token, rounds):
    drains, before, after, acknowledged = [], Counter(), Counter(), 0
    for round_number in range(rounds):
        if round_number:
            own_ingest.start(path="/readyz")
        over = threading.Event()
        senders = [Sender(own_ingest.url, device_token, round_number * 8 + number) for number in range(8)]
        threads = [threading.Thread(target=sender.run, args=(over,)) for sender in senders]
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        while time.monotonic() < begun + 1.5 or min(len(sender.events) for sender in senders) < 3:
            assert time.monotonic() < begun + 60, [sender.events for sender in senders]
            time.sleep(0.05)
        asked = time.monotonic()
        own_ingest.stop()
        drains.append(time.monotonic() - asked)
        over.set()
        for thread in threads:
            thread.join()
        for sender in senders:
            # An instant's grace: a request may have been written and not yet read at the signal.
            before.update(what for when, what in sender.events if when < asked - 0.05)
            after.update(what for when, what in sender.events if when >= asked - 0.05)
            acknowledged += sender.acknowledged
            assert sender.without_retry_after == 0
    with psycopg.connect(telemetry["reader"]) as conn:
        (stored,) = conn.execute(
            "SELECT count(*) FROM readings JOIN series ON series.id = series_id WHERE device_id = %s",
            [device_id],
        ).fetchone()
    failed = sum(count for what, count in before.items() if what != "200")
    print(  # noqa: T201 - a drill reports its figures
        f"\nSIGTERM under load, {rounds} times: failed in-flight: {failed} of {before.total()}; "
        f"drain {max(drains):.1f} s at most; afterwards {dict(after)}"
    )
    assert before["200"] > 8 * rounds
    assert failed == 0
    assert not [what for what in after if what.startswith("reset")]
    assert after["503"] > 0
    assert stored == acknowledged
    assert max(drains) < 15


def test_readiness_fails_at_once_and_a_slow_request_is_still_stored(own_ingest, device_id, device_token):
    """A request whose body is still on its way at the signal is finished."""
    release = threading.Event()

    begun = threading.Event()

    def body():
        yield b'{"timestamp": "2026-05-01T00:00:00Z", '
        begun.set()
        release.wait(60)
        yield b'"power": 1}'

    answers: list[httpx.Response] = []
    with httpx.Client(base_url=own_ingest.url, timeout=60) as kept:
        assert kept.get("/readyz").status_code == 200
        headers = {"Authorization": f"Bearer {device_token}"}
        slow = threading.Thread(
            target=lambda: answers.append(
                httpx.post(f"{own_ingest.url}/api/readings", content=body(), headers=headers, timeout=60)
            )
        )
        slow.start()
        assert begun.wait(60)
        time.sleep(0.5)  # it is on its way to ingest
        own_ingest.process.terminate()
        deadline = time.monotonic() + 30
        while (ready := kept.get("/readyz")).status_code != 503:
            assert time.monotonic() < deadline, "it goes on"
        assert ready.headers["Connection"] == "close"
        late = httpx.post(f"{own_ingest.url}/api/readings", json={"power": 2}, headers=headers)
        assert late.status_code == 503
        assert 1 <= int(late.headers["Retry-After"]) <= 60
        assert "stopping" in late.json()["message"]
        assert own_ingest.process.poll() is None
        release.set()
        slow.join()
        own_ingest.process.wait(timeout=60)
    assert answers[0].status_code == 200
    assert answers[0].json()["accepted"] == 1


def test_one_connection_too_many_is_a_503_and_costs_the_others_nothing(telemetry, device_id, device_token):
    service = Service("ingest", free_port(), {"JOULEBOOK_INGEST_CONNECTIONS": "3"})
    service.start()
    headers = {"Authorization": f"Bearer {device_token}"}
    clients = [httpx.Client(base_url=service.url, headers=headers, timeout=60) for _ in range(4)]
    try:
        welcome, surplus = clients[:3], clients[3]
        for number, client in enumerate(welcome):
            assert client.post("/api/readings", json={f"power_{number}": 1}).status_code == 200
        refused = surplus.post("/api/readings", content=b" " * 1_000_000 + b'{"power": 1}')
        assert refused.status_code == 503
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert refused.json()["code"] == "unavailable"
        for client in welcome:
            assert client.post("/api/readings", json={"power": 2}).status_code == 200
        welcome[0].close()
        deadline = time.monotonic() + 60
        while surplus.post("/api/readings", json={"power": 3}).status_code != 200:
            assert time.monotonic() < deadline, "its place is not free"
            time.sleep(0.1)
    finally:
        for client in clients:
            client.close()
        service.stop()
