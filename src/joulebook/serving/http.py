"""A client's connection, HTTP or WebSocket: uvicorn's, with deadlines, shares, bounded heads and pings.

It uses private parts of uvicorn, pinned to a minor version in `pyproject.toml`. Only this package does so.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState

from joulebook.serving.guard import Guard

STOPPING = "the server is stopping"

PING_SECONDS = 20
MISSED_PINGS = 3
"""A WebSocket ends one interval after this number of pings without a sign of life."""

_MOST_OVERHEAD = 64 * 1024
"""Bytes of a request's head, or between two parts of its body."""
_MOST_DISCARDED = 32 * 1024 * 1024
_PAUSE_READING = 64 * 1024
"""Bytes of a body waiting for the application at which reading pauses."""
_LAST_SECONDS = 5.0
"""How long to wait for a device that does not read the close of its WebSocket."""
_HEAD, _END, _CONTINUE = b"HTTP/1.1 ", b"\r\n\r\n", b"HTTP/1.1 100"


class Connections(ServerState):
    """The open connections of a process, their guard, and whether the process is stopping."""

    def __init__(self, guard: Guard, refuse: Callable[[str], ASGIApp]) -> None:
        """Let `guard` admit connections; `refuse` makes an application answering with a reason."""
        super().__init__()
        self.guard = guard
        self.refuse = refuse
        self.stopping = False

    def check_deadlines(self, at: float) -> None:
        """End connections past a deadline; called once a second."""
        self.guard.tick(at)
        for connection in tuple(self.connections):
            if isinstance(connection, HttpConnection):
                connection.check_deadlines()

    def stop(self) -> None:
        """Refuse further requests; those in flight are finished."""
        self.stopping = True
        answer = self.refuse(STOPPING)
        for connection in tuple(self.connections):
            if isinstance(connection, HttpConnection):
                connection.refuse_next(answer)


class HttpConnection(HttpToolsProtocol):
    """Uvicorn's HTTP connection. Times are those of the guard's clock; 0 stands for none."""

    server_state: Connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask the guard for a slot; refuse the client if there is none."""
        state, guard = self.server_state, self.server_state.guard
        self._guard = guard
        self._writes = JoinedWrites(transport, self)
        self._is_new = True
        # The state of the request: within a head, within a body, or neither.
        self._head_since = self._idle_since = guard.now
        self.is_receiving = False
        self._overhead = self._received = 0
        self._body_since, self._body_before = 0.0, 0
        # The bytes not yet read by the client, and since when it reads nothing.
        self._unsent, self._unsent_since = 0, guard.now
        self._refused_since = self._lingers_since = 0.0
        super().connection_made(self._writes)  # type: ignore[arg-type]
        reason = STOPPING if state.stopping else guard.admit(self, self.client[0] if self.client else "")
        if reason is not None:
            self._refused_since = guard.now
            if guard.begin_refusal(self):
                self.refuse_next(state.refuse(reason))
            else:
                transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the slot."""
        self._guard.forget(self)
        super().connection_lost(exc)

    def is_answering(self) -> bool:
        """Return whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def abort(self) -> None:
        """Close at once, without finishing requests in flight."""
        self._writes.transport.abort()

    def refuse_next(self, answer: ASGIApp) -> None:
        """Finish a request in flight, or answer the next one with `answer`; then close."""
        self.app = answer
        self.ws_protocol_class = None
        if self.is_answering():
            self.cycle.keep_alive = False

    def check_deadlines(self) -> None:
        """End the connection if its client is past a deadline."""
        now, deadlines = self._guard.now, self._guard.deadlines
        transport = self._writes.transport
        unsent = transport.get_write_buffer_size()
        if not unsent or unsent < self._unsent:
            self._unsent_since = now
        elif now - self._unsent_since > deadlines.answer:
            transport.abort()
        self._unsent = unsent
        if self._lingers_since:
            if now - self._lingers_since > deadlines.discard:
                transport.abort()
        elif self.is_receiving:
            self._check_body(now)
        elif self.is_answering():
            return
        elif self._refused_since and now - self._refused_since > deadlines.refused:
            self._writes.close()
        elif self._head_since and now - self._head_since > deadlines.head:
            self._end(408, "the head of the request did not arrive in time")
        elif now - self._idle_since > deadlines.idle:
            self._writes.close()

    def _check_body(self, now: float) -> None:
        """End the connection if its body arrives too slowly while this process is reading it."""
        deadlines = self._guard.deadlines
        if not self.is_answering() and now - self._idle_since > deadlines.discard:
            self._writes.transport.close()  # answered already: the rest is only discarded
            return
        is_reading = not self.flow.read_paused and not (
            self.is_answering() and self.cycle.waiting_for_100_continue
        )
        enough = self._received - self._body_before >= deadlines.body_bytes
        if enough or not is_reading:
            self._body_since, self._body_before = now, self._received
        elif now - self._body_since > deadlines.body:
            self._end(408, "the body of the request came too slowly")

    # Called by the transport and the parser

    def data_received(self, data: bytes) -> None:
        """Receive bytes of requests, within bounds."""
        if self._lingers_since:
            self._received += len(data)
            if self._received > _MOST_DISCARDED:
                self._writes.transport.abort()
            return
        self._overhead += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._end(400, f"this is no request of HTTP/1.1: {exc}")
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            elif self.is_answering():
                # The parser reads no further request after an upgrade.
                self.cycle.keep_alive = False
        else:
            if self._overhead > _MOST_OVERHEAD:
                self._end(431, "the head of the request is too large")

    def resume_writing(self) -> None:
        """Continue sending: the client has read the waiting bytes."""
        self._unsent_since = self._guard.now
        super().resume_writing()

    def on_message_begin(self) -> None:
        """Note the start of a head."""
        super().on_message_begin()
        self._head_since = self._guard.now

    # The next three repeat uvicorn's with an addition: calling theirs would double their cost.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Receive a header; skip trailers, sent after the body."""
        if self._head_since:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Start answering."""
        guard = self._guard
        self._head_since = 0.0
        self._overhead = self._received = self._body_before = 0
        self._body_since = guard.now
        self.is_receiving = True
        if self._is_new:
            self._is_new = False
            guard.note_head(self)
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0" and self.cycle is not None:
            # HTTP/1.0 has no chunks: the answer ends with the connection.
            self.cycle.chunked_encoding = False
            self.cycle.expected_content_length = cast("int", _AnyLength())

    def on_body(self, body: bytes) -> None:
        """Receive a part of a body."""
        self._received += len(body)
        self._overhead = 0
        cycle = self.cycle
        if (self.parser.should_upgrade() and self._should_upgrade()) or cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > _PAUSE_READING:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Note the end of a request."""
        self.is_receiving = False
        cycle = self.cycle
        if (self.parser.should_upgrade() and self._should_upgrade()) or cycle.response_complete:
            return
        cycle.more_body = False
        cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Continue with the next request after the whole answer to this one."""
        self._writes.flush()
        self.server_state.total_requests += 1
        if self._writes.is_closing():
            return
        self._idle_since = self._guard.now
        if self._head_since:
            self._head_since = self._guard.now
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    def handle_websocket_upgrade(self) -> None:
        """Hand over the connection with its slot."""
        self._guard.forget(self)
        self.transport = self._writes.transport
        super().handle_websocket_upgrade()

    def linger(self) -> None:
        """End the answer, then discard the rest of the body for a moment.

        Closing a connection with unread bytes resets it, and the client might not see the answer.
        """
        self._lingers_since = self._guard.now
        self._received = 0
        self._writes.transport.write_eof()
        self._writes.transport.resume_reading()

    def _end(self, status: int, text: str) -> None:
        """Close the connection, with the reason as an answer if the client can still receive one."""
        if self.is_answering() and not self.is_receiving:
            # The error is in the next request: the one before it is answered first.
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        if self.is_answering() and self.cycle.response_started:
            self._writes.transport.abort()
            return
        if status == 408 and self._overhead == 0 and not self.is_receiving:
            self._writes.close()  # there was no request
            return
        body = text.encode() + b"\n"
        head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        line = b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode())
        self._writes.transport.write(line + head % len(body) + body)
        self.is_receiving = False
        self._writes.transport.close()


class JoinedWrites:
    """A transport that holds back the head of an answer until its first body part.

    Uvicorn writes the two separately, and uvloop sends each at once. ASGI allows the head to wait for the
    first event with a body.
    """

    def __init__(self, transport: asyncio.Transport, connection: HttpConnection) -> None:
        """Write the answers of `connection` to `transport`."""
        self.transport = transport
        self._connection = connection
        self._head = b""
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Send the data; if it is a head, hold it back until the next call."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_HEAD) and data.endswith(_END) and not data.startswith(_CONTINUE):
            self._head = data
            return
        self.transport.write(data)

    def flush(self) -> None:
        """Send a head without a body."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Close the connection after the written data."""
        if not self.is_closing():
            self.flush()
            if self._connection.is_receiving:
                self.is_closing = lambda: True
                self._connection.linger()
                return
        self.transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)


class _AnyLength:
    """A length for answers without one: uvicorn counts down the remaining bytes."""

    def __lt__(self, _other: object) -> bool:
        return False

    def __isub__(self, _other: object) -> _AnyLength:
        return self

    def __eq__(self, _other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class WebSocketConnection(WebSocketsSansIOProtocol):
    """Uvicorn's WebSocket, closed after three pings without a sign of life.

    Uvicorn's own keep-alive sends one ping and accepts only its pong. Here a ping is sent in every interval,
    uvicorn's `ws_ping_interval`: this also keeps the connection open in routers. All data from the device
    counts as an answer, because on a slow line a pong can wait behind a large message.
    """

    def __init__(self, config: uvicorn.Config, server_state: Connections, app_state: dict[str, Any]) -> None:
        """Start as uvicorn does."""
        super().__init__(config, server_state, app_state)
        self._guard = server_state.guard
        self._missed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the slot of the HTTP connection."""
        super().connection_made(transport)
        self._guard.admit(self, self.client[0] if self.client else "")
        self._guard.note_head(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the slot."""
        self._guard.forget(self)
        super().connection_lost(exc)

    def is_answering(self) -> bool:
        """Return True: an acknowledgement may be sent at any time."""
        return True

    def abort(self) -> None:
        """Close at once, without finishing requests in flight."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Count the data as a sign of life."""
        self._missed = 0
        super().data_received(data)

    def send_keepalive_ping(self) -> None:
        """Send a ping, or close if the last ones were not answered."""
        self.ping_timer = None
        if self.close_sent or self.transport.is_closing():
            return
        if self._missed >= MISSED_PINGS:
            self.keepalive_timeout()
            # The close may wait behind unread acknowledgements.
            self.loop.call_later(_LAST_SECONDS, self.transport.abort)
            return
        # While a slow database stops our reading, an unanswered ping means nothing.
        self._missed += not self.read_paused
        self.conn.send_ping(struct.pack("!I", self._missed))
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.schedule_ping()

    def handle_pong(self, event: Any) -> None:
        """Do nothing: `data_received` has counted it."""
