"""Keeps one process of the plan alive: starts it when others are ready, and again when it dies."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping

from joulebook.logs import text_line
from joulebook.supervisor.children import Child
from joulebook.supervisor.console import Console
from joulebook.supervisor.probes import until_it_answers
from joulebook.supervisor.readiness import HOPELESS
from joulebook.supervisor.specs import Patience, ProcessSpec, Ready


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
