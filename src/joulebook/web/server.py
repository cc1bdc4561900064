"""Runs the web on its address until it is told to stop.

Requests are read and answers are written beside the threads: only whole requests reach Django, and a
client that takes its answer slowly holds none. Pages have threads of their own; work on files that people
send, and the further pieces of exports, have others, so pages answer however much of that there is.
Bodies are small, but for the files that people upload once they have signed in; those wait on the disk
where uploads lie.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import tempfile
from collections import Counter
from http import HTTPStatus
from typing import Any

from django.db.backends.signals import connection_created
from starlette.types import Scope

from joulebook.config import Config
from joulebook.priority import let_stand_back, stand_back
from joulebook.serving.addresses import client_address, share_key
from joulebook.serving.guard import Guard
from joulebook.serving.server import Refusal, Server, Service, connections_that_fit, run
from joulebook.serving.turns import Keys, Turns
from joulebook.serving.wsgi import Head, Lane, Refused, Rules, WsgiBridge
from joulebook.web.databases import READER


def stand_back_behind_devices() -> None:
    """Lower the priority of this process and of all that its connections to the readings will cost.

    Call it before threads are started. Where the database is on another machine, or another user's, its
    own processes stay as they are.
    """
    stand_back()
    connection_created.connect(_on_connection, dispatch_uid="joulebook.standing-back")


def _on_connection(connection: Any, **_: Any) -> None:
    if connection.alias == READER:
        opened = connection.connection
        let_stand_back(opened.info.backend_pid, opened.fileno())


PAGE_THREADS, FILE_THREADS, STREAM_THREADS = 12, 4, 4
LARGEST_BODY = 4 * 1024 * 1024
"""Of a request that uploads no file."""

# How many at a time, of which so many of one person, and so many of one address.
_ANSWERS = (1_000, (16, 128))
_LARGE_BODIES = (32, (4, 16))
_PAGE_SHARES, _FILE_SHARES = (8, 10), (2, 3)

_FILE_PATHS = ("/imports/", "/api/imports")
_M_ARENA_MAX = -8

log = logging.getLogger(__name__)


def serve(config: Config) -> None:
    """Listen on the configured address; return after SIGTERM or SIGINT, when requests in flight are done."""
    from joulebook.web.imports.uploads.files import uploads_folder
    from joulebook.web.wsgi import application

    stand_back_behind_devices()
    # The usual folder for what is temporary may be memory, or small.
    tempfile.tempdir = str(uploads_folder())
    _share_memory_pools()
    counted: Counter[int] = Counter()
    bridge = WsgiBridge(application, rules_of(config))
    service = Service(
        app=bridge,
        host=config.web_host,
        port=config.web_port,
        guard=Guard(
            connections_that_fit(config.web_connections),
            per_address=config.connections_per_address,
            trusted=config.trusted_proxies,
        ),
        refusal=Refusal("text/plain; charset=utf-8", _refusal, counted),
    )
    log.info("web listens on http://%s:%d", config.web_host, config.web_port)
    run(Server(service))


def rules_of(config: Config) -> Rules:
    """Return what is decided about a request before Django sees it."""
    return Rules(
        pages=Lane(PAGE_THREADS, _PAGE_SHARES, name="pages"),
        files=Lane(FILE_THREADS, _FILE_SHARES, name="files"),
        streams=Lane(STREAM_THREADS, (STREAM_THREADS, STREAM_THREADS), name="streams"),
        takes_long=_is_about_a_file,
        keys=lambda scope, head: _keys(config, scope, head),
        usual_body=LARGEST_BODY,
        may_be_larger=_may_be_larger,
        largest_body=_largest_body,
        check_room=_check_room,
        answers=Turns(*_ANSWERS),
        bodies=Turns(*_LARGE_BODIES),
    )


def _is_about_a_file(head: Head) -> bool:
    """Return whether a request takes in, reads or previews a file."""
    return head.path.startswith(_FILE_PATHS) and (
        head.method not in {"GET", "HEAD"} or head.path.endswith("/preview/")
    )


def _keys(config: Config, scope: Scope, head: Head) -> Keys:
    """Return whose share a request uses: what it is signed in with, not checked yet, and its address."""
    peer = scope["client"][0] if scope.get("client") else ""
    address = client_address(peer, head.headers.get("X_FORWARDED_FOR"), config.trusted_proxies)
    shown = head.headers.get("AUTHORIZATION") or _session(head.headers.get("COOKIE", ""), config.web_port)
    person = hashlib.blake2b(shown.encode("latin-1"), digest_size=16).hexdigest() if shown else None
    return person, share_key(address)


def _session(cookies: str, port: int) -> str:
    """Return the session's id; several homes on one host have cookies named by their ports."""
    name = f"joulebook_session_{port}"
    return next((value for key, _, value in map(_parted, cookies.split(";")) if key == name), "")


def _parted(cookie: str) -> tuple[str, str, str]:
    return cookie.strip().partition("=")


def _may_be_larger(head: Head) -> bool:
    return head.method == "POST" and head.path in _FILE_PATHS and not 0 < (head.size or 0) < LARGEST_BODY


def _largest_body(head: Head) -> int:
    # Possible only once the application has made Django ready.
    from django.db import close_old_connections

    from joulebook.web.imports.uploads.files import DiskFull
    from joulebook.web.imports.uploads.receiving import largest_body

    try:
        return largest_body(head.method, head.path, head.headers, size=head.size or 0, usual=LARGEST_BODY)
    except DiskFull as exc:
        raise Refused(HTTPStatus.INSUFFICIENT_STORAGE, str(exc)) from exc
    finally:
        close_old_connections()  # this is no request of Django's, which would see to that


def _check_room() -> None:
    from joulebook.web.imports.uploads.files import DiskFull, check_disk

    try:
        check_disk()
    except DiskFull as exc:
        raise Refused(HTTPStatus.INSUFFICIENT_STORAGE, str(exc)) from exc


def _refusal(reason: str) -> bytes:
    return f"Too much to do at the moment, try again soon: {reason}.\n".encode()


def _share_memory_pools() -> None:
    """Let threads share glibc's pools of memory.

    Else each thread keeps a pool as large as the largest answer it has made: with exports of any length,
    570 MB in place of 230.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have one pool, and no such call
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 2)
