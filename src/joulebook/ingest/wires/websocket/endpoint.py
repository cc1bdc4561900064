"""`/ws/device/{device_id}`: packets over a lasting connection, each acknowledged after its commit."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter

from starlette.types import Receive, Scope, Send

from joulebook.ingest.access.tokens import Grant
from joulebook.ingest.packets import Parameters, read_parameters
from joulebook.ingest.requests.intake import Intake
from joulebook.ingest.requests.refusals import Refusal, refusal_as_json
from joulebook.ingest.wires.websocket.announcements import Announcements, Begun
from joulebook.ingest.wires.websocket.connection import DeviceConnection, Handshake
from joulebook.telemetry.errors import TelemetryError

log = logging.getLogger(__name__)

REPLACED = 4409
"""Close code: a newer connection of the same device has taken over."""

RESTARTING = 1012
"""Close code: ingest is stopping; connect again."""

_TAKEN_OVER = "a newer connection of this device has taken over"


class WebSocketEndpoint:
    """The ASGI application behind `/ws/device/{device_id}`; has the connections of all devices.

    A device has one connection over all ingest processes. A newer one takes over, and the older is closed
    after its last acknowledgement.
    """

    def __init__(
        self, intake: Intake, *, counts: dict[str, int], listen_url: str, most_per_token: int
    ) -> None:
        """Count messages in `counts`; announce connections to other processes over `listen_url`."""
        self._intake = intake
        self._counts = counts
        self._process = uuid.uuid4().hex
        self._announcements = Announcements(listen_url, process=self._process, received=self._compare)
        self._connected: dict[str, DeviceConnection] = {}
        self._running: set[DeviceConnection] = set()
        self._most_per_token = most_per_token
        self._by_token: Counter[str] = Counter()
        self._draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection from its handshake to its end."""
        await receive()  # websocket.connect
        try:
            grant, parameters = await self._admit(scope)
        except Refusal as exc:
            headers, body = refusal_as_json(exc)
            await send({"type": "websocket.http.response.start", "status": exc.status, "headers": headers})
            await send({"type": "websocket.http.response.body", "body": body})
            return
        device_id = str(scope["path_params"]["device_id"])
        # The bearer token accepted by `authorise`.
        token = next(bytes(value[7:].strip()) for name, value in scope["headers"] if name == b"authorization")
        connection = DeviceConnection(
            receive,
            send,
            intake=self._intake,
            handshake=Handshake(device_id, token=token, grant=grant, parameters=parameters),
            counts=self._counts,
            begun=Begun(time.time_ns(), self._process),
        )
        # Before the first await: of two simultaneous connections exactly one becomes the device's.
        older = self._connected.get(device_id)
        self._connected[device_id] = connection
        self._running.add(connection)
        self._by_token[grant.token] += 1
        if older is not None:
            older.stop(REPLACED, _TAKEN_OVER)
        self._announcements.announce(device_id, connection.begun)
        try:
            await connection.run()
        finally:
            self._running.discard(connection)
            self._by_token[grant.token] -= 1
            if not self._by_token[grant.token]:
                del self._by_token[grant.token]
            if self._connected.get(device_id) is connection:
                del self._connected[device_id]

    def _compare(self, device_id: str, begun: Begun) -> None:
        """Stop our connection if the announced one is newer, else announce ours again.

        Without a device, announce all of ours: the announcements have started, or started again.
        """
        if not device_id:
            for connected, here in self._connected.items():
                self._announcements.announce(connected, here.begun)
            return
        connection = self._connected.get(device_id)
        if connection is not None and connection.begun < begun:
            connection.stop(REPLACED, _TAKEN_OVER)
        elif connection is not None:
            self._announcements.announce(device_id, connection.begun)

    async def close(self) -> None:
        """Stop the announcements."""
        await self._announcements.close()

    async def drain(self, *, seconds: float) -> None:
        """Refuse new connections; acknowledge the open ones' messages and close them, within `seconds`."""
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

    async def _admit(self, scope: Scope) -> tuple[Grant, Parameters]:
        """Return the token's grant and the parameters of the address. Raises `Refusal`."""
        if self._draining:
            raise Refusal(503, "unavailable", "ingest is stopping; connect again")
        # A token in the address is refused here, as an unknown parameter.
        parameters = read_parameters(scope["query_string"])
        try:
            grant = await self._intake.authorise(scope)
        except TelemetryError as exc:
            raise Refusal(503, "unavailable", f"connect again: {exc}") from exc
        device_id = str(scope["path_params"]["device_id"])
        if device_id not in grant.devices:
            message = f"this token may not write for device {device_id[:80]!r}"
            raise Refusal(403, "device_not_allowed", message)
        # A device that is connected replaces its own connection.
        if device_id not in self._connected and self._by_token[grant.token] >= self._most_per_token:
            message = f"this token has {self._most_per_token} connections open, its share; use further tokens"
            raise Refusal(503, "unavailable", message)
        return grant, parameters
