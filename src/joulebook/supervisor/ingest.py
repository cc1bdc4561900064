"""`joulebook ingest` with several processes on one port, as a plan for the supervisor.

Each process has its own listening socket; the kernel spreads new connections between them (SO_REUSEPORT).
The supervisor opens all of them and keeps them open: connections to a process being restarted wait for it
instead of being refused.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from tempfile import TemporaryDirectory

from joulebook.config import Config, ConfigError
from joulebook.logs import JSON
from joulebook.supervisor.console import Console
from joulebook.supervisor.specs import ProcessSpec, Ready
from joulebook.supervisor.supervisor import run_plan

_BACKLOG = 2048
_PATIENCE = 3.0  # seconds for the address to become free


def serve_with_processes(config: Config, count: int) -> None:
    """Serve on the configured address with `count` processes, until SIGTERM or SIGINT.

    Raises `ConfigError` if it cannot listen on the address, `ProcessFailed` if a process does not start.
    """
    console = Console(sys.stderr, [], labels=False, json_lines=config.log_format == JSON)
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(each) for each in _listen(config.ingest_host, config.ingest_port, count)
        ]
        folder = stack.enter_context(TemporaryDirectory(prefix="joulebook-ingest-"))
        run_plan(ingest_plan(sockets, folder, os.environ), console, stop_together=True)


def ingest_plan(sockets: list[socket.socket], folder: str, environ: Mapping[str, str]) -> list[ProcessSpec]:
    """Return one process for each listening socket; they exchange live readings and metrics in `folder`."""
    return [
        ProcessSpec(
            name=f"ingest-{number}",
            command=(
                sys.executable,
                "-m",
                "joulebook.ingest.worker_process",
                str(number),
                str(listening.fileno()),
                folder,
            ),
            environment=lambda: environ,
            ready=Ready.NOTIFIES,
            listening=listening,
            stop_timeout=28.0,  # longer than a process drains, shorter than the timeout of `joulebook up`
        )
        for number, listening in enumerate(sockets, start=1)
    ]


def _listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Return sockets sharing an address. Raises `ConfigError` if it is taken or not of this machine."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        # SO_REUSEPORT would hide another server on this port: the probe goes without it.
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Retried for a moment: processes of a parent killed just now may still be ending.
            deadline = time.monotonic() + _PATIENCE
            while True:
                try:
                    probe.bind(address)
                    probe.listen(1)
                    break
                except OSError as exc:
                    if exc.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)
        listening = []
        for _ in range(count):
            one = socket.socket(family, kind, protocol)
            listening.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind(address)
        for one in listening:
            one.listen(_BACKLOG)
    except OSError as exc:
        raise ConfigError(
            f"cannot listen on JOULEBOOK_INGEST_HOST={host!r}, JOULEBOOK_INGEST_PORT={port}: {exc.strerror}"
        ) from exc
    return listening
