"""Runs an ASGI application on an address: uvicorn with our connections, and an orderly end.

On SIGTERM it first refuses new requests with 503 and only then closes connections. Requests in flight are
answered, and clients with an open connection read that they should try again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import resource
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from joulebook.serving.guard import Guard
from joulebook.serving.http import PING_SECONDS, Connections, HttpConnection, WebSocketConnection

log = logging.getLogger("uvicorn.error")

LINGER_SECONDS = 1.0
"""How long clients with an open connection are answered 503 before connections are closed."""

DRAIN_SECONDS = 20
"""How long requests in flight may take to finish after SIGTERM."""

_OTHER_FILES = 256
"""Open files of a process beside its connections: databases, logs, uploads."""
_TICKS_A_SECOND = 10


@dataclass(frozen=True)
class Unavailable:
    """The answer of a service to a client without a slot."""

    content_type: str
    body: Callable[[str], bytes]
    """Makes the body from a reason."""
    counted: Counter[int]
    """Counts the answers by status."""

    def __call__(self, reason: str) -> ASGIApp:
        """Return the application that answers 503 with `Retry-After` to any request."""
        body = self.body(reason)

        async def refuse(_scope: Scope, _receive: Receive, send: Send) -> None:
            self.counted[503] += 1
            headers = [
                (b"content-type", self.content_type.encode()),
                (b"content-length", b"%d" % len(body)),
                # Spread, so that a thousand devices do not return at once.
                (b"retry-after", b"%d" % random.randint(2, 5)),  # noqa: S311
                (b"connection", b"close"),
            ]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": body})

        return refuse


@dataclass(frozen=True)
class Service:
    """An application and the address to serve it on."""

    app: ASGIApp
    host: str
    port: int
    guard: Guard
    unavailable: Unavailable
    drain: Callable[[], Awaitable[None]] | None = None
    """Called first at the end: it ends connections without an end of their own."""
    message_bytes: int = 0
    """The largest message of a WebSocket; 0: there are no WebSockets."""


class Server(uvicorn.Server):
    """Uvicorn's server for a `Service`."""

    def __init__(self, service: Service) -> None:
        """Prepare to serve; `connections` are the open ones."""
        super().__init__(
            uvicorn.Config(
                service.app,
                http=HttpConnection,
                host=service.host,
                port=service.port,
                access_log=False,
                log_config=None,  # see joulebook.logs
                log_level="info",
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=DRAIN_SECONDS,
                ws=WebSocketConnection if service.message_bytes else "none",
                ws_max_size=service.message_bytes,
                ws_ping_interval=PING_SECONDS,
                # Compressed, a small frame could hold a thousand messages that are not small.
                ws_per_message_deflate=False,
            )
        )
        self.server_state = self.connections = Connections(service.guard, service.unavailable)
        self._drain = service.drain
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Check the connections' deadlines once a second."""
        if counter % _TICKS_A_SECOND == 0:
            self.connections.check_deadlines(time.monotonic())
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Refuse new requests at once: the next readiness probe fails."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.connections.stop)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish the requests in flight, refuse new ones, then stop listening and close."""
        if self._drain is not None:
            await self._drain()
        began = time.monotonic()
        self.connections.stop()
        while (  # noqa: ASYNC110 - uvicorn has a set of them, without a signal
            self.connections.connections and time.monotonic() < began + LINGER_SECONDS
        ):
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
        log.info("Drained in %.1f s", time.monotonic() - began)


def run(server: Server, *, listening: socket.socket | None = None) -> None:
    """Serve until SIGTERM or SIGINT and the end of requests in flight.

    If there are several processes, each is given a `listening` socket.
    """
    log.addFilter(_should_be_logged)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(None if listening is None else [listening])


def connections_that_fit(wanted: int) -> int:
    """Return the number of connections that fit in the system's limit of open files, up to `wanted`.

    Raise the process's soft limit to the hard limit: the usual 1,024 files are few.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most == resource.RLIM_INFINITY:
        return wanted
    # Refused clients have a connection, too.
    fitting = max(1, (most - _OTHER_FILES) * 7 // 8)
    if fitting < wanted:
        log.warning("room for %d connections, not %d: the limit of open files is %d", fitting, wanted, most)
    return min(wanted, fitting)


def _should_be_logged(record: logging.LogRecord) -> bool:
    """Return False for addresses of WebSockets, where a client may put its token, and for viewers cut off."""
    text = str(record.msg)
    return "WebSocket %s" not in text and "returned without completing response" not in text
