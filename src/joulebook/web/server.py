"""Runs the web on its address until it is told to stop.

Waitress reads requests and writes answers beside its threads, so that any number of slow or half-sent
requests costs no thread: only whole requests reach Django. A long answer keeps its thread as long as the
client takes it; one that has stopped taking is given up.
"""

from __future__ import annotations

import ctypes
import logging
import signal
import time
from types import FrameType
from typing import Any

import waitress
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer

from joulebook.config import Config

THREADS = 8
CONNECTIONS = 1000
"""More wait for their turn to be accepted."""
LARGEST_BODY = 16 * 1024 * 1024
IDLE_SECONDS = 75
_M_ARENA_MAX = -8

log = logging.getLogger(__name__)


def serve(config: Config) -> None:
    """Listen on the configured address; return after SIGTERM or SIGINT, when requests in flight are done."""
    from joulebook.web.wsgi import application

    signal.signal(signal.SIGTERM, _leave)
    _share_memory_pools()
    log.info("web listens on http://%s:%d", config.web_host, config.web_port)
    server = create_server(
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
    )
    server.run()


def create_server(application: Any, **adjustments: Any) -> Any:
    """Return a server of waitress's that gives up on clients which do not take their answers."""
    listening: dict[int, Any] = {}
    server = waitress.create_server(application, map=listening, **adjustments)
    for each in listening.values():
        if isinstance(each, BaseWSGIServer):
            each.channel_class = _Channel
    return server


class _Channel(HTTPChannel):  # type: ignore[misc]
    """A connection that ends when its client has taken nothing of a waiting answer for `channel_timeout`.

    Waitress itself closes connections without a request only; a client that never reads would keep a
    thread, and a snapshot of the database, for ever.
    """

    _waits_since = 0.0
    _taken_at = 0.0

    def writable(self) -> bool:
        """Tell the server's loop whether something is to be sent; asked at least once a second."""
        now = time.monotonic()
        if not self.total_outbufs_len or self.last_activity != self._taken_at:
            self._waits_since, self._taken_at = now, self.last_activity
        if now - self._waits_since > self.adj.channel_timeout:
            # The socket takes nothing, so waitress's own way to close, by writing to it, would not come.
            self.handle_close()
            return False
        return bool(super().writable())


def _proxy_headers(config: Config) -> set[str]:
    """Return the headers to believe: behind TLS there is a proxy, which says how it was reached.

    It is believed about the client's address, too, where nobody but this machine can reach the web.
    """
    if not config.secure:
        return set()
    local = config.web_host in {"127.0.0.1", "::1", "localhost"}
    return {"x-forwarded-proto", "x-forwarded-for"} if local else {"x-forwarded-proto"}


def _share_memory_pools() -> None:
    """Let threads share glibc's pools of memory.

    Else each thread keeps a pool as large as the largest answer it has made: with exports of any length,
    570 MB in place of 230.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have one pool, and no such call
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 2)


def _leave(_number: int, _frame: FrameType | None) -> None:
    """End the server's loop, which then lets its threads finish."""
    raise SystemExit(0)
