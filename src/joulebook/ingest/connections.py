"""A client's connection, which is turned away with 503 while ingest stops or when there are too many."""

from __future__ import annotations

import asyncio
import random

import msgspec
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from joulebook.ingest.joined_writes import JoinedWrites
from joulebook.ingest.metrics import IngestMetrics
from joulebook.serving.metrics import RequestMetrics

STOPPING = "ingest is stopping"

TURNED_AWAY = "turned away"
"""The route, among metrics, of requests on a connection that was turned away."""

_MOST_DISCARDED = 1 << 26
_SILENT_SECONDS = 5.0


class Connections(ServerState):
    """The open connections of this process, and whether it takes more of them."""

    def __init__(self, most: int, metrics: IngestMetrics) -> None:
        """Allow `most` connections at a time, and tell `metrics` how many there are."""
        super().__init__()
        self.most = most
        self.requests = metrics.requests
        metrics.open_connections = lambda: len(self.connections)
        self.stopping = False

    def reason_against_one_more(self) -> str | None:
        """Say why a connection that was just counted is turned away, or None where it is welcome."""
        if self.stopping:
            return STOPPING
        if len(self.connections) > self.most:
            return f"{self.most} connections are open already"
        return None

    def stop(self) -> None:
        """Turn away every request that has not begun; those that have are finished."""
        self.stopping = True
        for connection in list(self.connections):
            if isinstance(connection, IngestProtocol):
                connection.turn_away(TurnedAway(STOPPING, self.requests))


class IngestProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP connection, with a choice of who answers its next request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection; turn it away where it is one too many."""
        self._writes = JoinedWrites(transport)
        super().connection_made(self._writes)  # type: ignore[arg-type]
        state = self.server_state
        if isinstance(state, Connections) and (reason := state.reason_against_one_more()) is not None:
            self.turn_away(TurnedAway(reason, state.requests))
            # One that asks nothing is not kept, or the turned away would be what fills the process.
            self.timeout_keep_alive_task = self.loop.call_later(
                _SILENT_SECONDS, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        """Go on to the next request, behind the whole answer to this one."""
        self._writes.flush()
        super().on_response_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection itself over."""
        self.transport = self._writes.transport
        super().handle_websocket_upgrade()

    def turn_away(self, answer: TurnedAway) -> None:
        """Answer what is in flight, then 503 to the next request, and close behind either."""
        self.app = answer
        self.ws_protocol_class = None
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False


class TurnedAway:
    """The ASGI application that asks the client to come again."""

    def __init__(self, reason: str, requests: RequestMetrics) -> None:
        """Tell the client `reason`, and count the answers in `requests`."""
        self._requests = requests
        answer = {"code": "unavailable", "message": f"not stored, send it again: {reason}"}
        self._body = msgspec.json.encode(answer) + b"\n"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 503 with `Retry-After` to any request."""
        await _discard_body(scope, receive)
        self._requests.begin()
        self._requests.end(TURNED_AWAY, scope.get("method", "GET"), 503, 0.0)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self._body)),
            # Spread, so that a thousand devices do not come back in the same instant.
            (b"retry-after", b"%d" % random.randint(2, 5)),  # noqa: S311
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})


async def _discard_body(scope: Scope, receive: Receive) -> None:
    """Read the body: closing a connection on which bytes are unread resets it, and the answer is lost."""
    if any(name == b"expect" for name, _ in scope["headers"]):
        return  # the client waits for our word before it sends any
    size, more = 0, True
    while more and size < _MOST_DISCARDED:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
