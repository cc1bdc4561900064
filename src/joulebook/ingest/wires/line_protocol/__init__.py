"""InfluxDB's line protocol over HTTP."""

from __future__ import annotations

from starlette.routing import BaseRoute

from joulebook.config import Config
from joulebook.ingest.requests.intake import Intake
from joulebook.ingest.wire import Wire
from joulebook.ingest.wires.line_protocol.endpoints import line_protocol_routes
from joulebook.ingest.wires.line_protocol.naming import LineNaming
from joulebook.ingest.wires.line_protocol.openapi import PATHS, SECURITY_SCHEMES


class LineProtocolWire(Wire):
    """The addresses of InfluxDB's clients, v1 and v2."""

    openapi_paths = PATHS
    security_schemes = SECURITY_SCHEMES

    def __init__(self, config: Config) -> None:
        """Read how lines are named. Raises `ConfigError`."""
        super().__init__(config)
        self._naming = LineNaming(
            device_tags=config.line_protocol_device_tags,
            metric=config.line_protocol_metric,
            unit=config.line_protocol_unit,
        )

    def open(self, intake: Intake) -> list[BaseRoute]:
        """Return the routes."""
        return line_protocol_routes(intake, self._naming)
