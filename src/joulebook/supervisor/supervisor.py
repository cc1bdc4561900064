"""Starts all processes of a plan, keeps them alive, and stops them in order when told to."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from joulebook.logs import text_line
from joulebook.supervisor.children import Child
from joulebook.supervisor.console import Console
from joulebook.supervisor.readiness import HOPELESS, until_it_answers
from joulebook.supervisor.specs import Patience, ProcessSpec, Ready

_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def take_in_orphans() -> None:
    """Become the parent of every descendant whose own parent ends; otherwise that is the machine's init."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_orphans() -> None:
    """Kill and reap all children that are left.

    To be called when every child that was started here has been waited for: those that are left were
    taken in. Their own children become ours in turn, until there are none.
    """
    while children := _children():
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in children:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> list[int]:
    """Return this process's children, zombies included; it has one thread, so they are all that thread's."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return _children_by_search()
    return [int(word) for word in text.split()]


def _children_by_search() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rsplit(") ", 1)[1].split()[1])
                found += [int(entry.name)] if parent == os.getpid() else []
    return found


class UnableToKeep(Exception):
    """A process of the plan does not come up; the message says which, and ends with its last words."""


class Keeper:
    """Starts a process and looks after it until `stop`.

    `ready` is set as soon as the process has been ready once, and stays set: others that need it handle
    its absence themselves.
    """

    def __init__(self, spec: ProcessSpec, console: Console, patience: Patience) -> None:
        self.spec = spec
        self.ready = asyncio.Event()
        self._console = console
        self._patience = patience
        self._child: Child | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, others: Mapping[str, Keeper]) -> asyncio.Task[None]:
        """Begin; the task ends with a process that is a step, or raises `UnableToKeep`."""
        self._task = asyncio.create_task(self._keep(others), name=self.spec.name)
        return self._task

    def release_if_idle(self) -> None:
        """Start nothing any more, unless the process runs: then go on looking after it."""
        if self._child is None and self._task is not None:
            self._task.cancel()

    async def stop(self, *, fast: asyncio.Event) -> None:
        """End the process and do not start it again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._child is not None:
            await self._child.stop(fast=fast)
            self._child = None

    async def _keep(self, others: Mapping[str, Keeper]) -> None:
        for name in self.spec.after:
            await others[name].ready.wait()
        failures = 0
        while True:
            started = time.monotonic()
            status, words = await self._run_once()
            if self.spec.ready is Ready.ENDED and status == 0:
                self.ready.set()
                return
            failures = 1 if time.monotonic() - started > self._patience.stable else failures + 1
            self._give_up_if_hopeless(failures, status, words)
            delay = self._patience.delay(failures)
            self._console.line(
                self.spec.name,
                text_line(
                    f"{describe(status)}; starts again in {delay:g} s",
                    level="WARNING", logger="joulebook.supervisor", now=time.time(),
                ),
            )  # fmt: skip
            await asyncio.sleep(delay)

    def _give_up_if_hopeless(self, failures: int, status: int, words: list[str]) -> None:
        """Raise when a process that has never been ready failed too often; a step may fail only once."""
        if self.ready.is_set():
            return
        if self.spec.ready is Ready.ENDED:
            raise UnableToKeep(_told(f"{self.spec.name} {describe(status)}", words))
        if status == HOPELESS:
            raise UnableToKeep(_told(f"{self.spec.name} cannot start", words))
        if failures >= self._patience.attempts:
            raise UnableToKeep(
                _told(f"{self.spec.name} {describe(status)}, {failures} times in a row", words)
            )

    async def _run_once(self) -> tuple[int, list[str]]:
        """Start the process and wait for its end; return its status and its last words."""
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
                watch.result()  # raises when it was not ready in time
            status = await ending
        finally:
            watch.cancel()
        self._child = None
        return status, child.last_words

    async def _watch(self, child: Child) -> None:
        """Set `ready` as soon as the process is; a process that never was gets `start_timeout` seconds."""
        limit = None if self.ready.is_set() or self.spec.ready is Ready.ENDED else self.spec.start_timeout
        try:
            async with asyncio.timeout(limit):
                await self._until_ready(child)
        except TimeoutError:
            problem = f"{self.spec.name} was not ready within {self.spec.start_timeout:g} s"
            raise UnableToKeep(_told(problem, child.last_words)) from None
        if self.spec.ready is not Ready.ENDED:
            self.ready.set()

    async def _until_ready(self, child: Child) -> None:
        match self.spec.ready:
            case Ready.ANSWERS:
                assert self.spec.address is not None  # noqa: S101 - the plan says where it listens
                await until_it_answers(self.spec.address)
            case Ready.NOTIFIES:
                await child.ready.wait()
            case Ready.LIVES:
                await asyncio.sleep(self._patience.settle)
            case Ready.ENDED:
                await child.ended()


def describe(status: int) -> str:
    """Say how a process ended."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def _told(problem: str, words: list[str]) -> str:
    if not words:
        return f"{problem}, without a word"
    return f"{problem}; its last words:\n" + "\n".join(f"    {line}" for line in words)


def _stopping_signals() -> list[signal.Signals]:
    """Return the signals that mean "stop"; a hang-up that the user asked to ignore (`nohup`) is not one."""
    hang_up = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN else []
    return [signal.SIGINT, signal.SIGTERM, *hang_up]


class Supervisor:
    """Runs a plan: processes in the order in which they begin; they end in the reverse order."""

    def __init__(
        self, plan: Sequence[ProcessSpec], console: Console, *, patience: Patience | None = None
    ) -> None:
        known: set[str] = set()
        for spec in plan:
            if missing := set(spec.after) - known:
                raise ValueError(
                    f"{spec.name} comes after {sorted(missing)}, which the plan does not have before"
                )
            known.add(spec.name)
        self._console = console
        self._keepers = {spec.name: Keeper(spec, console, patience or Patience()) for spec in plan}
        self._stop = asyncio.Event()
        self._fast = asyncio.Event()

    async def run(self, *, on_ready: Callable[[], None]) -> None:
        """Run until SIGINT, SIGTERM or SIGHUP; when it returns, no process of the plan is left.

        `on_ready` is called once, when every process is ready. A second signal ends everything at once.
        Raises `UnableToKeep`, after stopping everything, when a process does not come up.
        """
        loop = asyncio.get_running_loop()
        numbers = _stopping_signals()
        for number in numbers:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            await self._run(on_ready)
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    async def _run(self, on_ready: Callable[[], None]) -> None:
        take_in_orphans()
        tasks = [keeper.start(self._keepers) for keeper in self._keepers.values()]
        ready = asyncio.create_task(self._tell_when_ready(on_ready))
        stop = asyncio.create_task(self._stop.wait())
        try:
            problem = await self._first_problem(tasks, stop)
        finally:
            ready.cancel()
            stop.cancel()
            await self._stop_all()
            end_orphans()
        if problem is not None:
            raise problem

    async def _first_problem(
        self, tasks: list[asyncio.Task[None]], stop: asyncio.Task[bool]
    ) -> BaseException | None:
        """Wait for the order to stop or for a keeper that gives up; return why it gave up."""
        waiting: set[asyncio.Task[None] | asyncio.Task[bool]] = {*tasks, stop}
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if stop in done:
                return None
            for task in done:
                if problem := task.exception():
                    return problem
        return None

    async def _tell_when_ready(self, on_ready: Callable[[], None]) -> None:
        for keeper in self._keepers.values():
            await keeper.ready.wait()
        on_ready()

    async def _stop_all(self) -> None:
        for keeper in self._keepers.values():
            keeper.release_if_idle()
        for keeper in reversed(self._keepers.values()):
            await keeper.stop(fast=self._fast)

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            if not self._fast.is_set():
                self._console.say("Stopping at once.")
            self._fast.set()
            return
        again = "; once more stops at once" if number == signal.SIGINT else ""
        self._console.say(f"Stopping{again}.")
        self._stop.set()


def run_plan(
    plan: Sequence[ProcessSpec],
    console: Console,
    *,
    on_ready: Callable[[], None],
    patience: Patience | None = None,
) -> None:
    """Run a plan in this process's main thread until it is told to stop. Raises `UnableToKeep`."""

    async def supervise() -> None:
        await Supervisor(plan, console, patience=patience).run(on_ready=on_ready)

    asyncio.run(supervise())


__all__ = ["Supervisor", "UnableToKeep", "run_plan"]
