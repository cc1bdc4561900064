"""Runs the ingest service on its address until it is told to stop."""

from __future__ import annotations

import uvicorn

from joulebook.config import Config
from joulebook.ingest.app import create_app

KEEP_ALIVE_SECONDS = 75
"""Longer than most devices pause between two packets, so that they keep their connection."""

DRAIN_SECONDS = 20
"""How long requests in flight may take to finish after SIGTERM."""


def serve(config: Config) -> None:
    """Listen on the configured address; return after SIGTERM or SIGINT, when requests in flight are done."""
    uvicorn.run(
        create_app(config),
        host=config.ingest_host,
        port=config.ingest_port,
        access_log=False,
        log_level="info",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
