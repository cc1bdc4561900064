"""Runs the ingest service on its address until it is told to stop."""

from __future__ import annotations

import gc
import socket
from pathlib import Path

import msgspec

from joulebook.config import Config
from joulebook.ingest.app import create_app
from joulebook.ingest.metrics import IngestMetrics
from joulebook.ingest.observing import ObservedRequests
from joulebook.ingest.prefix import without_prefix
from joulebook.ingest.websocket_connection import MESSAGE_BYTES
from joulebook.logs import set_up_logging
from joulebook.serving.guard import Guard
from joulebook.serving.server import DRAIN_SECONDS, Refusal, Server, Service, connections_that_fit, run


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
