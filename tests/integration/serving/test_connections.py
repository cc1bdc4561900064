"""Deadlines, shares and order on raw connections, against a small application in this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from joulebook.serving.guard import Deadlines, Guard
from joulebook.serving.server import Server, Service

from .servers import UNAVAILABLE, running

SHORT = Deadlines(head=1, body=2, body_bytes=100, idle=2, answer=4, discard=2, refused=1)
GET = b"GET /brief HTTP/1.1\r\nHost: x\r\n\r\n"


class Application:
    """Answers by path, and notes what it got and how its streams ended."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.gone = threading.Event()
        self.sent = 0
        self.headers: list[list[tuple[bytes, bytes]]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        self.headers.append(scope["headers"])
        answer = {"/endless": self.endless, "/refuse": self.refuse, "/stream": self.stream}
        await answer.get(scope["path"], self.brief)(receive, send)
        self.headers[-1] = list(scope["headers"])

    async def brief(self, receive: Any, send: Any) -> None:
        """Answer with the size of the body."""
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone.set()
                return
            size += len(message["body"])
            more = message["more_body"]
        body = b"got %d" % size
        await start(send, (b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.body", "body": body})

    async def stream(self, _receive: Any, send: Any) -> None:
        await start(send)
        for piece in (b"one ", b"two ", b"three"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def endless(self, receive: Any, send: Any) -> None:
        await start(send)
        await receive()
        gone = asyncio.ensure_future(receive())
        while not gone.done():
            await send({"type": "http.response.body", "body": bytes(65_536), "more_body": True})
            self.sent += 65_536
            await asyncio.sleep(0)
        self.ended.set()

    async def refuse(self, _receive: Any, send: Any) -> None:
        """Answer without a look at the body."""
        await start(send, (b"content-length", b"3"), (b"connection", b"close"), status=413)
        await send({"type": "http.response.body", "body": b"no\n"})


async def start(send: Any, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def serving(application: Application) -> Iterator[Callable[[Guard], int]]:
    with contextlib.ExitStack() as stack:

        def serve(guard: Guard) -> int:
            return stack.enter_context(running(Server(Service(application, "", 0, guard, UNAVAILABLE))))

        yield serve


@pytest.fixture
def port(serving: Callable[[Guard], int]) -> int:
    return serving(Guard(100, deadlines=SHORT))


def connect(port: int, *, source: str = "127.0.0.1") -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one


def to_the_end(one: socket.socket) -> bytes:
    """Return everything until the server closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while more := one.recv(65_536):
            received += more
    return received


def answer(one: socket.socket) -> bytes:
    """Return one answer of a known length."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = one.recv(1)
        assert more, f"closed after {received!r}"
        received += more
    length = int(received.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while length:
        more = one.recv(length)
        assert more
        received, length = received + more, length - len(more)
    return received


class TestDeadlines:
    def test_a_client_that_says_nothing_is_closed_without_a_word(self, port):
        with connect(port) as silent:
            assert to_the_end(silent) == b""

    @pytest.mark.parametrize("before", [b"", GET])
    def test_a_head_that_comes_byte_by_byte_is_ended_on_a_first_and_on_a_kept_connection(self, port, before):
        with connect(port) as slow:
            if before:
                slow.sendall(before)
                assert answer(slow).endswith(b"got 0")
            began = time.monotonic()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for byte in b"GET /brief HTTP/1.1\r\nX-Name: " + bytes([120]) * 10_000:
                    slow.sendall(bytes([byte]))
                    slow.settimeout(0.1)
                    with contextlib.suppress(TimeoutError):
                        if slow.recv(100, socket.MSG_PEEK):
                            break
            slow.settimeout(10)
            assert to_the_end(slow).startswith(b"HTTP/1.1 408 ")
            assert time.monotonic() - began < 20

    def test_blank_lines_are_no_request(self, port):
        with connect(port) as blank:
            received = b""
            blank.settimeout(0.1)
            for _ in range(200):
                try:
                    blank.sendall(b"\r\n")
                    received = blank.recv(100)
                except TimeoutError:
                    continue
                except OSError:
                    pass
                break
            assert not received or received.startswith(b"HTTP/1.1 408 ")

    def test_a_kept_connection_without_a_further_request_is_closed(self, port):
        with connect(port) as idle:
            idle.sendall(GET)
            assert answer(idle).endswith(b"got 0")
            assert to_the_end(idle) == b""

    @pytest.mark.parametrize(
        "head", [b"Content-Length: 100000\r\n\r\nxyz", b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc"]
    )
    def test_a_body_that_stops_coming_is_ended(self, port, application, head):
        with connect(port) as stopped:
            stopped.sendall(b"POST /brief HTTP/1.1\r\nHost: x\r\n" + head)
            assert to_the_end(stopped).startswith(b"HTTP/1.1 408 ")
        assert application.gone.wait(10)

    def test_a_body_that_comes_slowly_but_steadily_is_taken(self, port):
        with connect(port) as slow:
            slow.sendall(b"POST /brief HTTP/1.1\r\nHost: x\r\nContent-Length: 1200\r\n\r\n")
            for _ in range(12):  # six seconds, where two without a hundred bytes would end it
                time.sleep(0.5)
                slow.sendall(bytes(100))
            assert answer(slow).endswith(b"got 1200")

    def test_a_client_that_takes_nothing_is_given_up(self, port, application):
        with connect(port) as stalled:
            stalled.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
            assert application.ended.wait(30)
            assert application.sent < 50_000_000

    def test_a_client_that_takes_slowly_is_served_on(self, port, application):
        with connect(port) as slow:
            slow.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
            for _ in range(25):
                assert slow.recv(1024 * 1024)
                time.sleep(0.3)
            assert not application.ended.is_set()
        assert application.ended.wait(30)


class TestOrder:
    @pytest.mark.parametrize(
        "headers",
        [
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            b"Content-Length: 5\r\nContent-Length: 6\r\n",
        ],
    )
    def test_two_lengths_are_refused_and_nothing_behind_them_is_a_request(self, port, application, headers):
        with connect(port) as smuggler:
            smuggler.sendall(b"POST /brief HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n0\r\n\r\n" + GET)
            received = to_the_end(smuggler)
        assert received.startswith(b"HTTP/1.1 400 ")
        assert received.count(b"HTTP/1.1 ") == 1
        assert application.headers == []

    def test_a_head_without_end_is_refused(self, port):
        with connect(port) as endless:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                endless.sendall(b"GET /brief HTTP/1.1\r\nX-Name: ")
                for _ in range(200):
                    endless.sendall(bytes([120]) * 10_000)
            assert to_the_end(endless)[:13] in {
                b"HTTP/1.1 431 ",
                b"",
            }  # lost where the client went on sending
        with connect(port) as other:
            other.sendall(GET)
            assert answer(other).endswith(b"got 0")

    def test_what_comes_behind_a_body_is_no_header(self, port, application):
        with connect(port) as client:
            client.sendall(
                b"POST /brief HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3\r\nabc\r\n0\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n"
            )
            assert answer(client).endswith(b"got 3")
        assert b"x-forwarded-for" not in dict(application.headers[0])

    def test_a_mistake_behind_a_request_is_answered_behind_its_answer(self, port):
        with connect(port) as client:
            client.sendall(GET + b"what is this\r\n\r\n")
            received = to_the_end(client)
        assert received.startswith(b"HTTP/1.1 200 ")

    def test_an_old_client_gets_no_chunks(self, port):
        with connect(port) as old:
            old.sendall(b"GET /stream HTTP/1.0\r\nHost: x\r\n\r\n")
            head, _, body = to_the_end(old).partition(b"\r\n\r\n")
        assert b"chunked" not in head.lower()
        assert body == b"one two three"

    def test_an_answer_to_a_body_that_is_not_wanted_reaches_a_client_that_goes_on_sending(self, port):
        with connect(port) as client:
            client.sendall(b"POST /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n")
            for _ in range(20):
                client.sendall(bytes(1_000_000))
            assert to_the_end(client).endswith(b"\r\n\r\nno\n")

    def test_a_body_that_is_not_wanted_and_never_ends_is_cut_off(self, port):
        with connect(port) as client:
            client.sendall(b"POST /refuse HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            sent = 0
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                while sent < 1_000_000_000:
                    client.sendall(b"10000\r\n" + bytes(65_536) + b"\r\n")
                    sent += 65_536


class TestShares:
    def test_silent_connections_of_one_address_keep_no_other_out(self, serving):
        port = serving(Guard(24))
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(connect(port, source="127.0.0.2")) for _ in range(24)]
            asked = 0
            until = time.monotonic() + 5
            while time.monotonic() < until:
                for number in range(1, 6):
                    source = "127.0.0.1" if number == 1 else f"127.0.1.{number}"
                    with connect(port, source=source) as honest:
                        honest.sendall(GET)
                        assert answer(honest).startswith(b"HTTP/1.1 200 ")
                        asked += 1
                # As many again as were given up.
                held.append(stack.enter_context(connect(port, source="127.0.0.2")))
                time.sleep(0.02)
            assert asked > 20

    def test_kept_connections_of_one_address_keep_no_other_out(self, serving):
        port = serving(Guard(24))
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(connect(port, source="127.0.0.2")) for _ in range(24)]
            for one in held:
                one.sendall(GET)
                answer(one)
            surplus = stack.enter_context(connect(port, source="127.0.0.2"))
            surplus.sendall(GET)
            assert answer(surplus).startswith(b"HTTP/1.1 503 ")
            for number in range(10):
                honest = stack.enter_context(connect(port, source=f"127.0.1.{number}"))
                honest.sendall(GET)
                assert answer(honest).startswith(b"HTTP/1.1 200 ")

    def test_one_that_is_too_many_and_asks_nothing_is_not_kept(self, serving):
        port = serving(Guard(1, deadlines=SHORT))
        with connect(port) as first, connect(port) as surplus:
            first.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
            first.recv(1)
            assert to_the_end(surplus) == b""
