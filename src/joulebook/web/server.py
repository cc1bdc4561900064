"""Runs the web on its address until it is told to stop.

Waitress reads requests and writes answers beside its threads, so that any number of slow or half-sent
requests costs no thread: only whole requests reach Django. A long answer keeps its thread as long as the
client takes it; one that has stopped taking is given up. Bodies are small, but for the files that people
upload once they have signed in; those wait on the disk where uploads lie.
"""

from __future__ import annotations

import ctypes
import logging
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from copy import copy
from types import FrameType
from typing import Any

import waitress
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import BaseWSGIServer
from waitress.utilities import Error

from joulebook.config import Config
from joulebook.web.standing_back import stand_back_behind_devices

THREADS = 8
CONNECTIONS = 1000
"""More wait for their turn to be accepted."""
LARGEST_BODY = 16 * 1024 * 1024
"""Of a request that uploads no file."""
IDLE_SECONDS = 75
_RECEIVED_AT_ONCE = 65_536
_M_ARENA_MAX = -8

log = logging.getLogger(__name__)

LargestBody = Callable[[str, str, Mapping[str, str], int], int]
"""From method, path, headers and size (0: not known) to the most bytes; raises `Refused`."""


class Refused(Exception):
    """The body of a request cannot be taken in; the message says why."""


def serve(config: Config) -> None:
    """Listen on the configured address; return after SIGTERM or SIGINT, when requests in flight are done."""
    from joulebook.web.imports.uploads import uploads_folder
    from joulebook.web.wsgi import application

    stand_back_behind_devices()
    # The usual folder for what is temporary may be memory, or small.
    tempfile.tempdir = str(uploads_folder())
    signal.signal(signal.SIGTERM, _leave)
    _share_memory_pools()
    log.info("web listens on http://%s:%d", config.web_host, config.web_port)
    server = create_server(
        application,
        _largest_body,
        host=config.web_host,
        port=config.web_port,
        threads=THREADS,
        connection_limit=CONNECTIONS,
        channel_timeout=IDLE_SECONDS,
        cleanup_interval=5,
        max_request_body_size=LARGEST_BODY,
        recv_bytes=_RECEIVED_AT_ONCE,
        ident=None,
        # Whom to believe is decided by `web.proxy`.
        clear_untrusted_proxy_headers=False,
    )
    server.run()


def _largest_body(method: str, path: str, headers: Mapping[str, str], size: int) -> int:
    # Possible only once the application has made Django ready.
    from django.db import close_old_connections

    from joulebook.web.imports.admission import NoRoom, largest_body

    try:
        return largest_body(method, path, headers, size=size, usual=LARGEST_BODY)
    except NoRoom as exc:
        raise Refused(str(exc)) from exc
    finally:
        close_old_connections()  # this is no request of Django's, which would see to that


def create_server(application: Any, largest_body: LargestBody | None = None, **adjustments: Any) -> Any:
    """Return a server of waitress's that gives up on clients which do not take their answers.

    `largest_body` says for each request how large its body may be, where that is not the same for all.
    """
    listening: dict[int, Any] = {}
    server = waitress.create_server(application, map=listening, **adjustments)
    channel_class = _Channel if largest_body is None else _channel_class(largest_body)
    for each in listening.values():
        if isinstance(each, BaseWSGIServer):
            each.channel_class = channel_class
    return server


def _channel_class(largest: LargestBody) -> type[_Channel]:
    class Parser(_Parser):
        largest_body = staticmethod(largest)

    class Channel(_Channel):
        parser_class = Parser

    return Channel


class _InsufficientStorage(Error):  # type: ignore[misc]
    code = 507
    reason = "Insufficient Storage"


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    """A request whose body may be as large as `largest_body` says once its headers are there."""

    adj: Any
    error: Any
    largest_body: LargestBody

    def received(self, data: bytes) -> int:
        """Take in some bytes; a request that is refused is not told to go on sending."""
        before = self.headers_finished
        consumed = int(super().received(data))
        if self.headers_finished and not before and self.error is not None:
            self.expect_continue = False
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """Read the headers, and decide how large the body may be."""
        super().parse_header(header_plus)
        if self.body_rcv is None:
            return
        self.adj = copy(self.adj)
        try:
            self.adj.max_request_body_size = type(self).largest_body(
                self.command, self.path, self.headers, self.content_length
            )
        except Refused as exc:
            self.error = _InsufficientStorage(str(exc))
            self.completed = True
            self.adj.max_request_body_size = sys.maxsize  # or this would become another error


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
