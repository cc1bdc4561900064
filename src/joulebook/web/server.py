"""Runs the web on its address until it is told to stop.

Waitress reads requests and writes answers beside its threads, so that any number of slow or half-sent
requests costs no thread: only whole requests reach Django.
"""

from __future__ import annotations

import logging
import signal
from types import FrameType

import waitress

from joulebook.config import Config

THREADS = 8
CONNECTIONS = 1000
"""More wait for their turn to be accepted."""
LARGEST_BODY = 16 * 1024 * 1024
IDLE_SECONDS = 75

log = logging.getLogger(__name__)


def serve(config: Config) -> None:
    """Listen on the configured address; return after SIGTERM or SIGINT, when requests in flight are done."""
    from joulebook.web.wsgi import application

    signal.signal(signal.SIGTERM, _leave)
    log.info("web listens on http://%s:%d", config.web_host, config.web_port)
    waitress.serve(
        application,
        host=config.web_host,
        port=config.web_port,
        threads=THREADS,
        connection_limit=CONNECTIONS,
        channel_timeout=IDLE_SECONDS,
        cleanup_interval=5,
        max_request_body_size=LARGEST_BODY,
        ident=None,
        trusted_proxy="*" if config.secure else None,
        trusted_proxy_headers=_proxy_headers(config),
        clear_untrusted_proxy_headers=True,
        _quiet=True,
    )


def _proxy_headers(config: Config) -> set[str]:
    """Return the headers to believe: behind TLS there is a proxy, which says how it was reached.

    It is believed about the client's address, too, where nobody but this machine can reach the web.
    """
    if not config.secure:
        return set()
    local = config.web_host in {"127.0.0.1", "::1", "localhost"}
    return {"x-forwarded-proto", "x-forwarded-for"} if local else {"x-forwarded-proto"}


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End the server's loop, which then lets its threads finish."""
    raise SystemExit(0)
