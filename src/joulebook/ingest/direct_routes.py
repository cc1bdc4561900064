"""The addresses that devices write to, reached without the framework's layers.

A request of one reading costs a twentieth of a millisecond to answer, and the layers that FastAPI puts
around every route cost nearly as much again (docs/benchmarks.md). What goes past them needs none: these
endpoints read no more than their limits, and answer every failure themselves.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class DirectRoutes:
    """The ASGI application that calls an endpoint for its exact address, and another one for all else."""

    def __init__(self, app: ASGIApp) -> None:
        """Pass on to `app` what has no endpoint; it knows them too, and so their other methods."""
        self._app = app
        self._endpoints: dict[str, ASGIApp] = {}

    def add(self, path: str, endpoint: ASGIApp) -> None:
        """Let `endpoint` answer a POST to exactly this path."""
        self._endpoints[path] = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request."""
        if scope["type"] == "http" and scope["method"] == "POST":
            await self._endpoints.get(scope["path"], self._app)(scope, receive, send)
        else:
            await self._app(scope, receive, send)
