"""Answers that nobody takes and bodies that nobody wants cost neither a thread for ever nor memory or disk."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import httpx
import pytest

from joulebook.web.server import Refused, create_server

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
        assert endless.closed.wait(60)
        assert httpx.get(f"http://127.0.0.1:{port}/brief", timeout=60).text == "brief"
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
    assert endless.closed.wait(60)


class TestBodies:
    """At most 1,000 bytes, but for `/files`, which takes 3 MB of who shows a pass, while there is room."""

    @pytest.fixture
    def address(self) -> Iterator[str]:
        def count(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
            size = sum(len(chunk) for chunk in iter(lambda: environ["wsgi.input"].read(65_536), b""))
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [str(size).encode()]

        def largest(method: str, path: str, headers: Mapping[str, str], size: int) -> int:
            if (method, path, headers.get("AUTHORIZATION")) != ("POST", "/files", "pass"):
                return 1000
            if size == 2_000_000:
                raise Refused("the disk has room for 1 byte")
            return 3_000_001

        server = create_server(count, largest, host="127.0.0.1", port=0, threads=1)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.effective_port}"
        server.trigger.pull_trigger(server.close)
        server.task_dispatcher.shutdown()

    @pytest.mark.parametrize("is_chunked", [False, True])
    def test_a_file_arrives_whole_from_who_may_send_it(self, address: str, is_chunked: bool) -> None:
        body = bytes(2_900_000)
        content = iter([body[:1_500_000], body[1_500_000:]]) if is_chunked else body
        answer = httpx.post(f"{address}/files", content=content, headers={"Authorization": "pass"})
        assert (answer.status_code, answer.text) == (200, "2900000")

    def test_a_usual_request_of_the_same_connection_is_bounded_as_usual(self, address: str) -> None:
        with httpx.Client(base_url=address) as client:
            assert (
                client.post("/files", content=bytes(5000), headers={"Authorization": "pass"}).text == "5000"
            )
            assert client.post("/other", content=bytes(999)).text == "999"
            assert client.post("/other", content=bytes(5000)).status_code == 413

    @pytest.mark.parametrize(
        ("path", "headers", "size", "status"),
        [
            ("/files", "Authorization: pass", 3_000_001, 413),
            ("/files", "Authorization: none", 5000, 413),
            ("/other", "Authorization: pass", 5000, 413),
            ("/files", "Authorization: pass", 2_000_000, 507),
        ],
    )
    def test_who_asks_first_is_refused_before_a_byte_of_the_body(
        self, address: str, path: str, headers: str, size: int, status: int
    ) -> None:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(
                f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\nContent-Length: {size}\r\n"
                "Expect: 100-continue\r\n\r\n".encode()
            )
            assert client.recv(1000).startswith(f"HTTP/1.1 {status} ".encode())

    def test_a_chunked_body_without_end_is_cut_off(self, address: str) -> None:
        sent = 0

        def chunks() -> Iterator[bytes]:
            nonlocal sent
            while True:
                sent += 65_536
                yield bytes(65_536)

        try:
            status = httpx.post(
                f"{address}/files", content=chunks(), headers={"Authorization": "pass"}
            ).status_code
        except httpx.WriteError:  # the server has answered and gone while this was still sending
            status = 413
        assert status == 413
        assert sent < 40_000_000
