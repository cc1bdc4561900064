"""A viewer of the live feed that does not read: it is cut off, its place is free, and others lose nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from joulebook.ingest.live import feed as live_feed
from joulebook.ingest.live.endpoint import LiveEndpoint
from joulebook.ingest.live.feed import LiveFeed
from joulebook.live_ticket import TICKET_SECONDS, issue_ticket
from joulebook.web.devices.operations import create_device, issue_device_token

KEY = "a key of this test's own"
VIEWERS = 2


@pytest.fixture
def feed_url(telemetry, monkeypatch) -> Iterator[str]:
    """The live feed alone, in this process, for two viewers for whom two looks may wait."""
    monkeypatch.setattr(live_feed, "_QUEUE", 2)
    monkeypatch.setattr(live_feed, "POLL_SECONDS", 0.05)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette):
        feed = LiveFeed(telemetry["writer"], most_viewers=VIEWERS)
        endpoint = LiveEndpoint(feed=feed, secret_key=KEY)
        app.router.routes.append(Route("/live/{device_id}", endpoint))
        yield
        await feed.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        config = uvicorn.Config(Starlette(lifespan=lifespan), log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def address(device_id: str) -> str:
    ticket, _ = issue_ticket(KEY, device_id, user=1, origin="http://web", now=time.time())
    return f"/live/{device_id}?ticket={ticket}"


@contextlib.contextmanager
def viewer_that_does_not_read(url: str, device_id: str) -> Iterator[socket.socket]:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect((host, int(port)))
        raw.sendall(f"GET {address(device_id)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert raw.recv(12) == b"HTTP/1.1 200"
        yield raw


def test_it_is_cut_off_long_before_its_ticket_ends_and_others_lose_nothing(
    feed_url, ingest, alice, device_id, device_token
):
    other = create_device(f"{device_id}_other", owner=alice)
    packets = [{f"metric_{number}": number for number in range(100)}] * 20

    def post(token: str, body: object) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.post(f"{ingest.url}/api/readings", json=body, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text

    with (
        viewer_that_does_not_read(feed_url, device_id) as idle,
        httpx.stream("GET", feed_url + address(other.device_id), timeout=30) as reading,
    ):
        events = reading.iter_lines()
        assert next(events) == ": open"
        assert httpx.get(feed_url + address(device_id)).status_code == 503, "both places are taken"
        began, freed = time.monotonic(), False
        while not freed and time.monotonic() < began + TICKET_SECONDS / 2:
            post(device_token, packets)
            with httpx.stream("GET", feed_url + address(device_id), timeout=30) as third:
                freed = third.status_code == 200
            time.sleep(0.5)  # the feed reads the last 15 s again: more readings would slow it down
        assert freed
        post(issue_device_token(other), {"the_last": 1})
        assert any("the_last" in line for line in events)
        idle.settimeout(60)
        with contextlib.suppress(ConnectionResetError):
            while idle.recv(65536):
                pass  # until the end: the connection is not kept either
