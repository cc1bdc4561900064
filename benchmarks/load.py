"""A load generator in a process of its own: many connections that each send, wait for the answer, send.

It speaks just enough HTTP/1.1 to cost little beside what it measures: on two cores a full client
library would be most of the figure.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import uvloop


@dataclass(frozen=True)
class Load:
    """What was sent and how it went; `seconds` is the whole run, `latency` each request's own."""

    requests: int
    seconds: float
    latency: np.ndarray

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    def percentile(self, percent: float) -> float:
        """Return a percentile of the requests' latencies in milliseconds."""
        return float(np.percentile(self.latency, percent) * 1000)


def post_all(port: int, path: str, requests: Sequence[tuple[str, bytes]], *, connections: int) -> Load:
    """Send each (token, body) once over `connections` connections, from another process.

    Raises RuntimeError for any answer but 200.
    """
    messages = [_message(path, token, body) for token, body in requests]
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(sender, port, messages, connections))
    process.start()
    outcome = receiver.recv()
    process.join()
    if isinstance(outcome, str):
        raise RuntimeError(outcome)  # noqa: TRY004 - a text is the failure's message
    seconds, latency = outcome
    return Load(requests=len(messages), seconds=seconds, latency=latency)


def _message(path: str, token: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _run(sender: object, port: int, messages: list[bytes], connections: int) -> None:
    try:
        outcome: object = uvloop.run(_send(port, messages, connections))
    except Exception as exc:  # noqa: BLE001 - told to the parent
        outcome = f"{type(exc).__name__}: {exc}"
    sender.send(outcome)  # type: ignore[attr-defined]


async def _send(port: int, messages: list[bytes], connections: int) -> tuple[float, np.ndarray]:
    waiting = iter(messages)
    latency: list[float] = []
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
    begin = time.perf_counter()
    await asyncio.gather(*(_drain(reader, writer, waiting, latency) for reader, writer in streams))
    seconds = time.perf_counter() - begin
    for _, writer in streams:
        writer.close()
    return seconds, np.array(latency)


async def _drain(reader, writer, waiting, latency) -> None:
    for message in waiting:
        sent = time.perf_counter()
        writer.write(message)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        latency.append(time.perf_counter() - sent)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError((head + body).decode()[:500])
