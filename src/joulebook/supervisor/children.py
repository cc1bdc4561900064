"""Starts one child process in its own process group, reads its output, and ends it with its descendants."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from joulebook.logs import PREFIXED_VARIABLE
from joulebook.readiness import READY_VARIABLE
from joulebook.supervisor.console import Console, LineSplitter
from joulebook.supervisor.specs import ProcessSpec, Ready

_PR_SET_PDEATHSIG = 1
CHILDRENS_UMASK = 0o027
"""Of a process with its own system user: its group reads its files, others do not."""
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with(parent: int) -> Callable[[], None]:
    """Return the child's work between fork and exec: it asks the kernel to kill it when `parent` dies.

    The request outlives exec. Code between fork and exec is safe only in a process with one thread, such
    as the supervisor. The request belongs to the parent's thread, so only the main thread starts children.
    If the parent died before the request took effect, the child's parent is another process, and it exits.
    """

    def before_exec() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        # A dump of memory would hold passwords.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if os.getppid() != parent:
            os._exit(1)

    return before_exec


class Child:
    """One running process. Use it from the event loop in the main thread."""

    def __init__(self, spec: ProcessSpec, console: Console) -> None:
        """Start the process. Raises `OSError` if its command cannot be run."""
        self.spec = spec
        self.ready = asyncio.Event()
        self._ended = asyncio.Event()
        self._status: int | None = None
        self._lines = LineSplitter(console, spec.name)
        self._labels = console.labels
        self._loop = asyncio.get_running_loop()
        self._notices: int | None = None
        self._process = self._start()
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)
        self._loop.add_reader(self._output, self._read_output)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._on_end)

    @property
    def pid(self) -> int:
        """The id of the process and of its group."""
        return self._process.pid

    @property
    def last_lines(self) -> list[str]:
        """The last lines of its output."""
        return list(self._lines.last)

    async def ended(self) -> int:
        """Wait for the end; return the exit status, negative for a signal's number."""
        await self._ended.wait()
        assert self._status is not None  # noqa: S101 - set before the event
        return self._status

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process; SIGKILL goes to its whole group. Harmless after its end."""
        if self._status is not None:
            return
        with suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)

    async def stop(self, *, fast: asyncio.Event) -> None:
        """Ask the process to end and wait; kill it after its timeout, or as soon as `fast` is set."""
        if not fast.is_set():
            self.send(self.spec.stop_signal)
            if await _first(self._ended, fast, timeout=self.spec.stop_timeout):
                return
        if fast.is_set() and self.spec.fast_signal != signal.SIGKILL:
            self.send(self.spec.fast_signal)
            if await _first(self._ended, timeout=15.0):
                return
        self.send(signal.SIGKILL)
        await self._ended.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        environment = dict(self.spec.environment())
        environment.setdefault("PYTHONUNBUFFERED", "1")
        if self._labels:
            environment[PREFIXED_VARIABLE] = "1"
        inherited = [] if self.spec.listening is None else [self.spec.listening.fileno()]
        written: int | None = None
        if self.spec.ready is Ready.NOTIFIES:
            self._notices, written = os.pipe()
            environment[READY_VARIABLE] = str(written)
            inherited.append(written)
        try:
            process = subprocess.Popen(
                self._command(),
                env=environment,
                cwd=None if self.spec.user is None else "/",
                umask=-1 if self.spec.user is None else CHILDRENS_UMASK,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=inherited,
                preexec_fn=_die_with(os.getpid()),
            )
        except OSError:
            self._forget_notices()
            raise
        finally:
            if written is not None:
                os.close(written)
        if self._notices is not None:
            self._loop.add_reader(self._notices, self._read_notice)
        return process

    def _command(self) -> tuple[str, ...]:
        spec = self.spec
        if spec.user is None:
            return spec.command
        unprivileged = 1024  # the lowest port for processes without a special right
        with suppress(OSError, ValueError):
            setting = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
            unprivileged = int(setting.read_text(encoding="ascii"))
        listens_low = spec.address is not None and spec.address.port < unprivileged
        prefix = spec.user.command_prefix(capability="net_bind_service" if listens_low else None)
        return (*prefix, *spec.command)

    def _read_notice(self) -> None:
        assert self._notices is not None  # noqa: S101 - the reader is removed with it
        if os.read(self._notices, 1):
            self.ready.set()
        self._forget_notices()

    def _forget_notices(self) -> None:
        if self._notices is not None:
            self._loop.remove_reader(self._notices)
            os.close(self._notices)
            self._notices = None

    def _read_output(self) -> None:
        with suppress(BlockingIOError):
            data = os.read(self._output, 65_536)
            if data:
                self._lines.feed(data)
            else:
                self._loop.remove_reader(self._output)

    def _on_end(self) -> None:
        """Kill the process's group, then reap the process: until then no other process gets its number."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._status = self._process.wait()
        # Write the rest of the pipe, without waiting for other processes holding its other end.
        self._loop.remove_reader(self._output)
        with suppress(BlockingIOError):
            while data := os.read(self._output, 65_536):
                self._lines.feed(data)
        self._lines.close()
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        self._process.stdout.close()
        self._forget_notices()
        self._ended.set()


async def _first(*events: asyncio.Event, timeout: float) -> bool:  # noqa: ASYNC109 - one wait, one limit
    """Wait until one of the events is set or `timeout` seconds passed; return whether the first is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return events[0].is_set()
