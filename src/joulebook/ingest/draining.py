"""The server's orderly end: nobody who was being served is cut off, and those who come are told to return."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from types import FrameType

import uvicorn

from joulebook.ingest.connections import Connections

log = logging.getLogger("uvicorn.error")

LINGER_SECONDS = 1.0
"""How long devices that keep their connection get a 503 rather than a closed door."""


class DrainingServer(uvicorn.Server):
    """Uvicorn's server, which on SIGTERM first says no to new requests and only then closes connections."""

    def __init__(self, config: uvicorn.Config, *, connections: Connections) -> None:
        """Serve `config`, and count and refuse connections in `connections`."""
        super().__init__(config)
        self.server_state = self.connections = connections
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the end, at once: readiness fails with the next question."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.connections.stop)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish the requests in flight, turn away those that come, then stop listening and close."""
        began = time.monotonic()
        self.connections.stop()
        while (  # noqa: ASYNC110 - uvicorn keeps a set, and tells nobody when it is empty
            self.connections.connections and time.monotonic() < began + LINGER_SECONDS
        ):
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
        log.info("Drained in %.1f s", time.monotonic() - began)
