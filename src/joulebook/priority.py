"""Makes work for people nice: pages and imports must not slow down the devices' requests.

A process may make itself and other processes of its user nice, without any right. Otherwise it sends a
request to the database's supervising process (`embedded.processes`). Linux has two settings: the niceness
of each thread, and that of the session. With `sched_autogroup_enabled` the kernel first divides its time
among sessions, and a thread's niceness counts only within its session. See "The autogroup feature" in
sched(7). Refusals of the system are ignored: only speed depends on it.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

STEPS = 5
"""The increase of niceness: beside another busy process a nice one gets a third of its processor time."""

REQUESTS = "reader-priority"
"""The socket for requests to lower a backend's priority, in the folder of the server's own socket."""

_NICEST = 19
_AGAIN_SECONDS = 0.25
"""The kernel takes a new niceness of a session only ten times a second, of all users but root."""
_ATTEMPTS = 40
_CREDENTIALS = struct.Struct("3i")


def make_nice() -> None:
    """Make this process nice; call it before it starts threads, since they inherit its niceness.

    The session stays unchanged if it is not this process's own: it may be a terminal's.
    """
    with suppress(OSError):
        _lower(0)
    if os.getsid(0) == os.getpid():
        _lower_session(os.getpid())


def make_backend_nice(backend: int, connection: int) -> bool:
    """Make PostgreSQL's process `backend` nice; it serves the socket `connection`.

    Return whether it is a process of this server: the child of the process listening at the other end of a
    Unix socket on this machine. Otherwise nothing happens. If the server has another user than this
    process, its supervising process gets a request.
    """
    server = _peer(connection)
    if not server or parent_of(backend) != server:
        return False
    try:
        renice_backend(backend)
    except PermissionError:
        _request(backend, connection)
    return True


def renice_backend(backend: int) -> None:
    """Make a process of PostgreSQL nice. Raises PermissionError for another user's."""
    with suppress(ProcessLookupError):
        _lower(backend)
        # A backend has a session of its own, as every child of PostgreSQL's.
        _lower_session(backend)


def _request(backend: int, connection: int) -> None:
    """Send a backend's number to its server's supervising process; it may be missing."""
    with socket.socket(fileno=os.dup(connection)) as one:
        folder = Path(one.getpeername()).parent
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as outgoing:
        outgoing.setblocking(False)
        outgoing.sendto(str(backend).encode(), str(folder / REQUESTS))


def _lower(process: int) -> None:
    niceness = os.getpriority(os.PRIO_PROCESS, process)
    os.setpriority(os.PRIO_PROCESS, process, min(_NICEST, niceness + STEPS))


def _lower_session(leader: int, attempts: int = _ATTEMPTS) -> None:
    """Make a session nice; retry in a moment if the kernel refuses the request as too early."""
    path = Path(f"/proc/{leader}/autogroup")
    try:
        found = re.search(r"nice (-?\d+)", path.read_text())
        if found is not None:
            path.write_text(str(min(_NICEST, int(found[1]) + STEPS)))
    except OSError as exc:
        if exc.errno == errno.EAGAIN and attempts:
            again = threading.Timer(_AGAIN_SECONDS, _lower_session, (leader, attempts - 1))
            again.daemon = True
            again.start()


def _peer(connection: int) -> int | None:
    """Return the process listening at the other end of a Unix socket; None for other sockets."""
    with socket.socket(fileno=os.dup(connection)) as one:
        if one.family != socket.AF_UNIX:
            return None
        found = one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, _, _ = _CREDENTIALS.unpack(found)
    return int(process)


def parent_of(process: int) -> int | None:
    """Return a process's parent, field 4 of proc(5)'s stat; None without such a process."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
