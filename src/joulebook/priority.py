"""Lowers the priority of work for people, who look or import: devices must not be slowed down by them.

A process may lower its own priority without any right, and that of others of its user. A process with another
user than the database sends a request to the one that looks after it (`embedded.reader_priority`). Two things
have to be said to Linux: the niceness of each thread, and that of the session, where the kernel first shares
its time out among sessions (`sched_autogroup_enabled`) and niceness counts only within one. See "The
autogroup feature" in sched(7). What the system does not allow is left as it is: it is a matter of speed
alone.
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
"""By how much niceness is raised: a third of the processor time of what is not nice, where both want it."""

REQUESTS = "reader-priority"
"""The socket for requests to lower a backend's priority, in the folder of the server's own socket."""

_NICEST = 19
_AGAIN_SECONDS = 0.25
"""The kernel takes a new niceness of a session only ten times a second, of all users but root."""
_ATTEMPTS = 40
_CREDENTIALS = struct.Struct("3i")


def stand_back() -> None:
    """Lower the priority of this process; call it before it starts threads, which inherit it.

    The session is left alone where it is not this process's own: it may be somebody's terminal.
    """
    with suppress(OSError):
        _lower(0)
    if os.getsid(0) == os.getpid():
        _lower_session(os.getpid())


def let_stand_back(backend: int, connection: int) -> bool:
    """Lower the priority of PostgreSQL's process `backend`, which serves the socket `connection`.

    Does so, and returns True, only where that process is known to be the one that is meant: the child of
    whoever listens at the other end of a Unix socket on this very machine. Where the server has another user
    than this process, the request goes to the process that looks after the server.
    """
    server = _peer(connection)
    if not server or parent_of(backend) != server:
        return False
    try:
        lower_backend(backend)
    except PermissionError:
        _request(backend, connection)
    return True


def lower_backend(backend: int) -> None:
    """Lower the priority of a process of PostgreSQL's. Raises PermissionError for another user's."""
    with suppress(ProcessLookupError):
        _lower(backend)
        # A backend has a session of its own, as every child of PostgreSQL's.
        _lower_session(backend)


def _request(backend: int, connection: int) -> None:
    """Send the number of a backend to the process that looks after its server; it may not be there."""
    with socket.socket(fileno=os.dup(connection)) as one:
        folder = Path(one.getpeername()).parent
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as outgoing:
        outgoing.setblocking(False)
        outgoing.sendto(str(backend).encode(), str(folder / REQUESTS))


def _lower(process: int) -> None:
    niceness = os.getpriority(os.PRIO_PROCESS, process)
    os.setpriority(os.PRIO_PROCESS, process, min(_NICEST, niceness + STEPS))


def _lower_session(leader: int, attempts: int = _ATTEMPTS) -> None:
    """Lower the priority of a session; where the kernel is asked too often, again in a moment."""
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
    """Return the process that listens at the other end of a Unix socket; None for other sockets."""
    with socket.socket(fileno=os.dup(connection)) as one:
        if one.family != socket.AF_UNIX:
            return None
        found = one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, _, _ = _CREDENTIALS.unpack(found)
    return int(process)


def parent_of(process: int) -> int | None:
    """Return a process's parent, field 4 of proc(5)'s stat; None where there is no such process."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
