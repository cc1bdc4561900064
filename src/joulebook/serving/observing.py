"""Gives each request an id, counts it and measures its time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Sequence

from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from joulebook.logs import accepted_request_id, new_request_id, request_id
from joulebook.serving.addresses import Networks, is_trusted
from joulebook.serving.metrics import METHODS, Histogram, RequestMetrics

UNKNOWN_ROUTE = "unknown"
"""The route of all unknown addresses: a scanner's paths must not become labels."""

_REQUEST_ID = b"x-request-id"


def choose_request_id(given: str | None, *, peer: str, trusted: Networks) -> str:
    """Return the id of a request: the well-formed one `given` by a trusted proxy, else a new one."""
    if given is not None and is_trusted(peer, trusted):
        return accepted_request_id(given) or new_request_id()
    return new_request_id()


class RequestObserver:
    """ASGI middleware: counts requests; each answer has the request's id in `X-Request-ID`."""

    def __init__(
        self, app: ASGIApp, metrics: RequestMetrics, *, routes: Sequence[BaseRoute], trusted_proxies: Networks
    ) -> None:
        """Count in `metrics` by those of `routes`; accept the X-Request-ID of a trusted proxy."""
        self._app = app
        self._metrics = metrics
        self._routes = routes
        self._exact: dict[tuple[str, str, int], Histogram] = {}
        self._trusted = tuple(trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
            return
        if self._trusted:
            given = next(
                (value.decode("latin-1") for name, value in scope["headers"] if name == _REQUEST_ID), None
            )
            peer = scope["client"][0] if scope["client"] is not None else ""
            own = choose_request_id(given, peer=peer, trusted=self._trusted)
        else:
            own = new_request_id()
        request_id.set(own)  # the server runs each request in a task, and so in a context, of its own
        header = (_REQUEST_ID, own.encode())
        if kind == "websocket":
            await self._app(scope, receive, _with_header(send, header))
            return
        status = 0

        def counted(message: Message) -> Awaitable[None]:
            # A plain function, not a coroutine: every answer passes here twice.
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], header]
            return send(message)

        metrics, began = self._metrics, time.perf_counter()
        metrics.in_flight += 1
        try:
            await self._app(scope, receive, counted)
        finally:
            metrics.in_flight -= 1
            if status:
                key = scope["path"], scope["method"], status
                (self._exact.get(key) or self._histogram(scope, *key)).observe(time.perf_counter() - began)

    def _histogram(self, scope: Scope, path: str, method: str, status: int) -> Histogram:
        """Return the histogram for a request; remember it for routes without parameters."""
        template = UNKNOWN_ROUTE
        for route in self._routes:
            if route.matches(scope)[0] is not Match.NONE:
                template = str(getattr(route, "path", UNKNOWN_ROUTE))
                if isinstance(route, Mount):
                    template += "/{path}"
                break
        histogram = self._metrics.durations(template, method, status)
        if template == path and method in METHODS:
            self._exact[path, method, status] = histogram
        return histogram


def _with_header(send: Send, header: tuple[bytes, bytes]) -> Send:
    """Return a `send` that adds the header to the answer to a WebSocket's handshake."""

    async def sent(message: Message) -> None:
        if message["type"] in {"websocket.accept", "websocket.http.response.start"}:
            message["headers"] = [*message.get("headers", []), header]
        await send(message)

    return sent
