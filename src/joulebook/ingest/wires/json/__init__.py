"""JSON packets over HTTP: `POST /api/readings`."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from joulebook.ingest.requests.intake import Intake
from joulebook.ingest.wire import Wire
from joulebook.ingest.wires.json.endpoint import ReadingsEndpoint
from joulebook.ingest.wires.json.openapi import PATHS


class JsonWire(Wire):
    """`POST /api/readings`."""

    openapi_paths = PATHS

    def open(self, intake: Intake) -> list[BaseRoute]:
        """Return the route."""
        return [Route("/api/readings", ReadingsEndpoint(intake), methods=["POST"])]
