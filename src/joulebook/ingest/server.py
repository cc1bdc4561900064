"""Runs the ingest service on its address until SIGTERM or SIGINT."""

from __future__ import annotations

import gc
import socket
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from joulebook.config import Config
from joulebook.ingest.app import create_app
from joulebook.ingest.metrics import IngestMetrics
from joulebook.ingest.wires.websocket.connection import MESSAGE_BYTES
from joulebook.logs import set_up_logging
from joulebook.readiness import tell_ready
from joulebook.serving.guard import Guard
from joulebook.serving.observing import RequestObserver
from joulebook.serving.server import DRAIN_SECONDS, Server, Service, Unavailable, connections_that_fit, run


def without_prefix(app: ASGIApp, public_url: str | None) -> ASGIApp:
    """Return `app`, also reachable below the path of its public address."""
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


def serve(
    config: Config,
    *,
    process: int = 1,
    listening: socket.socket | None = None,
    siblings_folder: Path | None = None,
) -> None:
    """Listen on the configured address; return after SIGTERM or SIGINT and the requests in flight.

    If there are several processes, each is given its number, a `listening` socket, and a common folder.
    """
    set_up_logging("ingest", log_format=config.log_format)
    app = create_app(config, process=process, siblings_folder=siblings_folder)
    metrics: IngestMetrics = app.state.metrics
    # Collect cyclic garbage less often, and never examine objects from the start: a request makes few
    # cycles, but the usual thresholds cost an eighth of its time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)

    async def drain() -> None:
        """End the connections of devices in order: uvicorn would cut them off."""
        await app.state.drain(seconds=DRAIN_SECONDS)

    def unavailable(reason: str) -> bytes:
        answer = {"code": "unavailable", "message": f"not stored, send it again: {reason}"}
        return msgspec.json.encode(answer) + b"\n"

    observed = RequestObserver(
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
            unavailable=Unavailable("application/json", unavailable, metrics.requests.turned_away),
            drain=drain,
            message_bytes=MESSAGE_BYTES,
        )
    )
    metrics.open_connections = lambda: len(server.connections.connections)
    tell_ready()
    run(server, listening=listening)
