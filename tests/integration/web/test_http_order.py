"""The real web on raw connections: no body behind a HEAD, one length a request, uploads refused before they come."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from joulebook.web.accounts.operations import issue_user_token

from ..devices.test_every_address import address, routes

pytestmark = pytest.mark.django_db(transaction=True)

LIVE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def raw(web: Any) -> Iterator[socket.socket]:
    """A connection to the web by hand."""
    with connect(web) as one:
        yield one


def connect(web: Any) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(web.url.rpartition(":")[2])), timeout=60)


def until(one: socket.socket, received: bytes, end: bytes) -> bytes:
    while end not in received:
        more = one.recv(65_536)
        assert more, f"closed after {received[-300:]!r}"
        received += more
    return received


@pytest.mark.parametrize("who", ["stranger", "session", "token"])
def test_no_body_follows_a_head_of_any_page_or_call_and_the_connection_stays_in_step(
    web, device, alice, client_of, who
):
    headers = "Host: localhost\r\n"
    if who == "session":
        cookies = client_of(alice).cookies.items()
        headers += f"Cookie: {'; '.join(f'{name}={morsel.value}' for name, morsel in cookies)}\r\n"
    elif who == "token":
        headers += f"Authorization: Bearer {issue_user_token(alice)}\r\n"
    statuses = set()
    one = connect(web)
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: one.close())
        for route in sorted(set(routes())):
            path = address(route, device.device_id)
            one.sendall(f"HEAD {path} HTTP/1.1\r\n{headers}\r\n".encode() + LIVE)
            received = until(one, b"", b"\r\n\r\n")
            head, _, rest = received.partition(b"\r\n\r\n")
            statuses.add(int(head[9:12]))
            if b"connection: close" in head.lower():
                one.close()
                one = connect(web)
                continue
            rest = until(one, rest, b'{"status": "ok"}')
            assert rest.startswith(b"HTTP/1.1 200 "), (path, head, rest[:200])
            assert rest.endswith(b'{"status": "ok"}'), path
    assert len(statuses) > 2, statuses


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: xchunked\r\n",
    ],
)
@pytest.mark.parametrize("service", ["web", "ingest"])
def test_a_request_of_two_lengths_is_refused_and_the_connection_closed(request, service, headers):
    where = request.getfixturevalue(service)
    with connect(where) as smuggler:
        smuggler.sendall(
            b"POST /sign-in/ HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n0\r\n\r\n" + LIVE
        )
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while more := smuggler.recv(65_536):
                received += more
    assert re.match(rb"HTTP/1\.1 400 ", received), received[:100]
    assert received.count(b"HTTP/1.1 ") == 1


def test_an_upload_of_a_stranger_is_answered_before_its_body_is_sent(raw):
    raw.sendall(b"POST /api/imports HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
    assert until(raw, b"", b"\r\n\r\n").startswith(b"HTTP/1.1 413 ")


def test_an_upload_that_the_disk_has_no_room_for_is_answered_before_its_body_is_sent(raw, alice, web):
    import dataclasses

    from django.conf import settings

    token = issue_user_token(alice)
    size = dataclasses.asdict(settings.CONFIG)["upload_max_bytes"] * 10**6
    raw.sendall(
        f"POST /api/imports HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: {size}\r\n\r\n".encode()
    )
    assert until(raw, b"", b"\r\n\r\n").startswith(b"HTTP/1.1 507 ")
