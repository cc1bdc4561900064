"""One address holds as many connections as a service takes: everybody else is answered throughout."""

from __future__ import annotations

import contextlib
import itertools
import resource
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from ...conftest import Service, free_port

STRANGER = "127.0.0.2"
HALF = b"POST /api/readings HTTP/1.1\r\nHost: x\r\nX-Name: "


class Flood:
    """Connections of one address: a third is silent, a third half-sent, a third sends a byte now and then.

    Each that the service ends is made anew, so that there are always as many as it takes, and half as many
    again.
    """

    def __init__(self, port: int, count: int, *, byte_every: float) -> None:
        self._port, self._count, self._every = port, count, byte_every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.made = 0

    def __enter__(self) -> Flood:
        self._thread.start()
        deadline = time.monotonic() + 180
        while self.made < self._count:
            assert time.monotonic() < deadline, self.made
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        held: dict[int, tuple[socket.socket, int]] = {}
        kinds = itertools.count()
        sent_at = time.monotonic()
        try:
            while not self._stop.is_set():
                for number in range(self._count):
                    if number not in held and not self._stop.is_set():
                        with contextlib.suppress(OSError):
                            held[number] = (self._connect(), next(kinds) % 3)
                            self.made += 1
                is_time = time.monotonic() - sent_at > self._every
                sent_at = time.monotonic() if is_time else sent_at
                for number, (one, kind) in list(held.items()):
                    if _is_closed(one, b"x" if is_time and kind == 2 else b""):
                        one.close()
                        del held[number]
                self._stop.wait(self._count / 3000)
        finally:
            for one, _ in held.values():
                one.close()

    def _connect(self) -> socket.socket:
        one = socket.create_connection(("127.0.0.1", self._port), timeout=5, source_address=(STRANGER, 0))
        if self.made % 3:
            one.sendall(HALF)
        one.setblocking(False)
        return one


def _is_closed(one: socket.socket, byte: bytes) -> bool:
    try:
        if byte:
            one.send(byte)
        return one.recv(1000) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@contextlib.contextmanager
def client_from(address: str, url: str, **named) -> Iterator[httpx.Client]:
    """A client that calls from an address of this machine's loopback network."""
    with httpx.Client(
        transport=httpx.HTTPTransport(local_address=address), base_url=url, timeout=30, **named
    ) as client:
        yield client


@pytest.fixture
def ingest_of(telemetry):
    """An ingest of its own that keeps so many connections."""
    with contextlib.ExitStack() as stack:

        def start(connections: int) -> Service:
            service = Service("ingest", free_port(), {"JOULEBOOK_INGEST_CONNECTIONS": str(connections)})
            service.start(path="/readyz")
            stack.callback(service.stop)
            return service

        yield start


def send_throughout(service: Service, token: str, seconds: float) -> int:
    """Send from three other addresses, on kept and on new connections; all must be stored. Return how many."""
    headers = {"Authorization": f"Bearer {token}"}
    stored = 0
    with contextlib.ExitStack() as stack:
        kept = [
            stack.enter_context(client_from(address, service.url, headers=headers))
            for address in ("127.0.0.1", "127.0.0.3")
        ]
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for client in kept:
                answer = client.post("/api/readings", json={"power": 1})
                assert answer.status_code == 200, answer.text
            with client_from("127.0.0.4", service.url, headers=headers) as fresh:
                answer = fresh.post("/api/readings", json={"power": 1})
                assert answer.status_code == 200, answer.text
            stored += 3
            time.sleep(0.05)
    return stored


@contextlib.contextmanager
def web_of(connections: int) -> Iterator[Service]:
    """A web of its own that keeps so many connections."""
    service = Service("web", free_port(), {"JOULEBOOK_WEB_CONNECTIONS": str(connections)})
    service.start(path="/readyz")
    try:
        yield service
    finally:
        service.stop()


def ask_throughout(service: Service, seconds: float) -> tuple[int, float]:
    """Ask from two other addresses, on kept and on new connections; return how often, and the longest wait."""
    asked, slowest = 0, 0.0
    with client_from("127.0.0.1", service.url) as kept:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with client_from("127.0.0.3", service.url) as fresh:
                for client in (kept, fresh):
                    begin = time.monotonic()
                    assert client.get("/livez").status_code == 200
                    assert client.get("/sign-in/").status_code == 200
                    slowest = max(slowest, (time.monotonic() - begin) / 2)
            asked += 4
            time.sleep(0.05)
    return asked, slowest


def test_people_are_answered_while_one_address_holds_all_connections(telemetry):
    with web_of(60) as service, Flood(int(service.url.rpartition(":")[2]), 90, byte_every=1):
        asked, _ = ask_throughout(service, 6)
        assert asked > 10


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_people_are_answered_for_two_minutes_while_one_address_holds_all_connections(telemetry):
    with web_of(1000) as service:
        _, without = ask_throughout(service, 20)
        with Flood(int(service.url.rpartition(":")[2]), 1500, byte_every=20):
            asked, slowest = ask_throughout(service, 120)
    print(  # noqa: T201
        f"\n{asked} answers beside 1,500 connections of one address, the slowest in {slowest:.2f} s; "
        f"without them in {without:.2f} s"
    )
    assert asked > 60
    # A busy machine is slow without a flood, too.
    assert slowest < max(1, 3 * without)


def test_devices_are_answered_while_one_address_holds_all_connections(ingest_of, device_token):
    service = ingest_of(60)
    with Flood(int(service.url.rpartition(":")[2]), 90, byte_every=1):
        assert send_throughout(service, device_token, 6) > 10


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_devices_are_answered_for_two_minutes_while_one_address_holds_all_connections(
    ingest_of, device_token
):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 20_000), most))
    service = ingest_of(4096)
    with Flood(int(service.url.rpartition(":")[2]), 6144, byte_every=20):
        stored = send_throughout(service, device_token, 120)
    print(f"\n{stored} readings of others stored beside 6,144 connections of one address")  # noqa: T201
    assert stored > 60
