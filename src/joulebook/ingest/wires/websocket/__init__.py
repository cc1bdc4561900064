"""JSON packets over a WebSocket for each device."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from starlette.routing import BaseRoute, WebSocketRoute

from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.ingest.metrics import counters
from joulebook.ingest.requests.intake import Intake
from joulebook.ingest.wire import Wire
from joulebook.ingest.wires.websocket.connection import MESSAGE_OUTCOMES
from joulebook.ingest.wires.websocket.endpoint import WebSocketEndpoint

_TOKENS_SHARE = 8
"""One token may have this fraction of all connections as WebSockets: one in 8."""


class WebSocketWire(Wire):
    """`/ws/device/{device_id}`."""

    def __init__(self, config: Config) -> None:
        """Count messages from zero."""
        super().__init__(config)
        self._messages = dict.fromkeys(MESSAGE_OUTCOMES, 0)
        self._endpoint: WebSocketEndpoint | None = None

    def open(self, intake: Intake) -> list[BaseRoute]:
        """Return the route."""
        self._endpoint = WebSocketEndpoint(
            intake,
            counts=self._messages,
            listen_url=self.config.telemetry_listen_url or telemetry_url(self.config, "writer"),
            most_per_token=max(1, self.config.ingest_connections // _TOKENS_SHARE),
        )
        return [WebSocketRoute("/ws/device/{device_id}", self._endpoint)]

    def collect(self) -> Iterable[Metric]:
        """Return the messages by outcome."""
        yield counters(
            "messages", "Messages of WebSockets by what became of them.", "outcome", self._messages
        )

    async def drain(self, *, seconds: float) -> None:
        """Close the devices' connections."""
        if self._endpoint is not None:
            await self._endpoint.drain(seconds=seconds)

    async def close(self) -> None:
        """Stop the announcements to other processes."""
        if self._endpoint is not None:
            await self._endpoint.close()
