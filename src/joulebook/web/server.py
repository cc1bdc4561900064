"""Runs the web on its address until SIGTERM or SIGINT. Import it after `django.setup()`.

Requests are read and answers are written outside of the threads: only whole requests reach Django, and a
slow client holds no thread. Pages have threads of their own. Work on uploaded files, and the further pieces
of exports, have others: pages answer under any load of these. Bodies are small, except for uploads of
signed-in users; these wait on the disk of the uploads.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import tempfile
from collections import Counter
from http import HTTPStatus
from typing import Any

from django.db import close_old_connections
from django.db.backends.signals import connection_created
from starlette.types import Scope

from joulebook.config import Config
from joulebook.priority import make_backend_nice, make_nice
from joulebook.serving.addresses import client_address, share_key
from joulebook.serving.guard import Guard
from joulebook.serving.server import Server, Service, Unavailable, connections_that_fit, run
from joulebook.serving.slots import Keys, SharedSlots
from joulebook.serving.wsgi import Head, Lane, Refused, Rules, WsgiBridge
from joulebook.web.databases import READER
from joulebook.web.imports.uploads.files import DiskFull, check_disk, uploads_folder
from joulebook.web.imports.uploads.receiving import largest_body
from joulebook.web.wsgi import application


def lower_priority() -> None:
    """Make this process nice, and the database's processes of its connections to the readings.

    Call it before threads are started. A database on another machine, or of another user, keeps the
    priority of its processes.
    """
    make_nice()
    connection_created.connect(_on_connection, dispatch_uid="joulebook.nice")


def _on_connection(connection: Any, **_: Any) -> None:
    if connection.alias == READER:
        opened = connection.connection
        make_backend_nice(opened.info.backend_pid, opened.fileno())


PAGE_THREADS, FILE_THREADS, STREAM_THREADS = 12, 4, 4
LARGEST_BODY = 4 * 1024 * 1024
"""Of a request without an upload."""

# The number at a time: in all, and (of one person, of one address).
_ANSWERS = (1_000, (16, 128))
_LARGE_BODIES = (32, (4, 16))
_PAGE_SHARES, _FILE_SHARES = (8, 10), (2, 3)

_FILE_PATHS = ("/imports/", "/api/imports")
_M_ARENA_MAX = -8

log = logging.getLogger(__name__)


def serve(config: Config) -> None:
    """Listen on the configured address; return after SIGTERM or SIGINT, when requests in flight are done."""
    lower_priority()
    # The usual folder for temporary files may be memory, or small.
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
        unavailable=Unavailable(
            "text/plain; charset=utf-8",
            lambda reason: f"Too much to do at the moment, try again soon: {reason}.\n".encode(),
            counted,
        ),
    )
    log.info("web listens on http://%s:%d", config.web_host, config.web_port)
    run(Server(service))


def rules_of(config: Config) -> Rules:
    """Return the rules for requests before Django."""
    session_cookie = f"joulebook_session_{config.web_port}"

    def request_keys(scope: Scope, head: Head) -> Keys:
        """Return the keys of a request's shares: its token or session, not checked yet, and its address."""
        peer = scope["client"][0] if scope.get("client") else ""
        address = client_address(peer, head.headers.get("X_FORWARDED_FOR"), config.trusted_proxies)
        cookies = (each.strip().partition("=") for each in head.headers.get("COOKIE", "").split(";"))
        session = next((value for name, _, value in cookies if name == session_cookie), "")
        shown = head.headers.get("AUTHORIZATION") or session
        person = hashlib.blake2b(shown.encode("latin-1"), digest_size=16).hexdigest() if shown else None
        return person, share_key(address)

    return Rules(
        pages=Lane(PAGE_THREADS, _PAGE_SHARES, name="pages"),
        files=Lane(FILE_THREADS, _FILE_SHARES, name="files"),
        streams=Lane(STREAM_THREADS, (STREAM_THREADS, STREAM_THREADS), name="streams"),
        takes_long=_is_about_a_file,
        keys=request_keys,
        usual_body=LARGEST_BODY,
        may_be_larger=_may_be_larger,
        largest_body=_largest_body,
        check_room=_check_room,
        answers=SharedSlots(*_ANSWERS),
        bodies=SharedSlots(*_LARGE_BODIES),
    )


def _is_about_a_file(head: Head) -> bool:
    """Return whether a request uploads, reads or previews a file."""
    return head.path.startswith(_FILE_PATHS) and (
        head.method not in {"GET", "HEAD"} or head.path.endswith("/preview/")
    )


def _may_be_larger(head: Head) -> bool:
    return head.method == "POST" and head.path in _FILE_PATHS and not 0 < (head.size or 0) < LARGEST_BODY


def _largest_body(head: Head) -> int:
    try:
        return largest_body(head.method, head.path, head.headers, size=head.size or 0, usual=LARGEST_BODY)
    except DiskFull as exc:
        raise Refused(HTTPStatus.INSUFFICIENT_STORAGE, str(exc)) from exc
    finally:
        close_old_connections()  # Django does so for its own requests only


def _check_room() -> None:
    try:
        check_disk()
    except DiskFull as exc:
        raise Refused(HTTPStatus.INSUFFICIENT_STORAGE, str(exc)) from exc


def _share_memory_pools() -> None:
    """Let threads share glibc's pools of memory.

    Else each thread keeps a pool as large as its largest answer: with exports of any length 570 MB in place
    of 230.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have one pool, and no such call
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 2)
