"""Prepares the server's files and starts its process."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from joulebook.config import Config
from joulebook.embedded.binaries import Binaries, ensure_binaries
from joulebook.embedded.bootstrap import ensure_cluster
from joulebook.embedded.errors import UnableToStart
from joulebook.embedded.layout import Layout
from joulebook.embedded.locks import try_lock
from joulebook.embedded.processes import clear_remains, end_leftovers, find_postmaster, is_alive, is_stopping
from joulebook.embedded.server_user import ServerUser, command_prefix, find_server_user, system_tool
from joulebook.embedded.settings import write_settings
from joulebook.embedded.sockets import prepare_socket_folder

DEFAULT_PORT = 5432  # names the Unix socket if no loopback port is set
INSTANT = 0.2  # seconds without a command line in a process becoming the server


def launch(
    config: Config, layout: Layout, settings: Mapping[str, str], *, detached: bool
) -> subprocess.Popen[bytes]:
    """Start the server and return at once; the caller holds the operation lock, and no server runs.

    Detached, the server has no parent of ours, and the returned process has ended already. Otherwise it is
    our child, in its own process group, and stops at the end of the calling thread.
    """
    user = find_server_user(layout.data)
    binaries = ensure_binaries(config)
    environment = _environment()
    ensure_cluster(layout, binaries, user, environment)
    sockets = prepare_socket_folder(layout, user)
    port = config.db_port
    write_settings(
        layout,
        sockets=sockets,
        port=port or DEFAULT_PORT,
        loopback=port is not None,
        has_lz4=binaries.accepts("wal_compression", "lz4"),
    )
    lock = _claim(layout)
    try:
        clear_remains(layout, sockets)
        command = _command(layout, binaries, user, sockets, settings, detached=detached)
        return _spawn(command, lock, layout.startup_log, environment, detached=detached)
    finally:
        os.close(lock)


def postmaster_to_keep(layout: Layout, *, patience: float = 0.0) -> int | None:
    """Return the process id of a server still running and not about to stop; None without one.

    Wait for the end of a stopping server. For `patience` seconds any server may be about to stop: the
    server of a supervisor killed just now takes a moment to notice.
    """
    begun = time.monotonic()
    while True:
        pid = find_postmaster(layout)
        waited = time.monotonic() - begun
        if pid is not None and not is_stopping(layout) and waited >= patience:
            return pid
        if pid is None and (not is_alive(layout) or waited >= INSTANT):
            return None
        time.sleep(0.02)


def _claim(layout: Layout) -> int:
    """Take the lock of a living server; before that, end the processes left by a dead postmaster."""
    for _ in range(3):
        lock = try_lock(layout.server_lock)
        if lock is not None:
            return lock
        end_leftovers(layout, grace=1.0)
    raise UnableToStart(f"another process keeps taking {layout.server_lock}: try again")


def _command(
    layout: Layout,
    binaries: Binaries,
    user: ServerUser,
    sockets: Path,
    settings: Mapping[str, str],
    *,
    detached: bool,
) -> list[str]:
    folders = [layout.data, layout.logs, sockets, binaries.folder]
    words = [system_tool("setsid"), "--fork"] if detached else []
    words += command_prefix(user, folders=folders, parent_death_signal=None if detached else "INT")
    words += [binaries.program("postgres"), "-D", str(layout.data)]
    for name, value in {"config_file": str(layout.settings), **settings}.items():
        words += ["-c", f"{name}={value}"]
    return words


def _environment() -> dict[str, str]:
    """Return the server's environment, without our PG… variables."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _spawn(
    command: list[str], lock: int, log: Path, environment: dict[str, str], *, detached: bool
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=environment,
            pass_fds=[lock],
            process_group=None if detached else 0,
        )
    if detached:
        child.wait()  # setsid ends at once; the server runs on without us
    return child
