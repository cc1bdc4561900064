"""Asks a service on this machine whether it is ready."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

from joulebook.supervisor.specs import Address

READY_VARIABLE = "JOULEBOOK_READY_FD"
"""Names the descriptor of the pipe; not set for a process that nobody waits for."""

HOPELESS = 78
"""The exit status of a process that another start would not help, EX_CONFIG of BSD's sysexits."""


def tell_ready() -> None:
    """Tell it, once; harmless where nobody waits."""
    descriptor = os.environ.pop(READY_VARIABLE, "")
    if descriptor.isdigit():
        os.write(int(descriptor), b"1")
        os.close(int(descriptor))


_PAUSE = 0.1


async def answers(address: Address, *, path: str = "/readyz", limit: float = 5.0) -> bool:
    """Say whether `GET path` is answered with 200 within `limit` seconds.

    The request names a host that the web accepts whatever its address, and passes for one that came by
    TLS, since the web redirects others where it stands behind a proxy.
    """
    request = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\n"
        "User-Agent: joulebook-up\r\nConnection: close\r\n\r\n"
    )
    try:
        async with asyncio.timeout(limit):
            reader, writer = await asyncio.open_connection(address.reachable, address.port)
            try:
                writer.write(request.encode())
                status = await reader.readline()
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
    return status.split(b" ")[1:2] == [b"200"]


async def until_it_answers(address: Address) -> None:
    """Return as soon as `address` is ready."""
    while not await answers(address):  # noqa: ASYNC110 - another process is asked, it cannot set an event
        await asyncio.sleep(_PAUSE)
