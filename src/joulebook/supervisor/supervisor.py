"""Starts all processes of a plan, keeps them alive, and stops them in order when told to."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence

from joulebook.supervisor.console import Console
from joulebook.supervisor.keeper import Keeper, UnableToKeep
from joulebook.supervisor.orphans import end_orphans, take_in_orphans
from joulebook.supervisor.specs import Patience, ProcessSpec


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
