"""A WebSocket that is pinged, and closed when it has been silent after three pings.

Uvicorn's own keep-alive sends one ping and then waits for its answer alone. Here a ping goes out in
every interval, which also keeps the way through routers open, and whatever comes from the device
counts as an answer: a pong can be stuck behind a large message on a slow line.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from joulebook.serving.http import Connections

PING_SECONDS = 20
MISSED_PINGS = 3
"""So many pings without a sign of life, and an interval after the last of them, end a connection."""

_LAST_SECONDS = 5.0
"""How long the close may take to reach a device that reads nothing."""


class WebSocketConnection(WebSocketsSansIOProtocol):
    """Uvicorn's WebSocket with pings that are counted; their interval is `ws_ping_interval`."""

    def __init__(self, config: uvicorn.Config, server_state: Connections, app_state: dict[str, Any]) -> None:
        """Take what uvicorn gives."""
        super().__init__(config, server_state, app_state)
        self._guard = server_state.guard
        self._missed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the place that the HTTP connection has given back."""
        super().connection_made(transport)
        self._guard.admit(self, self.client[0] if self.client else "")
        self._guard.note_head(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._guard.forget(self)
        super().connection_lost(exc)

    def is_answering(self) -> bool:
        """Return True: it may be sent something at any time."""
        return True

    def give_up(self) -> None:
        """Close at once, whatever is in flight."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take what comes as a sign of life."""
        self._missed = 0
        super().data_received(data)

    def send_keepalive_ping(self) -> None:
        """Send a ping, or close where the last ones were not answered."""
        self.ping_timer = None
        if self.close_sent or self.transport.is_closing():
            return
        if self._missed >= MISSED_PINGS:
            self.keepalive_timeout()
            # The close may wait behind acknowledgements that nobody reads.
            self.loop.call_later(_LAST_SECONDS, self.transport.abort)
            return
        # While we do not read, because the database is slow, there is nothing to be missed.
        self._missed += not self.read_paused
        self.conn.send_ping(struct.pack("!I", self._missed))
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.schedule_ping()

    def handle_pong(self, event: Any) -> None:
        """Do nothing: its arrival was the sign."""
