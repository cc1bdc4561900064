"""A simulated device's outbox with the client's sender, against a real HTTP server answering as a test says."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from joulebook.client.sender import Sender, http_client
from joulebook.simulator.fleet import Fleet
from joulebook.simulator.run import Outbox, Simulator
from joulebook.simulator.tokens import DeviceCredentials

HANGS_UP: tuple[int, dict[str, str], bytes] = (0, {}, b"")


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


def deliver(url: str, outbox: Outbox, times: int = 1) -> tuple[Sender, list[float]]:
    with http_client(url, timeout=15.0) as http:
        sender = Sender(url, lambda: "jbd_secret", outbox, batch=50, http=http)
        return sender, [sender.attempt() or 0.0 for _ in range(times)]


def url_of(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def outbox_with(count: int) -> Outbox:
    outbox = Outbox(room=100)
    for number in range(count):
        outbox.add(json.dumps({"power": number}).encode())
    return outbox


def test_what_is_stored_is_counted_and_forgotten(server: Server) -> None:
    server.answers = [(200, {}, b'{"accepted": 3, "duplicate": 1, "rejected": [], "ignored": []}')]
    outbox = outbox_with(4)
    sender, pauses = deliver(url_of(server), outbox)
    assert len(outbox) == 0
    assert pauses == [0.0]
    assert (sender.counts.sent, sender.counts.stored, sender.counts.duplicates) == (4, 3, 1)
    path, authorization, body = server.requests[0]
    assert (path, authorization) == ("/api/readings", "Bearer jbd_secret")
    assert [json.loads(line) for line in body.splitlines()] == [{"power": number} for number in range(4)]


def test_one_packet_travels_by_itself(server: Server) -> None:
    server.answers = [(200, {}, b'{"accepted": 1}')]
    deliver(url_of(server), outbox_with(1))
    assert json.loads(server.requests[0][2]) == {"power": 0}


def test_what_will_never_be_taken_is_told_and_discarded(server: Server) -> None:
    server.answers = [
        (422, {}, b'{"accepted": 1,\n "rejected_total": 1, "rejected": [{"code": "time_future"}]}')
    ]
    outbox = outbox_with(2)
    sender, pauses = deliver(url_of(server), outbox)
    assert len(outbox) == 0
    assert pauses == [0.0]
    assert (sender.counts.stored, sender.counts.refused) == (1, 1)
    assert "time_future" in sender.counts.last_refusal
    assert "\n" not in sender.counts.last_refusal


def test_a_request_that_is_too_large_is_sent_in_halves(server: Server) -> None:
    server.answers = [(413, {}, b""), (413, {}, b""), *[(200, {}, b'{"accepted": 1}')] * 4]
    outbox = outbox_with(4)
    sender, _ = deliver(url_of(server), outbox, times=6)
    assert len(outbox) == 0
    sizes = [body.count(b"power") for _, _, body in server.requests]
    assert sizes == [4, 2, 1, 1, 1, 1]
    assert (sender.counts.sent, sender.counts.refused) == (4, 0)


def test_a_single_packet_that_is_too_large_is_discarded(server: Server) -> None:
    server.answers = [(413, {}, b"")]
    outbox = outbox_with(1)
    sender, _ = deliver(url_of(server), outbox)
    assert len(outbox) == 0
    assert sender.counts.refused == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_device_keeps_its_packets_and_the_person_is_told(server: Server, status: int) -> None:
    server.answers = [(status, {}, b'{"detail": "token revoked"}')]
    outbox = outbox_with(2)
    sender, (pause,) = deliver(url_of(server), outbox)
    assert len(outbox) == 2
    assert pause > 0
    assert sender.counts.trouble.startswith(f'{status} {{"detail": "token revoked"}}')


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_the_same_batch_is_sent_again_after_as_long_as_the_server_asks(server: Server, status: int) -> None:
    server.answers = [(status, {"Retry-After": "7"}, b"draining"), (200, {}, b'{"accepted": 2}')]
    outbox = outbox_with(2)
    sender, (pause, _) = deliver(url_of(server), outbox, times=2)
    assert 7.0 <= pause <= 7.5
    assert server.requests[0][2] == server.requests[1][2]
    assert sender.counts.trouble == "", "it is over"
    assert sender.counts.sent == 2


def test_without_an_answer_pauses_grow_and_nothing_is_lost() -> None:
    outbox = outbox_with(2)
    sender, pauses = deliver("http://127.0.0.1:1", outbox, times=12)
    assert len(outbox) == 2
    assert max(pauses) <= 30
    assert all(0.25 * 2**index <= pause <= 0.5 * 2**index for index, pause in enumerate(pauses[:6]))
    assert "no answer" in sender.counts.trouble


def test_a_server_that_hangs_up_is_sent_the_same_batch_again(server: Server) -> None:
    server.answers = [HANGS_UP, (200, {}, b'{"accepted": 0, "duplicate": 2}')]
    outbox = outbox_with(2)
    sender, (pause, _) = deliver(url_of(server), outbox, times=2)
    assert pause > 0
    assert server.requests[0] == server.requests[1]
    assert (sender.counts.sent, sender.counts.duplicates) == (2, 2)


def test_trouble_of_one_device_is_not_over_because_another_has_none(server: Server) -> None:
    server.answers = [(401, {}, b"no"), (200, {}, b'{"accepted": 1}'), (401, {}, b"no")]
    tokens = [DeviceCredentials(f"device_00{number}", "jbd_secret") for number in (1, 2, 3)]
    fleet = Fleet([device_id for device_id, _ in tokens], start=1_760_000_000)
    simulator = Simulator(fleet, tokens, url_of(server), batch=1, buffer=30, connections=1)
    for outbox, sender in zip(simulator._outboxes, simulator._senders, strict=True):
        outbox.add(b"{}")
        sender.attempt()
    simulator.close()
    progress = simulator.progress
    assert progress.trouble.startswith("device_001 and 1 more: 401 no")
    assert (progress.sent, progress.waiting) == (1, 2)


def test_a_path_in_the_address_is_kept(server: Server) -> None:
    server.answers = [(200, {}, b'{"accepted": 1}')]
    deliver(f"{url_of(server)}/behind/a/proxy/api/readings", outbox_with(1))
    assert server.requests[0][0] == "/behind/a/proxy/api/readings"
