"""What the load generator speaks: HTTP/1.1 with one request at a time, and WebSocket frames."""

from __future__ import annotations

import struct
from collections.abc import Sequence


class Http:
    """Requests over connections that stay open; every answer has one status and one ending."""

    def __init__(self, status: int, ending: bytes = b"\r\n\r\n") -> None:
        """Expect answers of this status whose last bytes are `ending`; any other is an error."""
        self._start = b"HTTP/1.1 %d" % status
        self._ending = ending

    def opening(self, number: int) -> bytes:  # noqa: ARG002 - as the protocol has it
        """Return nothing: the first request opens the conversation."""
        return b""

    def answered(self, data: bytes) -> bool:
        """Tell whether an answer is whole. Raises RuntimeError for another one than is expected."""
        if data.startswith(self._start) and data.endswith(self._ending):
            return True
        head, blank, body = data.partition(b"\r\n\r\n")
        length = _content_length(head)
        if blank and (length is None or len(body) >= length):
            raise RuntimeError(data.decode(errors="replace")[:500])
        return False


class AnyBody:
    """Requests whose answers differ in their bodies, such as reads; every answer has status 200."""

    def opening(self, number: int) -> bytes:  # noqa: ARG002 - as the protocol has it
        """Return nothing: the first request opens the conversation."""
        return b""

    def answered(self, data: bytes) -> bool:
        """Tell whether an answer is whole. Raises RuntimeError for another status than 200."""
        head, blank, body = data.partition(b"\r\n\r\n")
        if not blank:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(data.decode(errors="replace")[:500])
        length = _content_length(head)
        return len(body) >= length if length is not None else body.endswith(b"0\r\n\r\n")


class WebSockets:
    """A WebSocket a connection, each with the path and token of its own device."""

    def __init__(self, devices: Sequence[tuple[str, str]], ending: bytes) -> None:
        """Open one for each (path, token); expect acknowledgements that end with `ending`."""
        self._devices = devices
        self._ending = ending

    def opening(self, number: int) -> bytes:
        """Return the handshake of a connection."""
        path, token = self._devices[number]
        return (
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        ).encode()

    def answered(self, data: bytes) -> bool:
        """Tell whether an acknowledgement is whole. Raises RuntimeError for another one."""
        length = data[1] if len(data) > 1 else 127
        if data[:1] != b"\x81" or length > 125:
            raise RuntimeError(repr(data[:500]))
        if len(data) < 2 + length:
            return False
        if not data.endswith(self._ending):
            raise RuntimeError(repr(data[:500]))
        return True


def post(path: str, body: bytes, *, token: str = "") -> bytes:
    """Return one POST as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    return head.encode() + b"\r\n" + body


def get(path: str, *, cookie: str = "") -> bytes:
    """Return one GET as it goes over the wire."""
    signed_in = f"Cookie: {cookie}\r\n" if cookie else ""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{signed_in}\r\n".encode()


def frame(text: bytes) -> bytes:
    """Return one message of a WebSocket's client, masked with zeros."""
    length = len(text)
    if length < 126:
        head = bytes((0x81, 0x80 | length))
    elif length < 1 << 16:
        head = struct.pack("!BBH", 0x81, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", 0x81, 0x80 | 127, length)
    return head + bytes(4) + text


def _content_length(head: bytes) -> int | None:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return None
