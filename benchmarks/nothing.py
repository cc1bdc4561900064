"""A service that answers as ingest does and stores nothing: what the load generator could drive at most.

Run as `python -m benchmarks.nothing <port>`.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

ANSWER = b'{"accepted":1,"duplicate":0,"rejected":[],"ignored":[]}\n'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]


async def app(
    scope: dict[str, Any], receive: Callable[[], Any], send: Callable[..., Awaitable[None]]
) -> None:
    """Read a request whole and answer it."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning", lifespan="off")
