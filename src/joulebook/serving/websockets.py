"""A WebSocket with pings, closed after three pings without a sign of life.

Uvicorn's own keep-alive sends one ping and accepts only its pong. Here a ping is sent in every interval:
this also keeps the connection open in routers. All data from the device counts as an answer, because on a
slow line a pong can wait behind a large message.
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
"""A connection ends one interval after this number of pings without a sign of life."""

_LAST_SECONDS = 5.0
"""How long to wait for a device that does not read the close."""


class WebSocketConnection(WebSocketsSansIOProtocol):
    """Uvicorn's WebSocket with counted pings; their interval is `ws_ping_interval`."""

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
