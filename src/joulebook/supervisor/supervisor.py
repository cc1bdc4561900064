"""Runs the processes of a plan: starts them in order, restarts dead ones, and stops them in reverse order.

A process started by another one of the plan may outlive it: such an orphan becomes a child of the supervisor,
and is killed at the end.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from joulebook.supervisor.children import Child
from joulebook.supervisor.console import Console
from joulebook.supervisor.specs import Address, Patience, ProcessSpec, Ready

_PR_SET_CHILD_SUBREAPER = 36
_READY_CHECK_SECONDS = 0.1
"""The time between two requests to a process that is not ready yet."""
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Become the parent of each descendant whose own parent ends, in place of the machine's init process."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_orphans() -> None:
    """Kill and reap the adopted orphans with all their descendants.

    Call this after waiting for every child started here, since it kills all remaining children. It repeats
    until there are none, because the children of a killed orphan are adopted in turn.
    """
    while children := _children():
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in children:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> list[int]:
    """Return the children of this process's only thread, zombies included."""
    with suppress(FileNotFoundError):
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        return [int(word) for word in text.split()]
    found = []  # by a search, on a kernel without CONFIG_PROC_CHILDREN
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rsplit(") ", 1)[1].split()[1])
                found += [int(entry.name)] if parent == os.getpid() else []
    return found


class ProcessFailed(Exception):
    """A process of the plan does not start; the message names it and ends with its last lines of output."""


class SupervisedProcess:
    """Starts a process and restarts it until `stop`.

    `ready` is set as soon as the process is ready for the first time, and stays set even while the process is
    down: processes depending on it must cope with that themselves.
    """

    def __init__(self, spec: ProcessSpec, console: Console, patience: Patience) -> None:
        self.spec = spec
        self.ready = asyncio.Event()
        self._console = console
        self._patience = patience
        self._child: Child | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, others: Mapping[str, SupervisedProcess]) -> asyncio.Task[None]:
        """Begin to supervise, once all processes named in `after` are ready; `others` has the whole plan.

        The returned task ends when a step has succeeded, and raises `ProcessFailed`.
        """
        self._task = asyncio.create_task(self._supervise(others), name=self.spec.name)
        return self._task

    def cancel_pending_start(self) -> None:
        """Do not start the process if it is not running; if it is, continue to supervise it."""
        if self._child is None and self._task is not None:
            self._task.cancel()

    async def stop(self, *, fast: asyncio.Event) -> None:
        """End the process and do not restart it; do not wait for its orderly end once `fast` is set."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.spec.listening is not None:
            # From now on only the process itself accepts connections, and clients are refused once it ends.
            self.spec.listening.close()
        if self._child is not None:
            await self._child.stop(fast=fast)
            self._child = None

    async def _supervise(self, others: Mapping[str, SupervisedProcess]) -> None:
        for name in self.spec.after:
            await others[name].ready.wait()
        failures = 0
        while True:
            started = time.monotonic()
            status, output = await self._run_once()
            if self.spec.ready is Ready.ENDED and status == 0:
                self.ready.set()
                return
            failures = 1 if time.monotonic() - started > self._patience.stable else failures + 1
            if not self.ready.is_set():
                # A step has one attempt. Another process has several until it is ready, and then any number.
                if self.spec.ready is Ready.ENDED:
                    raise ProcessFailed(_with_output(f"{self.spec.name} {describe(status)}", output))
                if status == os.EX_CONFIG:
                    raise ProcessFailed(_with_output(f"{self.spec.name} cannot start", output))
                if failures >= self._patience.attempts:
                    problem = f"{self.spec.name} {describe(status)}, {failures} times in a row"
                    raise ProcessFailed(_with_output(problem, output))
            delay = self._patience.delay(failures)
            self._console.warn(self.spec.name, f"{describe(status)}; starts again in {delay:g} s")
            await asyncio.sleep(delay)

    async def _run_once(self) -> tuple[int, list[str]]:
        """Start the process and wait for its end; return its status and its last lines of output."""
        try:
            child = Child(self.spec, self._console)
        except OSError as exc:
            return 127, [f"{self.spec.command[0]} cannot be run: {exc}"]
        self._child = child
        watch = asyncio.create_task(self._watch(child))
        try:
            await asyncio.wait(
                [watch, ending := asyncio.create_task(child.ended())], return_when="FIRST_COMPLETED"
            )
            if watch.done() and not ending.done():
                watch.result()  # raises if it was not ready in time
            status = await ending
        finally:
            watch.cancel()
        self._child = None
        return status, child.last_lines

    async def _watch(self, child: Child) -> None:
        """Set `ready` as soon as the process is ready.

        Raises `ProcessFailed` if a process other than a step is not ready within `start_timeout` seconds;
        only the time before its first readiness is limited.
        """
        limit = None if self.ready.is_set() or self.spec.ready is Ready.ENDED else self.spec.start_timeout
        try:
            async with asyncio.timeout(limit):
                match self.spec.ready:
                    case Ready.ANSWERS:
                        assert self.spec.address is not None  # noqa: S101 - the plan says where it listens
                        while not await _answers(self.spec.address):  # noqa: ASYNC110 - no event of another process
                            await asyncio.sleep(_READY_CHECK_SECONDS)
                    case Ready.NOTIFIES:
                        await child.ready.wait()
                    case Ready.LIVES:
                        await asyncio.sleep(self._patience.settle)
                    case Ready.ENDED:
                        await child.ended()
        except TimeoutError:
            problem = f"{self.spec.name} was not ready within {self.spec.start_timeout:g} s"
            raise ProcessFailed(_with_output(problem, child.last_lines)) from None
        if self.spec.ready is not Ready.ENDED:
            self.ready.set()


def describe(status: int) -> str:
    """Return in words how a process ended; `status` is its exit status, or minus the number of a signal."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def _with_output(problem: str, lines: list[str]) -> str:
    if not lines:
        return f"{problem}, without any output"
    return f"{problem}; its last words:\n" + "\n".join(f"    {line}" for line in lines)


class Supervisor:
    """Runs a plan: starts its processes in order, and stops them one after another in reverse order.

    With `stop_together` all of them are stopped at the same time. Raises ValueError if a process must start
    after another one that is not listed before it.
    """

    def __init__(
        self,
        plan: Sequence[ProcessSpec],
        console: Console,
        *,
        patience: Patience | None = None,
        stop_together: bool = False,
    ) -> None:
        known: set[str] = set()
        for spec in plan:
            if missing := set(spec.after) - known:
                raise ValueError(
                    f"{spec.name} comes after {sorted(missing)}: the plan does not have them before it"
                )
            known.add(spec.name)
        self._console = console
        self._stop_together = stop_together
        self._processes = {
            spec.name: SupervisedProcess(spec, console, patience or Patience()) for spec in plan
        }
        self._stop = asyncio.Event()
        self._fast = asyncio.Event()

    async def run(self, *, on_ready: Callable[[], None]) -> None:
        """Run until SIGINT, SIGTERM or SIGHUP, and return when every process has ended.

        `on_ready` is called once, as soon as every process has been ready. A second signal stops everything
        at once. Raises `ProcessFailed`, after stopping everything, if a process does not start.
        """

        async def report_readiness() -> None:
            for process in self._processes.values():
                await process.ready.wait()
            on_ready()

        loop = asyncio.get_running_loop()
        with ExitStack() as stack:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                    continue  # the user ignores it (`nohup`)
                loop.add_signal_handler(number, self._on_signal, number)
                stack.callback(loop.remove_signal_handler, number)
            adopt_orphans()
            tasks = [process.start(self._processes) for process in self._processes.values()]
            ready = asyncio.create_task(report_readiness())
            stop = asyncio.create_task(self._stop.wait())
            try:
                problem = await self._first_problem(tasks, stop)
            finally:
                ready.cancel()
                stop.cancel()
                await self._stop_all()
                kill_orphans()
            if problem is not None:
                raise problem

    async def _first_problem(
        self, tasks: list[asyncio.Task[None]], stop: asyncio.Task[bool]
    ) -> BaseException | None:
        """Wait until `stop` ends or a process is given up; return the error of the latter, or None."""
        waiting: set[asyncio.Task[None] | asyncio.Task[bool]] = {*tasks, stop}
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if stop in done:
                return None
            for task in done:
                if problem := task.exception():
                    return problem
        return None

    async def _stop_all(self) -> None:
        for process in self._processes.values():
            process.cancel_pending_start()
        if self._stop_together:
            await asyncio.gather(*(process.stop(fast=self._fast) for process in self._processes.values()))
            return
        for process in reversed(self._processes.values()):
            await process.stop(fast=self._fast)

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            if not self._fast.is_set():
                self._console.say("Stopping at once.")
            self._fast.set()
            return
        again = "; once more stops at once" if number == signal.SIGINT else ""
        self._console.say(f"Stopping{again}.")
        self._stop.set()


async def _answers(address: Address, *, path: str = "/readyz", limit: float = 5.0) -> bool:
    """Return whether `GET path` is answered with 200 within `limit` seconds.

    The web process accepts the host `localhost` at any address. Behind a proxy it redirects requests without
    TLS, so this request claims to have come over TLS.
    """
    request = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: https\r\n"
        "User-Agent: joulebook-up\r\nConnection: close\r\n\r\n"
    )
    try:
        async with asyncio.timeout(limit):
            reader, writer = await asyncio.open_connection(address.reachable, address.port)
            try:
                writer.write(request.encode())
                status = await reader.readline()
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
    return status.split(b" ")[1:2] == [b"200"]


def run_plan(
    plan: Sequence[ProcessSpec],
    console: Console,
    *,
    on_ready: Callable[[], None] = lambda: None,
    patience: Patience | None = None,
    stop_together: bool = False,
) -> None:
    """Run a plan in this process's main thread until a signal stops it. Raises `ProcessFailed`."""
    supervisor = Supervisor(plan, console, patience=patience, stop_together=stop_together)

    async def supervise() -> None:
        await supervisor.run(on_ready=on_ready)

    asyncio.run(supervise())


__all__ = ["ProcessFailed", "Supervisor", "run_plan"]
