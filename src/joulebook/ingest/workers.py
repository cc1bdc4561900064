"""Several ingest processes on one port: starts them, starts again what dies, and ends them together.

Each process has a listening socket of its own, between which the kernel spreads new connections
(SO_REUSEPORT). All of them belong to this parent: connections that arrive while a process is being
started again wait for it instead of being refused.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from contextlib import ExitStack
from tempfile import TemporaryDirectory

from joulebook.config import Config, ConfigError
from joulebook.logs import set_up_logging

log = logging.getLogger(__name__)

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 30.0
_STABLE_SECONDS = 60.0
_STOP_SECONDS = 28.0
"""Longer than a process takes to drain, shorter than a supervisor's patience."""

_HOPELESS = 78
_BACKLOG = 2048


def serve_with_workers(config: Config, workers: int) -> int:
    """Serve on the configured address with `workers` processes, until SIGTERM or SIGINT.

    Returns the exit status. Raises `ConfigError` where the address cannot be listened on.
    """
    set_up_logging("ingest", log_format=config.log_format)
    with ExitStack() as stack:
        listening = [
            stack.enter_context(one) for one in _listen(config.ingest_host, config.ingest_port, workers)
        ]
        folder = stack.enter_context(TemporaryDirectory(prefix="joulebook-ingest-"))
        return asyncio.run(_Workers(listening, folder).run())


class _Workers:
    """The processes, one for each listening socket."""

    def __init__(self, listening: list[socket.socket], folder: str) -> None:
        self._listening = listening
        self._folder = folder
        self._stop = asyncio.Event()
        self._status = 0

    async def run(self) -> int:
        """Keep the processes alive until a signal asks for the end, or one of them is hopeless."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        await asyncio.gather(
            *(self._keep(number, one) for number, one in enumerate(self._listening, start=1))
        )
        return self._status

    async def _keep(self, number: int, listening: socket.socket) -> None:
        pause = _FIRST_PAUSE
        while not self._stop.is_set():
            began = time.monotonic()
            process = await _start(number, listening, self._folder)
            status = await self._end_of(process, listening)
            if self._stop.is_set():
                return
            if status == _HOPELESS:
                self._status = 1
                self._stop.set()
                return
            pause = _FIRST_PAUSE if time.monotonic() - began > _STABLE_SECONDS else pause
            log.warning("ingest process %d ended with status %d; starting it again", number, status)
            await self._happens(self._stop, seconds=pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    async def _end_of(self, process: Process, listening: socket.socket) -> int:
        """Wait for the end of a process, and bring it about when all are to stop."""
        ended = asyncio.ensure_future(process.wait())
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({ended, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not ended.done():
            # Only the process accepts from now on, and so it knows when nobody is left.
            listening.close()
            process.terminate()
            await asyncio.wait({ended}, timeout=_STOP_SECONDS)
            if not ended.done():
                process.kill()
        return await ended

    async def _happens(self, event: asyncio.Event, *, seconds: float) -> None:
        await asyncio.wait({waiting := asyncio.ensure_future(event.wait())}, timeout=seconds)
        waiting.cancel()


async def _start(number: int, listening: socket.socket, folder: str) -> Process:
    descriptor = listening.fileno()
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "joulebook.ingest.worker_process",
        str(descriptor),
        str(number),
        str(os.getpid()),
        folder,
        pass_fds=(descriptor,),
    )


def _listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Return sockets that share an address. Raises `ConfigError` where it is taken or is none of ours."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        # Sharing would hide another server on this port: the first look is without it.
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _bind(probe, address)
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


def _bind(probe: socket.socket, address: object, *, patience: float = 3.0) -> None:
    """Bind; wait a moment for the processes of a parent that was killed just now."""
    deadline = time.monotonic() + patience
    while True:
        try:
            probe.bind(address)  # type: ignore[arg-type]
            probe.listen(1)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
