"""Runs a WSGI application behind our ASGI server, so that waiting for a client costs no thread.

A request reaches a thread only after its whole body has arrived, in memory or, if it is large, in a
temporary file. A long answer is read from the application in pieces; between two pieces, while the client
reads them, it occupies no thread. When the client disconnects, the answer is closed and the work of its
thread is cancelled.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BytesIO
from typing import IO, Any, TypeVar
from urllib.parse import unquote_to_bytes

from starlette.types import Receive, Scope, Send

from joulebook.serving.slots import Keys, SharedSlots
from joulebook.serving.work import Work

log = logging.getLogger(__name__)

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

_IN_MEMORY = 64 * 1024
_WRITTEN_AT_ONCE = 128 * 1024
_CHECKED_EVERY = 16 * 1024 * 1024
"""Bytes of a body on disk between two calls of `check_room`."""
_PIECE = 256 * 1024
_DISK_THREADS = 2
_NOT_FROM_HEADERS = frozenset({"TRANSFER_ENCODING", "PROXY", "CONTENT_LENGTH", "CONTENT_TYPE"})
_WITHOUT_BODY = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})

T = TypeVar("T")


class Refused(Exception):
    """The body of a request is refused."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class Lane:
    """Threads for one kind of work, and the slots to use them."""

    def __init__(self, threads: int, shares: tuple[int, int], *, name: str) -> None:
        """Start up to `threads`; `shares` of them may work for one person and for one address."""
        self.slots = SharedSlots(threads, shares)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, keys: Keys, work: Work, function: Callable[[], T]) -> T:
        """Run a function in a thread as soon as there is a slot."""

        def job() -> T:
            with work.underway():
                return function()

        async with self.slots.slot(keys):
            # The slot is in use until the thread is done, even if the client has disconnected.
            running = asyncio.get_running_loop().run_in_executor(self._pool, job)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                await asyncio.wait({running})
                running.cancelled() or running.exception()  # mark its exception as retrieved
                raise

    def close(self) -> None:
        """End the threads after their current work."""
        self._pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class Head:
    """A request's method, path and headers, with WSGI's names less HTTP_."""

    method: str
    path: str
    headers: Mapping[str, str]
    size: int | None
    """Bytes of the body; None if it arrives in chunks."""


@dataclass(frozen=True)
class Rules:
    """Decisions of the service about requests before its application sees them."""

    pages: Lane
    """For quick answers."""
    files: Lane
    """For slow answers."""
    streams: Lane
    """For later pieces of long answers."""
    takes_long: Callable[[Head], bool]
    keys: Callable[[Scope, Head], Keys]
    """Returns the person and the address of a request."""
    usual_body: int
    """The largest body of any other request, in bytes."""
    may_be_larger: Callable[[Head], bool]
    """Returns whether to call `largest_body`; that may be slow."""
    largest_body: Callable[[Head], int]
    """Returns the largest body of a request, in bytes. Raises `Refused`."""
    check_room: Callable[[], None]
    """Called while a large body is written. Raises `Refused` if the disk has no room for more."""
    answers: SharedSlots
    """For each request from its whole body to the end of its answer, also while its client reads."""
    bodies: SharedSlots
    """For each large body, from its beginning to the end of the answer."""


@dataclass
class _Answer:
    """The answer of the application so far."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    begun: bytes = b""
    rest: Iterator[bytes] | None = None
    """Further pieces; None if there are none."""
    body: Any = None

    def start(self, status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> None:
        """Receive the head: WSGI's `start_response`."""
        self.status = int(status[:3])
        self.headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]

    def add_length(self) -> None:
        """Add the length of a whole answer unless the application has set it."""
        if self.status not in _WITHOUT_BODY and all(name != b"content-length" for name, _ in self.headers):
            self.headers.append((b"content-length", b"%d" % len(self.begun)))

    def close(self) -> None:
        """Close the application's answer; a second call does nothing."""
        body, self.body, self.rest = self.body, None, None
        if hasattr(body, "close"):
            body.close()

    def take(self) -> bytes:
        """Return the next piece, of about `_PIECE` bytes; an empty one is the end, and closes the answer."""
        pieces, size = [], 0
        try:
            for piece in self.rest or ():
                pieces.append(piece)
                size += len(piece)
                if size >= _PIECE:
                    return b"".join(pieces)
            self.close()
        except BaseException:
            self.close()
            raise
        return b"".join(pieces)


class WsgiBridge:
    """The ASGI application around a WSGI application."""

    def __init__(self, application: Application, rules: Rules) -> None:
        """Answer requests with `application`."""
        self._application = application
        self._rules = rules
        self._disk = ThreadPoolExecutor(_DISK_THREADS, thread_name_prefix="disk")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            for lane in (self._rules.pages, self._rules.files, self._rules.streams):
                lane.close()
            self._disk.shutdown(wait=False, cancel_futures=True)
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "http":
            head = _read_head(scope)
            keys = self._rules.keys(scope, head)
            async with AsyncExitStack() as stack:
                try:
                    body = await self._take_body(head, keys, receive, stack)
                except Refused as exc:
                    await _refuse(send, exc)
                    return
                if body is not None:
                    await self._answer(scope, head, keys, body, receive, send)

    # The body

    async def _take_body(
        self, head: Head, keys: Keys, receive: Receive, stack: AsyncExitStack
    ) -> IO[bytes] | None:
        """Return the whole body; None if the client disconnects. Raises `Refused`."""
        rules = self._rules
        most = rules.usual_body
        if head.size != 0 and rules.may_be_larger(head):
            most = await rules.pages.run(keys, Work(), lambda: rules.largest_body(head))
        if head.size is not None and head.size > most:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {most:,} bytes here")
        if most > rules.usual_body:
            await stack.enter_async_context(rules.bodies.slot(keys))
        if head.size == 0:
            return BytesIO()
        body = _Body(self._disk, rules.check_room)
        stack.push_async_callback(body.close)
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            if chunk := message.get("body", b""):
                if body.size + len(chunk) > most:
                    raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {most:,} bytes here")
                try:
                    await body.add(chunk)
                except OSError as exc:
                    if exc.errno not in _NO_ROOM:
                        raise
                    text = "the disk has no room for this body"
                    raise Refused(HTTPStatus.INSUFFICIENT_STORAGE, text) from exc
            more = message.get("more_body", False)
        try:
            return await body.whole()
        except OSError as exc:
            if exc.errno not in _NO_ROOM:
                raise
            raise Refused(HTTPStatus.INSUFFICIENT_STORAGE, "the disk has no room for this body") from exc

    # The answer

    async def _answer(
        self, scope: Scope, head: Head, keys: Keys, body: IO[bytes], receive: Receive, send: Send
    ) -> None:
        """Answer the request; stop if its client disconnects."""

        async def disconnect() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        work = Work()
        gone = asyncio.ensure_future(disconnect())
        answering = asyncio.ensure_future(self._make_and_send(scope, head, keys, body, work, send))
        try:
            await asyncio.wait({gone, answering}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                answering.cancel()
                # Cancelling a query of the database may be slow.
                await asyncio.get_running_loop().run_in_executor(self._disk, work.cancel)
                await asyncio.wait({answering})
                answering.cancelled() or answering.exception()
            elif (failed := answering.exception()) is not None:
                raise failed
        finally:
            gone.cancel()
            if not answering.done():
                answering.cancel()
                work.cancel()
                await asyncio.wait({answering})

    async def _make_and_send(
        self, scope: Scope, head: Head, keys: Keys, body: IO[bytes], work: Work, send: Send
    ) -> None:
        answer = _Answer()

        def begin() -> None:
            environ = _environ(scope, head, body)
            answer.body = self._application(environ, answer.start)
            if head.method == "HEAD":
                answer.close()
                return
            answer.rest = iter(answer.body)
            answer.begun = answer.take()

        async with self._rules.answers.slot(keys):
            try:
                lane = self._rules.files if self._rules.takes_long(head) else self._rules.pages
                await lane.run(keys, work, begin)
                if answer.rest is None and head.method != "HEAD":
                    answer.add_length()
                start = {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
                await send(start)
                piece = answer.begun
                answer.begun = b""
                while answer.rest is not None:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    piece = await self._rules.streams.run((None, None), work, answer.take)
                await send({"type": "http.response.body", "body": piece})
            finally:
                if answer.body is not None:
                    closing = self._rules.streams.run((None, None), work, answer.close)
                    await asyncio.shield(asyncio.ensure_future(closing))


class _Body:
    """A body while it arrives: in memory, or if it is large, in a file."""

    def __init__(self, disk: ThreadPoolExecutor, check_room: Callable[[], None]) -> None:
        self.size = 0
        self._disk = disk
        self._check_room = check_room
        self._checked_at = 0
        self._pending = bytearray()
        self._file: IO[bytes] | None = None

    async def add(self, chunk: bytes) -> None:
        """Append some bytes."""
        self.size += len(chunk)
        self._pending += chunk
        if len(self._pending) > (_IN_MEMORY if self._file is None else _WRITTEN_AT_ONCE):
            await self._write()

    async def whole(self) -> IO[bytes]:
        """Return the body from its beginning."""
        if self._file is None:
            return BytesIO(self._pending)
        await self._write()
        self._file.seek(0)
        return self._file

    async def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            await self._on_disk(self._file.close)

    async def _write(self) -> None:
        pending, self._pending = self._pending, bytearray()

        def write() -> None:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - `close` removes it
            if self.size - self._checked_at >= _CHECKED_EVERY:
                # Many bodies may arrive at once, and each had room at its beginning.
                self._checked_at = self.size
                self._check_room()
            view = memoryview(pending)
            while view:
                view = view[self._file.write(view) :]

        await self._on_disk(write)

    async def _on_disk(self, function: Callable[[], None]) -> None:
        """Call a function in a thread: a slow disk must not block all other connections."""
        await asyncio.get_running_loop().run_in_executor(self._disk, function)


async def _refuse(send: Send, refused: Refused) -> None:
    body = f"{refused.status.phrase}: {refused}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": int(refused.status), "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _read_head(scope: Scope) -> Head:
    headers: dict[str, str] = {}
    size: int | None = 0
    for raw, value in scope["headers"]:
        if raw == b"content-length":
            size = int(value)
        elif raw == b"transfer-encoding":
            size = None
        if b"_" in raw:
            continue  # with WSGI's names it would pass for a header with dashes, such as a trusted proxy's
        name, text = raw.decode("latin-1").upper().replace("-", "_"), value.decode("latin-1")
        if name in headers:
            text = f"{headers[name]}{'; ' if name == 'COOKIE' else ','}{text}"
        headers[name] = text
    path = unquote_to_bytes(scope["raw_path"]).decode("latin-1")
    return Head(scope["method"], path, headers, size)


def _environ(scope: Scope, head: Head, body: IO[bytes]) -> dict[str, Any]:
    """Return the request as WSGI's environ."""
    server = scope.get("server") or ("localhost", 0)
    client = scope.get("client") or ("", 0)
    environ = {
        "REQUEST_METHOD": head.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": head.path,
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": str(server[0]),
        "SERVER_PORT": str(server[1] or 0),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": str(client[0]),
        "REMOTE_PORT": str(client[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in head.headers.items():
        if name not in _NOT_FROM_HEADERS:
            environ[f"HTTP_{name}"] = value
    environ["CONTENT_TYPE"] = head.headers.get("CONTENT_TYPE", "")
    size = head.size
    if size is None:
        size = body.seek(0, 2)
        body.seek(0)
    if size or "CONTENT_LENGTH" in head.headers:
        environ["CONTENT_LENGTH"] = str(size)
    return environ
