"""A client's HTTP connection: uvicorn's, with deadlines, a share, bounded heads and answers in one piece.

It stands on private parts of uvicorn, which `pyproject.toml` pins to a minor version. They are used in
this package only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import httptools
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from joulebook.serving.guard import Guard

STOPPING = "the server is stopping"

_MOST_OVERHEAD = 64 * 1024
"""Bytes of a request's head, and of what may come between two parts of its body."""
_MOST_DISCARDED = 64 * 1024 * 1024
_HEAD, _END, _CONTINUE = b"HTTP/1.1 ", b"\r\n\r\n", b"HTTP/1.1 100"


class Connections(ServerState):
    """The open connections of a process, the guard who admits them, and whether it takes more."""

    def __init__(self, guard: Guard, refuse: Callable[[str], ASGIApp]) -> None:
        """Let `guard` decide; `refuse` makes the application that tells a client why it is not served."""
        super().__init__()
        self.guard = guard
        self.refuse = refuse
        self.stopping = False

    def look_at_deadlines(self, at: float) -> None:
        """End connections that have kept the process waiting too long; called once a second."""
        self.guard.tick(at)
        for connection in tuple(self.connections):
            if isinstance(connection, HttpConnection):
                connection.look_at_deadlines()

    def stop(self) -> None:
        """Turn away every request that has not begun; those that have are finished."""
        self.stopping = True
        answer = self.refuse(STOPPING)
        for connection in tuple(self.connections):
            if isinstance(connection, HttpConnection):
                connection.turn_away(answer)


class HttpConnection(HttpToolsProtocol):
    """Uvicorn's HTTP connection. Times are those of the guard's clock; 0 stands for none."""

    server_state: Connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask the guard for a place; turn the client away where there is none."""
        state, guard = self.server_state, self.server_state.guard
        self._guard = guard
        self._writes = JoinedWrites(transport, self)
        self._is_new = True
        # Where the client is in its request: within a head, within a body, or neither.
        self._head_since = self._idle_since = guard.now
        self.is_receiving = False
        self._overhead = self._received = 0
        self._body_since, self._body_before = 0.0, 0
        # What the client has not taken yet, and since when it takes nothing.
        self._unsent, self._unsent_since = 0, guard.now
        self._refused_since = self._lingers_since = 0.0
        super().connection_made(self._writes)  # type: ignore[arg-type]
        reason = STOPPING if state.stopping else guard.admit(self, self.client[0] if self.client else "")
        if reason is not None:
            self._refused_since = guard.now
            if guard.may_refuse(self):
                self.turn_away(state.refuse(reason))
            else:
                transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._guard.forget(self)
        super().connection_lost(exc)

    def is_answering(self) -> bool:
        """Return whether a request is being answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def give_up(self) -> None:
        """Close at once, whatever is in flight."""
        self._writes.transport.abort()

    def turn_away(self, answer: ASGIApp) -> None:
        """Answer what is in flight, then let `answer` have the next request, and close behind either."""
        self.app = answer
        self.ws_protocol_class = None
        if self.is_answering():
            self.cycle.keep_alive = False

    def look_at_deadlines(self) -> None:
        """End the connection where its client has kept us waiting too long."""
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
            self._look_at_body(now)
        elif self.is_answering():
            return
        elif self._refused_since and now - self._refused_since > deadlines.refused:
            self._writes.close()
        elif self._head_since and now - self._head_since > deadlines.head:
            self._end(408, "the head of the request did not arrive in time")
        elif now - self._idle_since > deadlines.idle:
            self._writes.close()

    def _look_at_body(self, now: float) -> None:
        """End the connection where a body comes too slowly, while it is we who wait for it."""
        deadlines = self._guard.deadlines
        if not self.is_answering() and now - self._idle_since > deadlines.discard:
            self._writes.transport.close()  # it was answered, and is only being discarded
            return
        is_ours_to_wait = not self.flow.read_paused and not (
            self.is_answering() and self.cycle.waiting_for_100_continue
        )
        enough = self._received - self._body_before >= deadlines.body_bytes
        if enough or not is_ours_to_wait:
            self._body_since, self._body_before = now, self._received
        elif now - self._body_since > deadlines.body:
            self._end(408, "the body of the request came too slowly")

    # What the transport and the parser report.

    def data_received(self, data: bytes) -> None:
        """Take in some bytes of requests, within bounds."""
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
                # The parser reads no further request behind an upgrade.
                self.cycle.keep_alive = False
        else:
            if self._overhead > _MOST_OVERHEAD:
                self._end(431, "the head of the request is too large")

    def resume_writing(self) -> None:
        """Go on to send, and note that the client has taken what waited for it."""
        self._unsent_since = self._guard.now
        super().resume_writing()

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        super().on_message_begin()
        self._head_since = self._guard.now

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a header; what comes behind the body is none."""
        if self._head_since:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start to answer."""
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
            # An old client knows no chunks: its answer ends with the connection.
            self.cycle.chunked_encoding = False
            self.cycle.expected_content_length = cast("int", _AnyLength())

    def on_body(self, body: bytes) -> None:
        """Take in a part of a body."""
        self._received += len(body)
        self._overhead = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that a request has arrived whole."""
        self.is_receiving = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on to the next request, behind the whole answer to this one."""
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
        """Hand the connection itself over, with its place."""
        self._guard.forget(self)
        self.transport = self._writes.transport
        super().handle_websocket_upgrade()

    def linger(self) -> None:
        """End the answer, and take in the rest of the body for a moment without looking at it.

        Closing a connection on which bytes are unread resets it, and the client might not see the answer.
        """
        self._lingers_since = self._guard.now
        self._received = 0
        self._writes.transport.write_eof()
        self._writes.transport.resume_reading()

    def _end(self, status: int, text: str) -> None:
        """Close, with an answer that says why where the client can still get one."""
        if self.is_answering() and not self.is_receiving:
            # The mistake is in what follows: the request before it is answered first.
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        if self.is_answering() and self.cycle.response_started:
            self._writes.transport.abort()
            return
        if status == 408 and self._overhead == 0 and not self.is_receiving:
            self._writes.close()  # it has asked nothing
            return
        body = text.encode() + b"\n"
        head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self._writes.transport.write(STATUS_LINE[status] + head % len(body) + body)
        self.is_receiving = False
        self._writes.transport.close()


class JoinedWrites:
    """A transport that holds back the head of an answer until what follows it is written.

    Uvicorn writes the two one after the other, and uvloop sends each at once. ASGI allows the head to
    wait: it need not be sent before the first event that carries a body.
    """

    def __init__(self, transport: asyncio.Transport, connection: HttpConnection) -> None:
        """Write to `transport` what `connection` answers."""
        self.transport = transport
        self._connection = connection
        self._head = b""
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Send the data, or keep it for the next call where it is a head."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_HEAD) and data.endswith(_END) and not data.startswith(_CONTINUE):
            self._head = data
            return
        self.transport.write(data)

    def flush(self) -> None:
        """Send a head to which nothing follows."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Close the connection behind what was written."""
        if not self.is_closing():
            self.flush()
            if self._connection.is_receiving:
                self.is_closing = _is_so
                self._connection.linger()
                return
        self.transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)


def _is_so() -> bool:
    return True


class _AnyLength:
    """The length of an answer that ends where it ends; uvicorn counts down the bytes that are to come."""

    def __lt__(self, _other: object) -> bool:
        return False

    def __isub__(self, _other: object) -> _AnyLength:
        return self

    def __eq__(self, _other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]
