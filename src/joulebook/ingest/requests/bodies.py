"""Reads and inflates (gzip, zstd) a request's body up to a limit, and bounds the memory of all bodies."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import Counter
from collections.abc import Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType

import zstandard
from starlette.types import Receive, Scope

from joulebook.telemetry.errors import TelemetryError

SMALL_BODY = 64 * 1024
"""Smaller bodies are not counted."""


class BodyMemoryFull(TelemetryError):
    """The memory for bodies is full; the client must keep its data and send it again later."""


class Held:
    """The memory of one request's body, released at the end of the context."""

    __slots__ = ("_memory", "_since", "_waiting", "bytes", "sender")

    def __init__(self, memory: BodyMemory, sender: Hashable | None) -> None:
        self._memory = memory
        self._since = time.monotonic()
        self._waiting: asyncio.Timeout | None = None
        self.sender = self if sender is None else sender
        self.bytes = 0

    def __enter__(self) -> Held:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.bytes:
            self._memory.release(self)

    def pace(self, size: int | None = None) -> float:
        """Return the bytes a second until now if `size` bytes have arrived; default: the counted ones."""
        return (self.bytes if size is None else size) / max(0.001, time.monotonic() - self._since)

    def grow_to(self, size: int) -> None:
        """Count `size` bytes in all. Raises `BodyMemoryFull`."""
        if size > SMALL_BODY:
            self._memory.grow(self, size)

    @contextmanager
    def may_give_way(self, waiting: asyncio.Timeout) -> Iterator[None]:
        """Allow another body to claim this memory inside the context, by ending `waiting`."""
        self._waiting = waiting
        try:
            yield
        finally:
            self._waiting = None

    @property
    def can_give_way(self) -> bool:
        """Whether the request is inside `may_give_way`."""
        return self._waiting is not None

    def give_way(self) -> None:
        """End the request's waiting; `can_give_way` must be true."""
        assert self._waiting is not None  # noqa: S101 - as the docstring demands
        self._waiting.reschedule(0)
        self._waiting = None


class BodyMemory:
    """Counts the bytes of bodies, from their first part until they are parsed."""

    def __init__(self, most_bytes: int) -> None:
        """Allow `most_bytes` for all bodies together."""
        self._most_bytes = most_bytes
        self._all: dict[Held, None] = {}
        self._by_sender: Counter[Hashable] = Counter()
        self.bytes = 0

    def hold(self, sender: Hashable | None = None) -> Held:
        """Return the context of one request's body; without a `sender`, it counts as a sender of its own."""
        return Held(self, sender)

    def grow(self, held: Held, size: int) -> None:
        """Count `size` bytes for one body. Raises `BodyMemoryFull` if other bodies do not give way to it."""
        more = size - held.bytes
        if self.bytes + more > self._most_bytes and not self._make_room(held, more):
            raise BodyMemoryFull(f"{self.bytes} bytes of requests are held already, all that may be")
        self._all[held] = None
        held.bytes += more
        self._by_sender[held.sender] += more
        self.bytes += more

    def _make_room(self, held: Held, more: int) -> bool:
        """Make other bodies give way until there is room; return whether there is.

        A body gives way to a sender holding less, and to a faster body. Its bytes are no longer counted,
        and are freed a moment later.
        """
        own = self._by_sender[held.sender] + more
        pace = held.pace(held.bytes + more)
        # A sender of many bodies has fast ones among them: its pace must not displace slow lines.
        is_modest = own == held.bytes + more or own <= self._most_bytes // 2
        others = [other for other in self._all if other is not held and other.can_give_way]
        others.sort(key=lambda other: (-self._by_sender[other.sender], other.pace()))
        for other in others:
            if self.bytes + more <= self._most_bytes:
                break
            holds_more = other.sender != held.sender and self._by_sender[other.sender] > own
            is_slower = other.pace() < pace and (is_modest or other.sender == held.sender)
            if holds_more or is_slower:
                other.give_way()
                self.release(other)
        return self.bytes + more <= self._most_bytes

    def release(self, held: Held) -> None:
        """Count a body no longer."""
        self._all.pop(held, None)
        self.bytes -= held.bytes
        if held.bytes:
            self._by_sender[held.sender] -= held.bytes
            if not self._by_sender[held.sender]:
                del self._by_sender[held.sender]
        held.bytes = 0


_ZSTD_WINDOW = 1 << 23
"""The window that every decoder of zstd must support (RFC 8878): 8 MiB."""
_ZSTD_SLICE = 512
_GZIP_SLICE = 64 * 1024

_MOST_PARTS = 1_000
"""Members of gzip or frames of zstd in one body; senders that compress in pieces make some hundred."""

_INFLATED_AT_ONCE = 256 * 1024
"""Bodies inflating to more bytes are inflated in a thread."""

# One thread, so that only one inflated body is not counted yet.
_inflater_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inflate")


class BodyTooLarge(Exception):
    """The body, as sent or after inflating, is larger than allowed."""


class BodyUnreadable(Exception):
    """The body's encoding is unknown or damaged."""


class ClientGone(Exception):
    """The client disconnected before its body was complete."""


async def read_body(scope: Scope, receive: Receive, *, most_bytes: int, held: Held | None = None) -> bytes:
    """Return the whole body, inflated by its Content-Encoding; count its bytes in `held`.

    Raises `BodyTooLarge` as soon as the body exceeds `most_bytes`, as sent or inflated; `BodyUnreadable`,
    `BodyMemoryFull`, and `ClientGone`.
    """
    length = encoding = b""
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = value
        elif name == b"content-encoding":
            encoding = value.strip().lower()
    if length.isdigit() and int(length) > most_bytes:
        raise BodyTooLarge(f"the body has {int(length)} bytes, at most {most_bytes} are taken")
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        body = await _read_rest(body, receive, most_bytes=most_bytes, held=held)
    if encoding in {b"", b"identity"}:
        return body
    inflated = await _inflate(body, encoding.decode("latin-1"), most_bytes=most_bytes)
    if held is not None:
        held.grow_to(len(inflated))
    return inflated


async def _read_rest(start: bytes, receive: Receive, *, most_bytes: int, held: Held | None) -> bytes:
    # One buffer: a body sent byte by byte must not become a million objects.
    body, more = bytearray(start), True
    try:
        async with asyncio.timeout(None) as waiting:
            while more:
                if held is not None:
                    held.grow_to(len(body))
                    with held.may_give_way(waiting):
                        message = await receive()
                else:
                    message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                body += message.get("body", b"")
                if len(body) > most_bytes:
                    raise BodyTooLarge(f"the body has more than {most_bytes} bytes")
                more = message.get("more_body", False)
    except TimeoutError as exc:
        raise BodyMemoryFull("others send faster, or less, and there is no room for all") from exc
    return bytes(body)


async def _inflate(body: bytes, encoding: str, *, most_bytes: int) -> bytes:
    """Return the body inflated, in a thread if it is large. Raises as `inflate`."""
    try:
        return inflate(body, encoding, most_bytes=min(most_bytes, _INFLATED_AT_ONCE))
    except BodyTooLarge:
        if most_bytes <= _INFLATED_AT_ONCE:
            raise
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(
        _inflater_thread, lambda: inflate(body, encoding, most_bytes=most_bytes)
    )


def inflate(body: bytes, encoding: str, *, most_bytes: int) -> bytes:
    """Return the body inflated. Raises `BodyTooLarge` and `BodyUnreadable`."""
    try:
        if encoding == "gzip":
            inflated = _gunzip(body, most_bytes=most_bytes)
        elif encoding == "zstd":
            inflated = _unzstd(body, most_bytes=most_bytes)
        else:
            raise BodyUnreadable(f"Content-Encoding {encoding[:40]!r} is not understood; send gzip or zstd")
    except (zlib.error, zstandard.ZstdError, EOFError) as exc:
        raise BodyUnreadable(f"the {encoding} body is damaged: {exc}") from exc
    if len(inflated) > most_bytes:
        raise BodyTooLarge(f"the body inflates to more than {most_bytes} bytes")
    return inflated


def _gunzip(body: bytes, *, most_bytes: int) -> bytes:
    """Inflate the members of a gzip body, in slices: zlib copies everything after a member's end."""
    parts: list[bytes] = []
    size = position = members = 0
    view = memoryview(body)
    while position < len(body):
        members = _one_more(members, "gzip members")
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            if position >= len(body):
                raise EOFError("it ends too early")
            part = view[position : position + _GZIP_SLICE]
            parts.append(member.decompress(part, most_bytes + 1 - size))
            size += len(parts[-1])
            if size > most_bytes:
                return b"".join(parts)
            position += len(part) - len(member.unused_data)
    return b"".join(parts)


def _unzstd(body: bytes, *, most_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = position = frames = 0
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    view = memoryview(body)
    while position < len(body):
        frames = _one_more(frames, "zstd frames")
        frame = decompressor.decompressobj()
        while not frame.eof:
            if position >= len(body):
                raise EOFError("it ends too early")
            # In small slices: four bytes can stand for 128 KiB of the same byte.
            part = view[position : position + _ZSTD_SLICE]
            parts.append(frame.decompress(part))
            size += len(parts[-1])
            if size > most_bytes:
                return b"".join(parts)
            position += len(part) - len(frame.unused_data)
    return b"".join(parts)


def _one_more(parts: int, name: str) -> int:
    """Count one more part of a body. Raises `BodyUnreadable`: each costs more than its bytes."""
    if parts == _MOST_PARTS:
        raise BodyUnreadable(f"the body has more than {_MOST_PARTS} {name}")
    return parts + 1
