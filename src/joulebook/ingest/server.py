"""Runs the ingest service on its address until it is told to stop."""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Awaitable, Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from joulebook.config import Config
from joulebook.ingest.app import create_app
from joulebook.ingest.metrics import IngestMetrics
from joulebook.ingest.wires.websocket.connection import MESSAGE_BYTES
from joulebook.logs import accepted_request_id, new_request_id, request_id, set_up_logging
from joulebook.readiness import tell_ready
from joulebook.serving.addresses import Networks, is_trusted
from joulebook.serving.guard import Guard
from joulebook.serving.metrics import METHODS, Histogram, RequestMetrics
from joulebook.serving.server import DRAIN_SECONDS, Refusal, Server, Service, connections_that_fit, run


def without_prefix(app: ASGIApp, public_url: str | None) -> ASGIApp:
    """Return `app`, reached also below the path of its public address."""
    prefix = urlsplit(public_url or "").path.rstrip("/")
    if not prefix:
        return app
    start = f"{prefix}/"

    async def shortened(scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path", "").startswith(start):
            scope = {**scope, "path": scope["path"][len(prefix) :]}
            if scope.get("raw_path", b"").startswith(start.encode()):
                scope["raw_path"] = scope["raw_path"][len(prefix) :]
        await app(scope, receive, send)

    return shortened


_UNKNOWN = "unknown"
"""The route of addresses that are none of ours: a scanner's paths must not become labels."""


class ObservedRequests:
    """Passes requests on; answers carry their id in `X-Request-ID`."""

    def __init__(
        self, app: ASGIApp, metrics: RequestMetrics, *, routes: Sequence[BaseRoute], trusted_proxies: Networks
    ) -> None:
        """Count in `metrics` by those of `routes`; keep the X-Request-ID of a trusted proxy."""
        self._app = app
        self._metrics = metrics
        self._routes = routes
        self._exact: dict[tuple[str, str, int], Histogram] = {}
        self._trusted = tuple(trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        kind = scope["type"]
        if kind not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        given = self._id_of_proxy(scope) if self._trusted else None
        own = given or new_request_id()
        request_id.set(own)  # the server runs each request in a task, and so in a context, of its own
        header = (b"x-request-id", own.encode())
        if kind == "websocket":
            await self._app(scope, receive, _with_header(send, header))
            return
        status = 0

        def counted(message: Message) -> Awaitable[None]:
            # Not a coroutine of its own: every answer passes here twice.
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

    def _id_of_proxy(self, scope: Scope) -> str | None:
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                if scope["client"] is not None and is_trusted(scope["client"][0], self._trusted):
                    return accepted_request_id(value.decode("latin-1"))
                break
        return None

    def _histogram(self, scope: Scope, path: str, method: str, status: int) -> Histogram:
        """Return the durations of requests like this one; kept for routes without parameters."""
        template = _template(self._routes, scope)
        histogram = self._metrics.durations(template, method, status)
        if template == path and method in METHODS:
            self._exact[path, method, status] = histogram
        return histogram


def _template(routes: Iterable[BaseRoute], scope: Scope) -> str:
    for route in routes:
        if route.matches(scope)[0] is not Match.NONE:
            path = str(getattr(route, "path", _UNKNOWN))
            return f"{path}/{{path}}" if isinstance(route, Mount) else path
    return _UNKNOWN


def _with_header(send: Send, header: tuple[bytes, bytes]) -> Send:
    """Return a `send` that adds the header to the answer to a WebSocket's handshake."""

    async def sent(message: Message) -> None:
        if message["type"] in {"websocket.accept", "websocket.http.response.start"}:
            message["headers"] = [*message.get("headers", []), header]
        await send(message)

    return sent


def serve(
    config: Config,
    *,
    process: int = 1,
    listening: socket.socket | None = None,
    siblings_folder: Path | None = None,
) -> None:
    """Listen on the configured address; return after SIGTERM or SIGINT, when requests in flight are done.

    One of several processes is given its number, a socket that is `listening` already, and the folder in
    which they meet.
    """
    set_up_logging("ingest", log_format=config.log_format)
    app = create_app(config, process=process, siblings_folder=siblings_folder)
    metrics: IngestMetrics = app.state.metrics
    _collect_garbage_seldom()

    async def drain() -> None:
        """End devices' connections in order: uvicorn would cut them off."""
        await app.state.drain(seconds=DRAIN_SECONDS)

    observed = ObservedRequests(
        app.state.direct, metrics.requests, routes=app.routes, trusted_proxies=config.trusted_proxies
    )
    server = Server(
        Service(
            app=without_prefix(observed, config.ingest_url),
            host=config.ingest_host,
            port=config.ingest_port,
            guard=Guard(
                connections_that_fit(config.ingest_connections),
                per_address=config.connections_per_address,
                trusted=config.trusted_proxies,
            ),
            refusal=Refusal("application/json", _refusal, metrics.requests.turned_away),
            drain=drain,
            message_bytes=MESSAGE_BYTES,
        )
    )
    metrics.open_connections = lambda: len(server.connections.connections)
    tell_ready()
    run(server, listening=listening)


def _refusal(reason: str) -> bytes:
    answer = {"code": "unavailable", "message": f"not stored, send it again: {reason}"}
    return msgspec.json.encode(answer) + b"\n"


def _collect_garbage_seldom() -> None:
    """Look less often for garbage in cycles, and never at what was loaded at the start.

    A request leaves few cycles behind, but the usual thresholds cost an eighth of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
