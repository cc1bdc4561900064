"""`/ws/device/{device_id}`: packets over a connection that stays, each acknowledged after its commit."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections import Counter
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from joulebook.ingest.access.tokens import Grant, TokenDirectory
from joulebook.ingest.commit.storing import ReadingStore
from joulebook.ingest.metrics import IngestMetrics
from joulebook.ingest.wires.json.endpoint import Asked, Limits, Refusal, authorise, read_query
from joulebook.ingest.wires.websocket.connection import DeviceConnection, Rules
from joulebook.ingest.wires.websocket.siblings import Begun, ConnectionNews
from joulebook.logs import request_id
from joulebook.telemetry.errors import TelemetryError

log = logging.getLogger(__name__)

REPLACED = 4409
"""Close code: a newer connection of the same device has taken over."""

RESTARTING = 1012
"""Close code: ingest is stopping; connect again."""

_TAKEN_OVER = "a newer connection of this device has taken over"

_encode = msgspec.json.Encoder().encode


class WebSocketEndpoint:
    """The ASGI application behind `/ws/device/{device_id}`; knows which device is connected.

    One connection a device, over all ingest processes: a newer one takes over, and the older is closed
    when what it was sent is answered.
    """

    def __init__(
        self,
        *,
        tokens: TokenDirectory,
        store: ReadingStore,
        limits: Limits,
        metrics: IngestMetrics,
        listen_url: str,
        most_per_token: int,
    ) -> None:
        self._tokens = tokens
        self._store = store
        self._limits = limits
        self._counts = metrics.messages
        self._process = uuid.uuid4().hex
        self._news = ConnectionNews(listen_url, process=self._process, heard=self._hear)
        self._connected: dict[str, DeviceConnection] = {}
        self._running: set[DeviceConnection] = set()
        self._most_per_token = most_per_token
        self._by_token: Counter[str] = Counter()
        self._draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection from its handshake to its end."""
        await receive()  # websocket.connect
        try:
            grant, asked = await self._admit(scope)
        except Refusal as exc:
            await _refuse(send, exc)
            return
        device_id = str(scope["path_params"]["device_id"])
        connection = DeviceConnection(
            receive,
            send,
            store=self._store,
            rules=Rules(device_id=device_id, grant=grant, token=_token(scope), asked=asked),
            limits=self._limits,
            tokens=self._tokens,
            counts=self._counts,
            begun=Begun(time.time_ns(), self._process),
        )
        # Before anything is awaited: of two connections at once exactly one ends up as the device's.
        older = self._connected.get(device_id)
        self._connected[device_id] = connection
        self._running.add(connection)
        self._by_token[grant.token] += 1
        if older is not None:
            older.stop(REPLACED, _TAKEN_OVER)
        self._news.announce(device_id, connection.begun)
        try:
            await connection.run()
        finally:
            self._running.discard(connection)
            self._by_token[grant.token] -= 1
            if not self._by_token[grant.token]:
                del self._by_token[grant.token]
            if self._connected.get(device_id) is connection:
                del self._connected[device_id]

    def _hear(self, device_id: str, begun: Begun) -> None:
        """End the connection that a newer one elsewhere replaces; tell an older one elsewhere of ours."""
        if not device_id:
            for connected, here in self._connected.items():
                self._news.announce(connected, here.begun)
            return
        connection = self._connected.get(device_id)
        if connection is not None and connection.begun < begun:
            connection.stop(REPLACED, _TAKEN_OVER)
        elif connection is not None:
            self._news.announce(device_id, connection.begun)

    async def close(self) -> None:
        """Let go of what connects this process with the others."""
        await self._news.close()

    async def drain(self, *, seconds: float) -> None:
        """Refuse new connections; answer what the open ones were sent, and close them, within `seconds`."""
        self._draining = True
        for connection in self._running:
            connection.stop(RESTARTING, "ingest is stopping; connect again")
        if not self._running:
            return
        ended = (connection.ended.wait() for connection in self._running)
        try:
            await asyncio.wait_for(asyncio.gather(*ended), seconds)
        except TimeoutError:
            log.warning("%d connections of devices did not end in %g s", len(self._running), seconds)

    async def _admit(self, scope: Scope) -> tuple[Grant, Asked]:
        """Return what the token allows and what the address asks for. Raises `Refusal`."""
        if self._draining:
            raise Refusal(503, "unavailable", "ingest is stopping; connect again")
        # A token in the address is a parameter that is not known here.
        asked = read_query(scope["query_string"])
        try:
            grant = await authorise(scope, self._tokens)
        except TelemetryError as exc:
            raise Refusal(503, "unavailable", f"connect again: {exc}") from exc
        device_id = str(scope["path_params"]["device_id"])
        if device_id not in grant.devices:
            message = f"this token may not write for device {device_id[:80]!r}"
            raise Refusal(403, "device_not_allowed", message)
        # A device that connects anew replaces its own connection.
        if device_id not in self._connected and self._by_token[grant.token] >= self._most_per_token:
            message = f"this token has {self._most_per_token} connections open, its share; use further tokens"
            raise Refusal(503, "unavailable", message)
        return grant, asked


def _token(scope: Scope) -> bytes:
    """Return the bearer token that `authorise` has accepted."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return bytes(value[7:].strip())
    raise AssertionError("an admitted connection has a token")


async def _refuse(send: Send, refusal: Refusal) -> None:
    """Answer the handshake with an HTTP status."""
    answer: dict[str, Any] = {"code": refusal.code, "message": str(refusal)}
    if refusal.status >= 500:
        answer["request_id"] = request_id.get()
    body = _encode(answer) + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    elif refusal.status == 503:
        headers.append((b"retry-after", b"%d" % random.randint(1, 5)))  # noqa: S311
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})
