"""The client's rule, against a real HTTP server that answers as it is told."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from joulebook.client.rule import judge, retry_after_seconds
from joulebook.simulator.client import Client
from joulebook.simulator.outbox import Outbox

HANGS_UP: tuple[int, dict[str, str], bytes] = (0, {}, b"")
NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


class Server(http.server.ThreadingHTTPServer):
    """Answers with the next of `answers` (status, headers, body), and keeps what it was sent."""

    answers: list[tuple[int, dict[str, str], bytes]]
    requests: list[tuple[str, str, bytes]]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, self.headers["Authorization"], body))
        status, headers, answer = self.server.answers.pop(0)
        if not status:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.answers, server.requests = [], []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def deliver(url: str, outbox: Outbox, times: int = 1) -> tuple[Client, list[float]]:
    async def run() -> tuple[Client, list[float]]:
        client = Client(url, connections=1)
        pauses = [await client.deliver(outbox) for _ in range(times)]
        await client.close()
        return client, pauses

    return asyncio.run(run())


def url_of(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def outbox_with(count: int) -> Outbox:
    outbox = Outbox("device_001", "jbd_secret", room=100, largest=50)
    for number in range(count):
        outbox.add(json.dumps({"power": number}).encode())
    return outbox


def test_what_is_stored_is_counted_and_forgotten(server: Server) -> None:
    server.answers = [(200, {}, b'{"accepted": 3, "duplicate": 1, "rejected": [], "ignored": []}')]
    outbox = outbox_with(4)
    client, pauses = deliver(url_of(server), outbox)
    assert len(outbox) == 0
    assert pauses == [0.0]
    assert (client.counts.sent, client.counts.stored, client.counts.duplicates) == (4, 3, 1)
    path, authorization, body = server.requests[0]
    assert (path, authorization) == ("/api/readings", "Bearer jbd_secret")
    assert json.loads(body) == [{"power": number} for number in range(4)]


def test_one_packet_travels_by_itself(server: Server) -> None:
    server.answers = [(200, {}, b"{}")]
    deliver(url_of(server), outbox_with(1))
    assert json.loads(server.requests[0][2]) == {"power": 0}


@pytest.mark.parametrize("status", [400, 422])
def test_what_will_never_be_taken_is_told_and_discarded(server: Server, status: int) -> None:
    server.answers = [
        (status, {}, b'{"accepted": 1,\n "duplicate": 0, "rejected": [{"code": "time_future"}]}')
    ]
    outbox = outbox_with(2)
    client, pauses = deliver(url_of(server), outbox)
    assert len(outbox) == 0
    assert pauses == [0.0]
    assert (client.counts.stored, client.counts.refused) == (1, 2)
    assert "time_future" in client.counts.remark
    assert "\n" not in client.counts.remark


def test_a_request_that_is_too_large_is_sent_in_halves(server: Server) -> None:
    server.answers = [(413, {}, b""), (413, {}, b""), *[(200, {}, b'{"accepted": 1}')] * 4]
    outbox = outbox_with(4)
    client, _ = deliver(url_of(server), outbox, times=6)
    assert len(outbox) == 0
    sizes = [body.count(b"power") for _, _, body in server.requests]
    assert sizes == [4, 2, 1, 1, 1, 1]
    assert (client.counts.sent, client.counts.refused) == (4, 0)


def test_a_single_packet_that_is_too_large_is_discarded(server: Server) -> None:
    server.answers = [(413, {}, b"")]
    outbox = outbox_with(1)
    client, _ = deliver(url_of(server), outbox)
    assert len(outbox) == 0
    assert client.counts.refused == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_device_keeps_its_packets_and_the_person_is_told(server: Server, status: int) -> None:
    server.answers = [(status, {}, b'{"detail": "token revoked"}')]
    outbox = outbox_with(2)
    client, (pause,) = deliver(url_of(server), outbox)
    assert len(outbox) == 2
    assert pause >= 10
    assert client.counts.trouble == f'device_001: {status} {{"detail": "token revoked"}}'


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_the_same_batch_is_sent_again_after_as_long_as_the_server_asks(server: Server, status: int) -> None:
    server.answers = [(status, {"Retry-After": "7"}, b"draining"), (200, {}, b'{"accepted": 2}')]
    outbox = outbox_with(2)
    client, (pause, _) = deliver(url_of(server), outbox, times=2)
    assert 7.0 <= pause <= 7.5
    assert server.requests[0][2] == server.requests[1][2]
    assert client.counts.trouble == "", "it is over"
    assert client.counts.sent == 2


def test_without_an_answer_pauses_grow_and_nothing_is_lost() -> None:
    outbox = outbox_with(2)
    client, pauses = deliver("http://127.0.0.1:1", outbox, times=12)
    assert len(outbox) == 2
    assert max(pauses) <= 30
    assert all(0.25 * 2**index <= pause <= 0.5 * 2**index for index, pause in enumerate(pauses[:6]))
    assert "no answer" in client.counts.trouble


def test_a_server_that_hangs_up_is_sent_the_same_batch_again(server: Server) -> None:
    server.answers = [HANGS_UP, (200, {}, b'{"accepted": 0, "duplicate": 2}')]
    outbox = outbox_with(2)
    client, (pause, _) = deliver(url_of(server), outbox, times=2)
    assert pause > 0
    assert server.requests[0] == server.requests[1]
    assert (client.counts.sent, client.counts.duplicates) == (2, 2)


def test_trouble_of_one_device_is_not_over_because_another_has_none(server: Server) -> None:
    server.answers = [(401, {}, b"no"), (200, {}, b'{"accepted": 1}'), (401, {}, b"no")]

    async def run() -> Client:
        client = Client(url_of(server), connections=1)
        for name in ("device_001", "device_002", "device_003"):
            outbox = Outbox(name, "jbd_secret", room=10, largest=10)
            outbox.add(b"{}")
            await client.deliver(outbox)
        await client.close()
        return client

    assert asyncio.run(run()).counts.trouble == "device_001 and 1 more: 401 no"


def test_a_path_in_the_address_is_kept(server: Server) -> None:
    server.answers = [(200, {}, b"{}")]
    deliver(f"{url_of(server)}/behind/a/proxy/api/readings", outbox_with(1))
    assert server.requests[0][0] == "/behind/a/proxy/api/readings"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("12", 12.0),
        ("999999999", 3600.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, now=NOW) == seconds


def test_every_status_has_one_meaning() -> None:
    meanings = {status: judge(status).name for status in (200, 204, 307, 400, 401, 413, 422, 429, 500, 503)}
    assert meanings == {
        200: "STORED",
        204: "STORED",
        307: "NOT_ALLOWED",
        400: "BAD",
        401: "NOT_ALLOWED",
        413: "TOO_LARGE",
        422: "BAD",
        429: "LATER",
        500: "LATER",
        503: "LATER",
    }
