"""Waits cost no thread: answers that nobody takes, bodies that nobody ends, and people who ask too much."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from joulebook.config import Config
from joulebook.serving import wsgi
from joulebook.serving.guard import Deadlines, Guard
from joulebook.serving.server import Server, Service
from joulebook.serving.slots import SharedSlots
from joulebook.serving.work import is_client_gone, stopped_with_client
from joulebook.serving.wsgi import Head, Lane, Refused, Rules, WsgiBridge
from joulebook.web.server import rules_of

from ..serving.servers import UNAVAILABLE, running

_CHUNK = bytes(256 * 1024)
_SHORT = Deadlines(body=2, body_bytes=100, answer=3)


class Application:
    """A WSGI application of which each path waits for something else."""

    def __init__(self) -> None:
        self.asked = 0
        self.closed = threading.Event()
        self.release = threading.Event()
        self.working = threading.Semaphore(0)
        self.noticed = threading.Event()
        self.stopped = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/broken":
            raise RuntimeError("this page is broken")
        start_response("200 OK", [("Content-Type", "text/plain")])
        if path == "/endless":
            return self._chunks()
        if path == "/half":
            return self._half()
        if path == "/waits":
            self.working.release()
            assert self.release.wait(60)
        if path == "/long":
            with stopped_with_client(self.stopped.set):
                self.working.release()
                assert self.stopped.wait(60)
                if is_client_gone():
                    self.noticed.set()
        if path == "/size":
            size = sum(len(chunk) for chunk in iter(lambda: environ["wsgi.input"].read(65_536), b""))
            return [str(size).encode()]
        if path == "/environ":
            return [
                f"{name}={environ[name]}\n".encode("latin-1")
                for name in sorted(environ)
                if "wsgi" not in name
            ]
        return [b"brief"]

    def _chunks(self) -> Iterator[bytes]:
        try:
            while True:
                self.asked += 1
                yield _CHUNK
        finally:
            self.closed.set()

    def _half(self) -> Iterator[bytes]:
        yield _CHUNK
        raise RuntimeError("it breaks on its way")


def largest(head: Head) -> int:
    """Take 3 MB of who shows a pass, while there is room."""
    if head.headers.get("AUTHORIZATION") != "pass":
        return 1000
    if head.size == 2_000_000:
        raise Refused(HTTPStatus.INSUFFICIENT_STORAGE, "the disk has room for 1 byte")
    return 3_000_001


def rules(threads: int = 1) -> Rules:
    """The web's own rules, with few threads and small bodies."""
    return replace(
        rules_of(Config.from_environ({})),
        pages=Lane(threads, (max(1, threads // 2), threads), name="pages"),
        streams=Lane(1, (1, 1), name="streams"),
        usual_body=1000,
        may_be_larger=lambda head: head.path == "/size" and not 0 < (head.size or 0) < 1000,
        largest_body=largest,
        check_room=lambda: None,
        answers=SharedSlots(100, (50, 50)),
    )


@pytest.fixture
def application() -> Iterator[Application]:
    made = Application()
    yield made
    made.release.set()
    made.stopped.set()


@pytest.fixture
def serving(application: Application) -> Iterator[Callable[[Rules], int]]:
    with contextlib.ExitStack() as stack:

        def serve(rules: Rules) -> int:
            bridge = WsgiBridge(application, rules)
            service = Service(bridge, "", 0, Guard(200, deadlines=_SHORT), UNAVAILABLE)
            return stack.enter_context(running(Server(service)))

        yield serve
        application.release.set()
        application.stopped.set()


@pytest.fixture
def port(serving: Callable[[Rules], int]) -> int:
    return serving(rules())


def ask(port: int, path: str, *, headers: str = "", method: str = "GET") -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port), timeout=30)
    one.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    return one


def brief(port: int) -> str:
    return httpx.get(f"http://127.0.0.1:{port}/brief", timeout=20).text


class TestAnswers:
    def test_clients_that_stop_taking_hold_no_thread_and_are_given_up(
        self, application: Application, port: int
    ) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(5):
                stack.enter_context(ask(port, "/endless"))
            assert brief(port) == "brief"
            assert application.closed.wait(20)
        assert application.asked < 200  # a few hundred kilobytes wait in the server, the rest in the sockets

    def test_a_client_that_takes_slowly_is_served_on(self, application: Application, port: int) -> None:
        with ask(port, "/endless") as slow:
            until = time.monotonic() + 6
            while time.monotonic() < until:
                assert slow.recv(4 * 1024 * 1024)
                time.sleep(0.2)
            assert not application.closed.is_set()
        assert application.closed.wait(20)

    def test_a_client_that_goes_away_ends_its_answer(self, application: Application, port: int) -> None:
        with ask(port, "/endless") as leaving:
            leaving.recv(1024)
        assert application.closed.wait(20)

    def test_work_whose_client_goes_away_is_told_to_stop(self, application: Application, port: int) -> None:
        with ask(port, "/long"):
            assert application.working.acquire(timeout=20)
        assert application.noticed.wait(20)
        assert brief(port) == "brief"

    def test_an_answer_that_breaks_on_its_way_does_not_look_whole(self, port: int) -> None:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"http://127.0.0.1:{port}/half", timeout=20)
        assert brief(port) == "brief"

    def test_an_answer_that_is_whole_has_a_length_and_a_long_one_comes_in_chunks(self, port: int) -> None:
        assert httpx.get(f"http://127.0.0.1:{port}/brief", timeout=20).headers["Content-Length"] == "5"
        with ask(port, "/endless") as client:
            head = client.recv(4096).lower()
        assert b"transfer-encoding: chunked" in head
        assert b"content-length" not in head

    def test_an_application_that_fails_is_a_500(self, port: int) -> None:
        assert httpx.get(f"http://127.0.0.1:{port}/broken", timeout=20).status_code == 500
        assert brief(port) == "brief"

    @pytest.mark.parametrize("path", ["/brief", "/endless", "/size"])
    def test_no_body_is_behind_a_head_and_the_connection_stays_in_step(self, port: int, path: str) -> None:
        with ask(port, path, method="HEAD") as client:
            client.sendall(b"GET /brief HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            received = b""
            while more := client.recv(65_536):
                received += more
        head, _, rest = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert rest.startswith(b"HTTP/1.1 200 ")
        assert received.count(b"HTTP/1.1 ") == 2


class TestShares:
    def test_one_person_holds_half_of_the_threads_and_others_are_answered(
        self, application: Application, serving: Callable[[Rules], int]
    ) -> None:
        port = serving(rules(threads=4))
        with contextlib.ExitStack() as stack:
            for _ in range(12):
                stack.enter_context(ask(port, "/waits", headers="Authorization: Bearer greedy\r\n"))
            assert application.working.acquire(timeout=20)
            assert application.working.acquire(timeout=20)
            for _ in range(5):
                assert brief(port) == "brief"
            assert not application.working.acquire(blocking=False)
            application.release.set()

    def test_files_do_not_hold_up_pages(
        self, application: Application, serving: Callable[[Rules], int]
    ) -> None:
        port = serving(replace(rules(), takes_long=lambda head: head.path == "/waits"))
        with contextlib.ExitStack() as stack:
            for number in range(10):
                stack.enter_context(ask(port, "/waits", headers=f"Authorization: {number}\r\n"))
            assert application.working.acquire(timeout=20)
            assert brief(port) == "brief"
            application.release.set()

    def test_a_person_is_who_is_signed_in_whatever_other_cookies_are_sent(self) -> None:
        keys = rules_of(Config.from_environ({"JOULEBOOK_TRUSTED_PROXIES": "10.0.0.1"})).keys

        def of(client: str = "10.0.0.9", **headers: str) -> tuple[str | None, ...]:
            return keys({"client": (client, 1)}, Head("GET", "/", headers, 0))

        session = "joulebook_session_8000=abc"
        assert of(COOKIE=session) == of(COOKIE=f"x=1; {session}; y=2")
        assert of(COOKIE=session) != of(COOKIE="joulebook_session_8000=abd")
        assert of(COOKIE="x=1") == of() == (None, "10.0.0.9")
        assert of(AUTHORIZATION="Bearer a") != of(AUTHORIZATION="Bearer b")
        assert of("10.0.0.1", X_FORWARDED_FOR="1.1.1.1, 2001:db8::7")[1] == "2001:db8::/64"
        assert of("10.0.0.2", X_FORWARDED_FOR="1.1.1.1")[1] == "10.0.0.2"


class TestBodies:
    """At most 1,000 bytes, but for `/size`, which takes 3 MB of who shows a pass, while there is room."""

    @pytest.fixture
    def address(self, port: int) -> str:
        return f"http://127.0.0.1:{port}"

    @pytest.mark.parametrize("is_chunked", [False, True])
    def test_a_file_arrives_whole_from_who_may_send_it(self, address: str, is_chunked: bool) -> None:
        body = bytes(2_900_000)
        content = iter([body[:1_500_000], body[1_500_000:]]) if is_chunked else body
        answer = httpx.post(f"{address}/size", content=content, headers={"Authorization": "pass"}, timeout=30)
        assert (answer.status_code, answer.text) == (200, "2900000")

    def test_a_usual_request_of_the_same_connection_is_bounded_as_usual(self, address: str) -> None:
        with httpx.Client(base_url=address, timeout=30) as client:
            assert client.post("/size", content=bytes(5000), headers={"Authorization": "pass"}).text == "5000"
            assert client.post("/size", content=bytes(999)).text == "999"
            assert client.post("/size", content=bytes(5000)).status_code == 413

    @pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"])
    @pytest.mark.parametrize(
        ("path", "headers", "size", "status"),
        [
            ("/size", "Authorization: pass", 3_000_001, 413),
            ("/size", "Authorization: none", 5000, 413),
            ("/other", "Authorization: pass", 5000, 413),
            ("/size", "Authorization: pass", 2_000_000, 507),
        ],
    )
    def test_what_is_refused_is_refused_before_a_byte_of_the_body(
        self, port: int, path: str, headers: str, size: int, status: int, expect: str
    ) -> None:
        with ask(
            port,
            path,
            method="POST",
            headers=f"{headers}\r\n{expect}Content-Length: {size + 1 if status == 413 else size}\r\n",
        ) as client:
            assert client.recv(1000).startswith(f"HTTP/1.1 {status} ".encode())

    def test_a_body_ends_where_the_disk_has_filled_up_since_it_began(
        self, serving: Callable[[Rules], int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked = []

        def check_room() -> None:
            asked.append(None)
            if len(asked) > 1:
                raise Refused(HTTPStatus.INSUFFICIENT_STORAGE, "others have filled the disk")

        monkeypatch.setattr(wsgi, "_CHECKED_EVERY", 1_000_000)
        address = f"http://127.0.0.1:{serving(replace(rules(), check_room=check_room))}/size"
        first = httpx.post(address, content=bytes(900_000), headers={"Authorization": "pass"}, timeout=60)
        assert (first.status_code, asked) == (200, [])
        answer = httpx.post(address, content=bytes(2_900_000), headers={"Authorization": "pass"}, timeout=60)
        assert answer.status_code == 507
        assert "others have filled the disk" in answer.text

    def test_a_chunked_body_without_end_is_cut_off(self, address: str) -> None:
        sent = 0

        def chunks() -> Iterator[bytes]:
            nonlocal sent
            while True:
                sent += 65_536
                yield bytes(65_536)

        try:
            status = httpx.post(
                f"{address}/size", content=chunks(), headers={"Authorization": "pass"}, timeout=30
            ).status_code
        except httpx.WriteError:  # the server has answered and gone while this was still sending
            status = 413
        assert status == 413
        assert sent < 140_000_000

    def test_bodies_that_are_on_their_way_hold_no_thread(self, port: int) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(10):
                half = stack.enter_context(
                    ask(port, "/size", method="POST", headers="Content-Length: 900\r\n")
                )
                half.sendall(bytes(100))
            assert brief(port) == "brief"

    def test_headers_reach_the_application_as_they_are_meant(self, port: int) -> None:
        with ask(
            port,
            "/%65nviron?a=%2f%C3%A4",
            headers="X-Name: one\r\nX-Name: two\r\nX_Forwarded_For: 1.1.1.1\r\nProxy: evil\r\nContent-Type: a/b\r\n"
            "Connection: close\r\n",
        ) as client:
            received = b""
            while more := client.recv(65_536):
                received += more
        told = dict(
            line.split("=", 1)
            for line in received.partition(b"\r\n\r\n")[2].decode().splitlines()
            if "=" in line
        )
        assert told["PATH_INFO"] == "/environ"
        assert told["QUERY_STRING"] == "a=%2f%C3%A4"
        assert told["HTTP_X_NAME"] == "one,two"
        assert told["CONTENT_TYPE"] == "a/b"
        assert told["REMOTE_ADDR"] == "127.0.0.1"
        assert not {"HTTP_X_FORWARDED_FOR", "HTTP_PROXY", "HTTP_CONTENT_TYPE"} & set(told)
