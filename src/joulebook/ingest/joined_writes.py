"""Sends the head of an answer together with the beginning of its body, in one system call and one packet."""

from __future__ import annotations

import asyncio
from typing import Any

_HEAD, _END = b"HTTP/1.1 ", b"\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100"


class JoinedWrites:
    """A transport that holds back the head of an answer until what follows it is written.

    Uvicorn writes the two one after the other, and uvloop sends each at once. ASGI allows the head to
    wait: it need not be sent before the first event that carries a body.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        """Write to `transport`."""
        self.transport = transport
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
        self.transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)
