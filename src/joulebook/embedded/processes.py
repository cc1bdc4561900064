"""Finds, checks and stops the database server's processes, and lowers the priority of the web's backends.

A process may change the priority only of its own user's processes. If the web and the server have different
system users, the web sends the process id of its backend here, by a datagram to a socket beside the server's.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

from joulebook.embedded.errors import EmbeddedError
from joulebook.embedded.layout import Layout
from joulebook.embedded.locks import is_held
from joulebook.priority import REQUESTS, parent_of, renice_backend

_PORT_LINE, _STATUS_LINE = 3, 7  # of postmaster.pid; the status is "starting", "ready", "stopping" …


def is_alive(layout: Layout) -> bool:
    """Return whether any process of the server lives, even a backend after its postmaster's end."""
    return is_held(layout.server_lock)


def find_postmaster(layout: Layout) -> int | None:
    """Return the process id of the server's postmaster, its main process; None without one.

    The id in `postmaster.pid` counts only if its process was started for this data folder: after an unclean
    stop another process may have the id. Raises `EmbeddedError` if another program than
    Joulebook started a server on the folder.
    """
    noted = _noted_pid(layout)
    found = noted if noted is not None and _serves(noted, layout) else None
    if found is None:
        found = next((pid for pid in _all_processes() if _serves(pid, layout)), None)
    if found is not None and not is_alive(layout) and _serves(found, layout):
        raise EmbeddedError(
            f"process {found} is a PostgreSQL that works on {layout.data} and was not started by Joulebook: "
            "stop it the way it was started"
        )
    return found


def is_ready(layout: Layout) -> bool:
    """Return whether the server accepts connections, according to its `postmaster.pid`."""
    return _note(layout)[_STATUS_LINE : _STATUS_LINE + 1] == ["ready"]


def is_stopping(layout: Layout) -> bool:
    """Return whether the server is about to end, according to its `postmaster.pid`."""
    return _note(layout)[_STATUS_LINE : _STATUS_LINE + 1] == ["stopping"]


def running_port(layout: Layout) -> int | None:
    """Return the port of the running server, which is also part of its socket's name; None if it is down."""
    port = "".join(_note(layout)[_PORT_LINE : _PORT_LINE + 1])
    return int(port) if port.isdigit() and is_alive(layout) else None


def clear_remains(layout: Layout, sockets: Path) -> None:
    """Remove a dead server's sockets, and its `postmaster.pid` if another process has its id now.

    PostgreSQL itself removes a `postmaster.pid` whose process is gone, but refuses to start if any process
    has the id. Call this with the server's lock held, so that no process of the server is alive. Raises
    `EmbeddedError` if the other process may be a server on this folder.
    """
    noted = _noted_pid(layout)
    if noted is not None and Path(f"/proc/{noted}").exists():
        if _may_serve(noted, layout):
            raise EmbeddedError(
                f"process {noted} may be a PostgreSQL that works on {layout.data}: stop it; or, if it has "
                f"nothing to do with that folder, remove {layout.data / 'postmaster.pid'}"
            )
        (layout.data / "postmaster.pid").unlink(missing_ok=True)
    for stale in sockets.glob(".s.PGSQL.*"):
        stale.unlink(missing_ok=True)


def end_leftovers(layout: Layout, *, grace: float) -> None:
    """Wait `grace` seconds until backends without a postmaster have ended, then kill the others.

    Raises `EmbeddedError` if they cannot be ended.
    """
    deadline = time.monotonic() + grace
    while is_alive(layout) and time.monotonic() < deadline:
        time.sleep(0.02)
    for _ in range(100):
        if not is_alive(layout):
            return
        for pid in server_processes(layout):
            _send(pid, signal.SIGKILL)
        time.sleep(0.05)
    raise EmbeddedError(
        f"processes of an earlier server still hold {layout.server_lock} and could not be ended: "
        f"look for them with `ps -ef | grep {layout.cluster_name}` and end them"
    )


def stop_postmaster(layout: Layout, *, patience: float) -> None:
    """Stop the server and return when no process of it is left.

    First it stops fast (clients are disconnected), after `patience` seconds at once (without the final
    checkpoint), and at last by force. Raises `EmbeddedError` if its processes cannot be ended.
    """
    for number, seconds in ((signal.SIGINT, patience), (signal.SIGQUIT, min(patience, 10.0))):
        pid = find_postmaster(layout)
        if pid is None:
            break
        _send(pid, number)
        deadline = time.monotonic() + seconds
        while is_alive(layout) and time.monotonic() < deadline:
            time.sleep(0.02)
        if not is_alive(layout):
            return
    end_leftovers(layout, grace=0.5)


def server_processes(layout: Layout) -> list[int]:
    """Return the process ids of the postmaster and all its children, whether or not it still lives."""
    title = f"postgres: {layout.cluster_name}:".encode()
    return [pid for pid in _all_processes() if _command(pid)[0].startswith(title) or _serves(pid, layout)]


def _serves(pid: int, layout: Layout) -> bool:
    """Return whether a process is a postmaster of the folder, or is about to become one."""
    words = _command(pid)
    data = os.fsencode(layout.data)
    return any(
        program.endswith(b"/postgres") and (option, folder) == (b"-D", data)
        for program, option, folder in zip(words, words[1:], words[2:], strict=False)
    )


def _may_serve(pid: int, layout: Layout) -> bool:
    """Return whether a process may be a server on the folder: a PostgreSQL not naming another folder."""
    words = _command(pid)
    if words[0].rpartition(b"/")[2] not in {b"postgres", b"postmaster"}:
        return False  # nor is it a server's child: the title of one begins with "postgres:"
    folder = words[words.index(b"-D") + 1] if b"-D" in words[:-1] else b""
    return not folder.startswith(b"/") or Path(os.fsdecode(folder)).resolve() == layout.data


def _command(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return [b""]


def _all_processes() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]  # noqa: PTH208 - names suffice


def _note(layout: Layout) -> list[str]:
    """Return the lines of `postmaster.pid`; none when there is no such file."""
    try:
        return [line.strip() for line in (layout.data / "postmaster.pid").read_text().splitlines()]
    except (OSError, UnicodeDecodeError):
        return []


def _noted_pid(layout: Layout) -> int | None:
    first = "".join(_note(layout)[:1])
    return int(first) if first.isdigit() else None


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
    except PermissionError as exc:
        raise EmbeddedError(
            f"process {pid} of the database belongs to another user: stop it as that user"
        ) from exc


_LONGEST_REQUEST = 32


def answer_requests(layout: Layout, sockets: Path) -> None:
    """Make backends named by the web nice, in a thread, as long as this process lives; see the module.

    Without the socket for these requests nothing but speed is lost, so errors of opening it are ignored.
    """
    address = sockets / REQUESTS
    incoming = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        address.unlink(missing_ok=True)
        incoming.bind(str(address))
        address.chmod(0o777)  # the folder's mode limits access, as it does for the server's socket
    except OSError:
        incoming.close()
        return
    threading.Thread(
        target=_receive_requests, args=(incoming, layout), name="reader-priority", daemon=True
    ).start()


def _receive_requests(incoming: socket.socket, layout: Layout) -> None:
    """Make the requested backends nice, each once: only those of this server serving the reader's role."""
    title = f"postgres: {layout.cluster_name}: joulebook_reader ".encode()
    while True:
        text = incoming.recv(_LONGEST_REQUEST)
        with suppress(OSError, EmbeddedError):
            if not text.isdigit():
                continue
            backend, server = int(text), find_postmaster(layout)
            if (
                server is not None
                and parent_of(backend) == server
                and Path(f"/proc/{backend}/cmdline").read_bytes().startswith(title)
                and os.getpriority(os.PRIO_PROCESS, backend) <= os.getpriority(os.PRIO_PROCESS, server)
            ):
                renice_backend(backend)
