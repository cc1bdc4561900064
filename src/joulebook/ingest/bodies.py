"""Reads a request's body under a cap, and inflates gzip and zstd under the same cap."""

from __future__ import annotations

import asyncio
import zlib

import zstandard
from starlette.types import Receive, Scope

from joulebook.ingest.body_memory import Held, NoRoom

_ZSTD_WINDOW = 1 << 23
"""The memory that every decoder of zstd grants a sender (RFC 8878): 8 MiB."""
_ZSTD_SLICE = 512


class BodyTooLarge(Exception):
    """The body, as sent or after inflating, is larger than allowed."""


class BodyUnreadable(Exception):
    """The body's encoding is unknown or damaged."""


class ClientGone(Exception):
    """The client went away before its body was complete."""


async def read_body(scope: Scope, receive: Receive, *, most_bytes: int, held: Held | None = None) -> bytes:
    """Return the whole body, inflated as its Content-Encoding says; `held` counts its bytes.

    Raises `BodyTooLarge` as soon as more than `most_bytes` came or would come out, `BodyUnreadable`,
    `NoRoom`, and `ClientGone`.
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
    inflated = inflate(body, encoding.decode("latin-1"), most_bytes=most_bytes)
    if held is not None:
        held.grow_to(len(inflated))
    return inflated


async def _read_rest(start: bytes, receive: Receive, *, most_bytes: int, held: Held | None) -> bytes:
    # One after the other in one piece: a body that comes byte by byte must not be a million objects.
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
        raise NoRoom("others send faster, or less, and there is no room for all") from exc
    return bytes(body)


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
    parts: list[bytes] = []
    size, rest = 0, body
    while rest:
        member = zlib.decompressobj(wbits=31)
        parts.append(member.decompress(rest, most_bytes + 1 - size))
        size += len(parts[-1])
        if size > most_bytes:
            break
        if not member.eof:
            raise EOFError("it ends too early")
        rest = member.unused_data
    return b"".join(parts)


def _unzstd(body: bytes, *, most_bytes: int) -> bytes:
    parts: list[bytes] = []
    size, rest = 0, body
    while rest and size <= most_bytes:
        frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
        # In small slices: four bytes can say "the same byte 128 KiB long".
        for start in range(0, len(rest), _ZSTD_SLICE):
            parts.append(frame.decompress(rest[start : start + _ZSTD_SLICE]))
            size += len(parts[-1])
            if frame.eof or size > most_bytes:
                rest = frame.unused_data + rest[start + _ZSTD_SLICE :]
                break
        else:
            raise EOFError("it ends too early")
    return b"".join(parts)
