"""The processes of one server: who is alive, which is the postmaster, and ending what is left over."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from joulebook.embedded.errors import EmbeddedError
from joulebook.embedded.layout import Layout
from joulebook.embedded.locks import is_held

_STATUS_LINE = 7  # of postmaster.pid: "starting", "ready", "stopping", …
_PORT_LINE = 3


def is_alive(layout: Layout) -> bool:
    """Say whether any process of the server lives, be it only a backend that outlived its postmaster."""
    return is_held(layout.server_lock)


def find_postmaster(layout: Layout) -> int | None:
    """Return the process id of the server's postmaster; None when there is none.

    The number in `postmaster.pid` is believed only when that process was started for this data
    folder: after an unclean stop the number may belong to a stranger.
    """
    lines = _pid_file(layout)
    if lines and lines[0].isdigit() and _serves(int(lines[0]), layout):
        return int(lines[0])
    return next((pid for pid in _all_processes() if _serves(pid, layout)), None)


def is_ready(layout: Layout) -> bool:
    """Say whether the server's own note tells that it accepts connections."""
    lines = _pid_file(layout)
    return len(lines) > _STATUS_LINE and lines[_STATUS_LINE] == "ready"


def running_port(layout: Layout) -> int | None:
    """Return the port number of the running server, which also names its socket; None when it is down."""
    lines = _pid_file(layout)
    if len(lines) <= _PORT_LINE or not lines[_PORT_LINE].isdigit() or not is_alive(layout):
        return None
    return int(lines[_PORT_LINE])


def forget_stranger(layout: Layout) -> None:
    """Remove a `postmaster.pid` whose number now belongs to a process that is not this server.

    To be called with the server's lock in hand, when no process of it can be alive. PostgreSQL itself
    removes the file when there is no process of that number, and refuses to start when there is one.
    """
    lines = _pid_file(layout)
    if lines and lines[0].isdigit() and not _serves(int(lines[0]), layout):
        (layout.data / "postmaster.pid").unlink(missing_ok=True)


def end_leftovers(layout: Layout, *, grace: float) -> None:
    """Wait `grace` seconds for backends without a postmaster to end of themselves, then kill them."""
    deadline = time.monotonic() + grace
    while is_alive(layout) and time.monotonic() < deadline:
        time.sleep(0.05)
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

    First fast (clients are disconnected), after `patience` seconds without the final checkpoint, then by
    force.
    """
    for number, seconds in ((signal.SIGINT, patience), (signal.SIGQUIT, 10.0)):
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
    title = f"postgres: {layout.cluster_name}".encode()
    return [pid for pid in _all_processes() if _command(pid)[0].startswith(title) or _serves(pid, layout)]


def _serves(pid: int, layout: Layout) -> bool:
    words = _command(pid)
    data = os.fsencode(layout.data)
    return any(pair == (b"-D", data) for pair in pairwise(words))


def _command(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return [b""]


def _all_processes() -> Iterator[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())  # noqa: PTH208 - names suffice


def _pid_file(layout: Layout) -> list[str]:
    try:
        return [line.strip() for line in (layout.data / "postmaster.pid").read_text().splitlines()]
    except (OSError, UnicodeDecodeError):
        return []


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        raise EmbeddedError(
            f"process {pid} of the database belongs to another user: stop it as that user"
        ) from None
