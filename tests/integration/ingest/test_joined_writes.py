"""Answers leave in one piece, and nothing waits for a body that does not come."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest


@pytest.fixture
def raw(ingest) -> Iterator[socket.socket]:
    """A connection to ingest by hand."""
    where = urlsplit(ingest.url)
    with contextlib.closing(socket.create_connection((where.hostname, where.port), timeout=10)) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield one


@pytest.fixture
def packet(device_token):
    """A request that stores one reading, or asks for leave to send it first."""

    def make(value: int, *, expect: str = "") -> tuple[bytes, bytes]:
        body = b'{"timestamp": "2026-03-01T12:%02d:00Z", "power": %d}' % (value, value)
        head = (
            f"POST /api/readings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {device_token}\r\n"
            f"{expect}Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode(), body

    return make


def test_an_answer_arrives_in_one_piece(raw, packet):
    for value in range(30):
        raw.sendall(b"".join(packet(value)))
        answer = raw.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b'"ignored":[]}\n')


def test_answers_to_requests_that_were_sent_together_come_in_order(raw, packet):
    good, bad = b"".join(packet(40)), b"".join(packet(41)).replace(b"Bearer ", b"Bearer x")
    raw.sendall(good + bad + good)
    answers = b""
    while answers.count(b"HTTP/1.1 ") < 3 or not answers.endswith(b"}\n"):
        answers += raw.recv(65_536)
    first, second, third = answers.split(b"HTTP/1.1 ")[1:]
    assert b'"accepted":1' in first
    assert second.startswith(b"401 ")
    assert b'"duplicate":1' in third


@pytest.mark.parametrize(
    ("request_line", "status"), [("HEAD /livez", b"HTTP/1.1 "), ("HEAD /ping", b"HTTP/1.1 204")]
)
def test_an_answer_without_a_body_does_not_wait_for_one(raw, request_line, status):
    for _ in range(2):
        raw.sendall(f"{request_line} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = raw.recv(65_536)
        assert answer.startswith(status)
        assert answer.endswith(b"\r\n\r\n")


def test_a_client_that_asks_for_leave_to_send_its_body_gets_it(raw, packet):
    head, body = packet(50, expect="Expect: 100-continue\r\n")
    raw.sendall(head)
    assert raw.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    raw.sendall(body)
    assert raw.recv(65_536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_what_is_no_request_is_answered_and_closed(raw):
    raw.sendall(b"not HTTP at all\r\n\r\n")
    answer = b""
    while more := raw.recv(65_536):
        answer += more
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
