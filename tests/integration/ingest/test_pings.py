"""Pings over a real WebSocket: one in every interval, and the end after three that nothing came back for."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from joulebook.serving.guard import Guard
from joulebook.serving.http import MISSED_PINGS
from joulebook.serving.server import Server, Service

from ..serving.servers import UNAVAILABLE, running

INTERVAL = 0.3
PING, CLOSE = 0x89, 0x88


async def listening(scope, receive, send) -> None:
    """Take every message and answer none; on `hold`, read no more for a while."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "hold":
            await asyncio.sleep(INTERVAL * 8)
            await send({"type": "websocket.send", "text": "still here"})


@pytest.fixture
def port() -> Iterator[int]:
    """A server in this process whose pings are fast."""
    server = Server(
        Service(listening, "127.0.0.1", 0, guard=Guard(10), unavailable=UNAVAILABLE, message_bytes=1_000_000)
    )
    server.config.ws_ping_interval = INTERVAL
    with running(server) as port:
        yield port


@contextlib.contextmanager
def silent(port: int) -> Iterator[socket.socket]:
    """Shake hands by hand and then answer nothing."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as raw:
        raw.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b"101" in raw.recv(4096)
        yield raw


def frames(received: bytes) -> list[int]:
    """Return the first byte of each of the server's short frames."""
    found = []
    while received:
        found.append(received[0])
        received = received[2 + received[1] :]
    return found


def test_a_device_that_answers_nothing_is_closed_after_three_pings(port):
    with silent(port) as raw:
        began = time.monotonic()
        received = b""
        while chunk := raw.recv(4096):
            received += chunk
        lasted = time.monotonic() - began
    assert frames(received) == [PING] * MISSED_PINGS + [CLOSE]
    assert b"keepalive" in received
    assert INTERVAL * (MISSED_PINGS + 1) - 0.1 < lasted < INTERVAL * 100


def test_a_device_that_answers_is_pinged_in_every_interval_and_stays(port):
    with connect(f"ws://127.0.0.1:{port}", ping_interval=None) as connection:
        with pytest.raises(TimeoutError):
            connection.recv(timeout=INTERVAL * 8)
        assert connection.ping().wait(60)


def test_whatever_comes_from_the_device_is_a_sign_of_life(port):
    """A pong can be stuck behind a large message."""
    with silent(port) as raw:
        raw.settimeout(INTERVAL)
        until = time.monotonic() + INTERVAL * 8
        received = b""
        while time.monotonic() < until:
            raw.sendall(b"\x81\x81\x00\x00\x00\x00x")  # the text "x", masked with zeros
            with contextlib.suppress(TimeoutError):
                received += raw.recv(4096)
    assert CLOSE not in frames(received)
    assert frames(received).count(PING) > MISSED_PINGS


def test_a_device_that_we_keep_waiting_is_not_blamed(port):
    """While a slow database holds up the reader, pongs lie unread."""
    with connect(f"ws://127.0.0.1:{port}", ping_interval=None) as connection:
        connection.send("hold")
        connection.send("waits behind it")
        assert connection.recv(timeout=INTERVAL * 12) == "still here"
        with contextlib.suppress(ConnectionClosed):
            connection.close()
