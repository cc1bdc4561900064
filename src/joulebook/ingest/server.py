"""Runs the ingest service on its address until it is told to stop."""

from __future__ import annotations

import contextlib
import gc
import logging
import resource
import socket
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from joulebook.config import Config
from joulebook.ingest.app import create_app
from joulebook.ingest.connections import Connections, IngestProtocol
from joulebook.ingest.draining import DrainingServer
from joulebook.ingest.metrics import IngestMetrics
from joulebook.ingest.observing import ObservedRequests
from joulebook.ingest.pings import PING_SECONDS, PingedProtocol
from joulebook.ingest.websocket_connection import MESSAGE_BYTES
from joulebook.logs import set_up_logging

KEEP_ALIVE_SECONDS = 75
"""Longer than most devices pause between two packets, so that they keep their connection."""

DRAIN_SECONDS = 20
"""How long requests in flight may take to finish after SIGTERM."""


class _Server(DrainingServer):
    """Uvicorn, which would cut WebSockets off; here they are answered and closed in order first."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, *, connections: Connections) -> None:
        super().__init__(config, connections=connections)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End in order: devices' connections, then requests in flight, then the application."""
        await self._app.state.drain(seconds=DRAIN_SECONDS)
        await super().shutdown(sockets)


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
    _allow_many_connections()
    _collect_garbage_seldom()
    settings = uvicorn.Config(
        ObservedRequests(
            app.state.direct, metrics.requests, routes=app.routes, trusted_proxies=config.trusted_proxies
        ),
        http=IngestProtocol,
        host=config.ingest_host,
        port=config.ingest_port,
        access_log=False,
        log_config=None,
        log_level="info",
        # Who the client is behind a proxy is decided where it matters, by JOULEBOOK_TRUSTED_PROXIES.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        ws_max_size=MESSAGE_BYTES,
        ws=PingedProtocol,
        ws_ping_interval=PING_SECONDS,
        # Compressed, a small frame could hold a thousand messages that are not small.
        ws_per_message_deflate=False,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_for_the_log)
    server = _Server(settings, app, connections=Connections(config.ingest_connections, metrics))
    with contextlib.suppress(KeyboardInterrupt):
        server.run(None if listening is None else [listening])


def _is_for_the_log(record: logging.LogRecord) -> bool:
    """Leave out addresses of WebSockets, where a mistaken client puts its token, and viewers cut off."""
    text = str(record.msg)
    return "WebSocket %s" not in text and "returned without completing response" not in text


def _allow_many_connections() -> None:
    """Take as many open files as the system allows: the usual 1024 are fewer than our own limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _collect_garbage_seldom() -> None:
    """Look less often for garbage in cycles, and never at what was loaded at the start.

    A request leaves few cycles behind, but the usual thresholds cost an eighth of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
