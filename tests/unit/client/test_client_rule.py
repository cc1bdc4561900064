"""The client's rule: over a real HTTP server, and in every order against a scripted one with crashes between any two steps."""

from __future__ import annotations

import gzip
import http.server
import json
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from joulebook.client import BufferFull, Client, ClientClosed, UnusablePacket
from joulebook.client.buffer import Buffer
from joulebook.client.sender import Sender

Answer = tuple[int, dict[str, str], bytes]
OK: Answer = (200, {}, b'{"accepted": 1, "duplicate": 0, "rejected": [], "ignored": []}')


class Server(http.server.ThreadingHTTPServer):
    """Answers with the next of `answers`, the last one for ever, and keeps the packets it was sent."""

    answers: list[Answer]
    requests: list[list[dict[str, Any]]]
    headers: list[dict[str, str]]


def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.requests.append([json.loads(line) for line in body.splitlines()])
        self.server.headers.append({**dict(self.headers.items()), "path": self.path})
        status, headers, answer = self.server.answers[0]
        if len(self.server.answers) > 1:
            self.server.answers.pop(0)
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
        server.answers, server.requests, server.headers = [OK], [], []
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def client_of(server: Server, folder: Path, **options: Any) -> Client:
    return Client(f"http://127.0.0.1:{server.server_port}", "jbd_secret", buffer=folder, **options)


def test_a_packet_is_sent_with_its_time_and_forgotten(server: Server, tmp_path: Path) -> None:
    with client_of(server, tmp_path) as client:
        client.send({"power": 1.5})
        assert client.flush(timeout=60)
        assert (client.status.waiting, client.status.sent, client.status.stored) == (0, 1, 1)
    ((packet,),) = server.requests
    assert packet["power"] == 1.5
    assert packet["timestamp"].endswith("+00:00")
    assert server.headers[0]["path"] == "/api/readings"
    assert server.headers[0]["Authorization"] == "Bearer jbd_secret"


def test_what_is_handed_over_at_once_travels_compressed_and_in_order(server: Server, tmp_path: Path) -> None:
    with client_of(server, tmp_path, background=False, batch=100) as client:
        client.send_all({"power": number} for number in range(250))
        assert client.flush(timeout=60)
    assert [len(request) for request in server.requests] == [100, 100, 50]
    assert [packet["power"] for request in server.requests for packet in request] == list(range(250))
    stamps = [packet["timestamp"] for request in server.requests for packet in request]
    assert sorted(set(stamps)) == stamps, "no time is given twice"
    assert server.headers[0]["Content-Encoding"] == "gzip"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 0])
def test_the_same_is_sent_again_until_it_is_taken(server: Server, tmp_path: Path, status: int) -> None:
    server.answers = [(status, {"Retry-After": "1"}, b"draining"), OK]
    with client_of(server, tmp_path) as client:
        begin = time.monotonic()
        client.send({"power": 1})
        assert client.flush(timeout=60)
        took = time.monotonic() - begin
        assert client.status.trouble == ""
        assert client.status.last_error
    assert server.requests[0] == server.requests[1], "with the same time"
    assert took >= (1.0 if status else 0.2)


@pytest.mark.parametrize(
    "answer",
    [
        (401, {}, b'{"code": "unauthorized"}'),
        (403, {}, b"forbidden"),
        (404, {}, b"not here"),
        (301, {"Location": "https://elsewhere.example"}, b""),
        (200, {}, b"<html>Please sign in to the guests' network</html>"),
        (400, {}, b"<html>The plain HTTP request was sent to HTTPS port</html>"),
        (204, {}, b""),
    ],
)
def test_what_nobody_has_taken_is_kept_and_told(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, answer: Answer
) -> None:
    server.answers = [answer, answer, OK]
    with client_of(server, tmp_path) as client:
        client.send({"power": 1})
        until(lambda: client.status.trouble)
        assert not client.flush(timeout=0)
        assert client.status.waiting == 1
        assert client.status.trouble.startswith(str(answer[0]))
        assert "until the token or the address is fixed" in client.status.trouble
        assert client.flush(timeout=60)
    assert [request[0]["power"] for request in server.requests] == [1, 1, 1]
    assert "secret" not in caplog.text
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1, "told once, not at each attempt"


def test_what_is_refused_is_discarded_and_told_with_its_reason(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = {
        "accepted": 1, "duplicate": 0, "rejected_total": 1,
        "rejected": [{"index": 1, "metric": None, "code": "time_future", "message": "too far"}],
    }  # fmt: skip
    server.answers = [(422, {}, json.dumps(told).encode()), OK]
    with client_of(server, tmp_path, background=False) as client:
        client.send_all([{"power": 1}, {"power": 2}])
        assert client.flush(timeout=60)
        status = client.status
    assert (status.waiting, status.sent, status.stored, status.refused) == (0, 2, 1, 1)
    assert len(server.requests) == 1
    assert "time_future: too far" in caplog.text
    assert '"power":2' in caplog.text


def test_a_request_that_is_too_large_is_halved_and_grows_again(server: Server, tmp_path: Path) -> None:
    server.answers = [(413, {}, b""), (413, {}, b""), OK]
    with client_of(server, tmp_path, background=False, batch=40) as client:
        client.send_all({"power": number} for number in range(400))
        assert client.flush(timeout=20)
    sizes = [len(request) for request in server.requests]
    assert sizes[:4] == [40, 20, 10, 10]
    assert max(sizes[3:]) > 10
    assert [packet["power"] for request in server.requests[2:] for packet in request] == list(range(400))


def test_one_packet_that_cannot_be_read_or_is_too_large_costs_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for status in (400, 413):
        stored: list[int] = []

        def answer(
            request: httpx.Request, status: int = status, stored: list[int] = stored
        ) -> httpx.Response:
            body = request.content
            if request.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            numbers = [json.loads(line)["power"] for line in body.splitlines()]
            if 33 in numbers:
                return httpx.Response(status, json={"code": "unparsable", "message": "33"})
            stored.extend(numbers)
            return httpx.Response(200, json={"accepted": len(numbers), "duplicate": 0})

        with Client(
            "http://ingest", "t", buffer=tmp_path / str(status), background=False,
            transport=httpx.MockTransport(answer),
        ) as client:  # fmt: skip
            client.send_all({"power": number} for number in range(100))
            assert client.flush(timeout=20)
            assert client.status.refused == 1
        assert stored == [number for number in range(100) if number != 33]
    assert caplog.text.count("refused for good") == 2


def test_a_new_token_is_used_without_a_restart(server: Server, tmp_path: Path) -> None:
    tokens = iter(["old", "new"])
    server.answers = [(401, {}, b"no"), OK]
    with Client(
        f"http://127.0.0.1:{server.server_port}/behind/a/proxy", lambda: next(tokens), buffer=tmp_path
    ) as client:
        client.send({"power": 1})
        assert client.flush(timeout=60)
    assert [header["Authorization"] for header in server.headers] == ["Bearer old", "Bearer new"]
    assert server.headers[0]["path"] == "/behind/a/proxy"


def test_a_token_that_cannot_be_read_keeps_the_packets(server: Server, tmp_path: Path) -> None:
    def token() -> str:
        raise FileNotFoundError("the token's file is gone")

    client = Client(f"http://127.0.0.1:{server.server_port}", token, buffer=tmp_path, background=False)
    client.send({"power": 1})
    assert not client.flush(timeout=0.3)
    assert "file is gone" in client.status.trouble
    assert client.status.waiting == 1
    client.close(timeout=0)
    assert server.requests == []


def test_closing_ends_in_time_though_the_server_does_not_answer(tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as silent:  # accepts, and says nothing
        client = Client(f"http://127.0.0.1:{silent.server_port}", "t", buffer=tmp_path)
        client.send({"power": 1})
        time.sleep(0.3)
        begin = time.monotonic()
        client.close(timeout=0.5)
        assert time.monotonic() - begin < 25, "the answer is waited for, for 30 s"
    with pytest.raises(ClientClosed):
        client.send({"power": 2})
    buffer = Buffer(tmp_path, room=100, drop_oldest=False)
    assert buffer.count == 1, "what was not answered for is there for the next client"
    buffer.close()


def test_closing_sends_what_waits(server: Server, tmp_path: Path) -> None:
    server.answers = [(503, {"Retry-After": "1"}, b""), OK]
    client = client_of(server, tmp_path)
    client.send({"power": 1})
    client.close(timeout=10)
    assert client.status.waiting == 0
    assert len(server.requests) == 2


def test_a_full_buffer_refuses_and_an_unusable_packet_takes_none_of_its_company(
    server: Server, tmp_path: Path
) -> None:
    client = client_of(server, tmp_path, background=False, room=256 * 1024)
    with pytest.raises(UnusablePacket):
        client.send_all([{"power": 1}, {"power": object()}], bookmark="2")
    assert (client.status.waiting, client.bookmark) == (0, None)
    with pytest.raises(BufferFull):
        for _ in range(100):
            client.send({"name": "x" * 10_000})
    assert 20 < client.status.waiting < 27
    client.close()


@pytest.mark.parametrize(
    ("url", "token"), [("localhost", "t"), ("http://a:b@c", "t"), ("http://a/?t=1", "t"), ("http://a", ""), ("http://a", "two words")]
)  # fmt: skip
def test_what_cannot_work_is_refused_at_once_and_shows_no_token(tmp_path: Path, url: str, token: str) -> None:
    with pytest.raises(ValueError, match=r"url|token") as caught:
        Client(url, token, buffer=tmp_path / "b")
    assert "two words" not in str(caught.value)
    assert not (tmp_path / "b").exists()


class Crash(BaseException):
    """The process ends here."""


class HandedOverIsStoredOnce(RuleBasedStateMachine):
    """An ingest in memory that keys readings as the real one does, and a client that dies at any step."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.folder = self.root / "0"
        self.lives = 0
        self.handed_over: list[int] = []
        self.bad: set[int] = set()
        self.stored: dict[str, int] = {}
        self.doubled = 0
        self.script: list[str] = []
        self.most = 1_000
        self.open()

    def open(self) -> None:
        self.buffer = Buffer(self.folder, room=1_000_000, drop_oldest=False)
        transport = httpx.MockTransport(self.ingest)
        self.http = httpx.Client(transport=transport)
        self.sender = Sender("http://ingest", lambda: "t", self.buffer, batch=8, http=self.http)

    def ingest(self, request: httpx.Request) -> httpx.Response:
        act = self.script.pop(0) if self.script else "take"
        if act == "die before":
            raise Crash
        if act == "away":
            raise httpx.ConnectError("away")
        if act.isdigit():
            return httpx.Response(int(act), headers={"Retry-After": "0"}, json={"code": "x"})
        body = request.content
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        packets = [json.loads(line) for line in body.splitlines()]
        if len(packets) > self.most:
            return httpx.Response(413, json={"code": "too_large"})
        if any(packet["n"] in self.bad and packet["n"] % 2 for packet in packets):
            return httpx.Response(400, json={"code": "unparsable"})
        rejected = [
            {"index": index, "code": "value_type", "message": ""}
            for index, packet in enumerate(packets)
            if packet["n"] in self.bad
        ]
        accepted = duplicate = 0
        for packet in packets:
            if packet["n"] in self.bad:
                continue
            known = self.stored.setdefault(packet["timestamp"], packet["n"])
            self.doubled += known != packet["n"]
            accepted += 1
        if act == "die after":
            raise Crash
        if act == "lose the answer":
            raise httpx.ReadTimeout("no answer")
        told = {
            "accepted": accepted,
            "duplicate": duplicate,
            "rejected": rejected,
            "rejected_total": len(rejected),
        }
        return httpx.Response(422 if rejected else 200, json=told)

    @rule(count=st.integers(1, 12), bad=st.sets(st.integers(0, 11), max_size=2))
    def hand_over(self, count: int, bad: set[int]) -> None:
        first = len(self.handed_over)
        numbers = list(range(first, first + count))
        self.bad |= {first + index for index in bad if index < count}
        self.handed_over += numbers
        self.buffer.append([json.dumps({"n": n, "timestamp": f"t{n}"}).encode() for n in numbers])

    @rule(
        script=st.lists(
            st.sampled_from(
                [
                    "away",
                    "401",
                    "403",
                    "404",
                    "429",
                    "500",
                    "503",
                    "lose the answer",
                    "die before",
                    "die after",
                    "take",
                ]
            ),
            min_size=1,
            max_size=4,
        )
    )
    def attempt(self, script: list[str]) -> None:
        self.script = list(script)
        while self.script:
            try:
                if self.sender.attempt() is None:
                    break
            except Crash:
                self.crash()

    @rule()
    def crash(self) -> None:
        """Go on from what is on the disk at this moment, as after kill -9."""
        self.lives += 1
        after = self.root / str(self.lives)
        shutil.copytree(self.folder, after)
        self.http.close()
        self.buffer.close()
        self.folder = after
        self.open()

    @precondition(lambda self: self.most > 100)
    @rule(most=st.integers(1, 5))
    def take_small_requests_only(self, most: int) -> None:
        self.most = most

    @invariant()
    def nothing_is_lost(self) -> None:
        waiting = self.buffer.oldest(most=100_000, most_bytes=100_000_000)
        left = {json.loads(body)["n"] for body in waiting.bodies} if waiting else set()
        assert left | set(self.stored.values()) | self.bad == set(self.handed_over)
        assert self.doubled == 0
        assert self.buffer.count == len(left)

    def teardown(self) -> None:
        self.script = []
        for _ in range(100_000):
            if self.sender.attempt() is None:
                break
        assert self.buffer.count == 0
        assert set(self.stored.values()) == set(self.handed_over) - self.bad, "sent - stored = 0"
        self.http.close()
        self.buffer.close()
        shutil.rmtree(self.root)


HandedOverIsStoredOnce.TestCase.settings = settings(
    max_examples=60, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHandedOverIsStoredOnce = HandedOverIsStoredOnce.TestCase
