"""A client that does not take its answer costs neither a thread for ever nor memory without end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx
import pytest

from joulebook.web.server import create_server

_CHUNK = bytes(1024 * 1024)


class Endless:
    """An answer without end that notes when it is closed, and how much of it was asked for."""

    def __init__(self) -> None:
        self.asked = 0
        self.closed = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        if environ["PATH_INFO"] == "/brief":
            return [b"brief"]
        return self._chunks()

    def _chunks(self) -> Iterator[bytes]:
        try:
            while True:
                self.asked += 1
                yield _CHUNK
        finally:
            self.closed.set()


@pytest.fixture
def endless() -> Endless:
    return Endless()


@pytest.fixture
def port(endless: Endless) -> Iterator[int]:
    server = create_server(endless, host="127.0.0.1", port=0, threads=1, channel_timeout=1)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield server.effective_port
    server.trigger.pull_trigger(server.close)
    server.task_dispatcher.shutdown()


def test_a_client_that_stops_taking_is_given_up_and_its_thread_serves_others(
    endless: Endless, port: int
) -> None:
    with socket.create_connection(("127.0.0.1", port)) as stalled:
        stalled.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert endless.closed.wait(10)
        assert httpx.get(f"http://127.0.0.1:{port}/brief", timeout=5).text == "brief"
    assert endless.asked < 40  # sixteen megabytes wait in the server, the rest in the sockets


def test_a_client_that_takes_slowly_is_served_on(endless: Endless, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        until = time.monotonic() + 4
        while time.monotonic() < until:
            assert slow.recv(4 * 1024 * 1024)
            time.sleep(0.2)
        assert not endless.closed.is_set()


def test_a_client_that_goes_away_ends_its_answer(endless: Endless, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as leaving:
        leaving.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        leaving.recv(1024)
    assert endless.closed.wait(10)
