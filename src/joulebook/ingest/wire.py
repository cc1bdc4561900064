"""A wire: one protocol over which readings arrive. It turns bytes into columns, and a result into an answer.

A new wire is a folder below `wires` with a subclass of `Wire`, and one entry in `app.WIRES`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from prometheus_client.metrics_core import Metric
from starlette.routing import BaseRoute

from joulebook.config import Config
from joulebook.ingest.requests.intake import Intake


class Wire(ABC):
    """One protocol, from its routes and documentation to its metrics."""

    openapi_paths: ClassVar[Mapping[str, Any]] = {}
    """The operations for the OpenAPI document, by path."""

    security_schemes: ClassVar[Mapping[str, Any]] = {}
    """Ways to send a token beyond `Authorization: Bearer`, by their name in `openapi_paths`."""

    def __init__(self, config: Config) -> None:
        """Read the wire's settings. Raises `ConfigError`."""
        self.config = config

    @abstractmethod
    def open(self, intake: Intake) -> list[BaseRoute]:
        """Return the routes; called once in the running event loop.

        A POST to a path without parameters goes straight to its endpoint, an ASGI application: that saves
        the cost of the router for each packet.
        """

    def collect(self) -> Iterable[Metric]:
        """Return metrics of this wire alone."""
        return ()

    async def drain(self, *, seconds: float) -> None:  # noqa: B027 - most wires have nothing to end
        """End connections without an end of their own, within `seconds`."""

    async def close(self) -> None:  # noqa: B027
        """Release threads and connections."""
