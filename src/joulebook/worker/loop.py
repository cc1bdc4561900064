"""The worker's loop: runs each task when it is due, until stopped. Django is set up by the caller."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import close_old_connections

log = logging.getLogger(__name__)

END_SECONDS = 8.0
"""Seconds for the threads beside the tasks to end; after that the process ends without them."""


@dataclass(frozen=True)
class Task:
    """One periodic piece of work; `run` returns False if it could not be done."""

    name: str
    interval: timedelta
    run: Callable[[], bool | None]


CountRun = Callable[[str, float, bool], None]
"""Called with a task's name, its seconds, and whether it succeeded."""


def _count_nothing(_task: str, _seconds: float, _succeeded: bool) -> None:
    """Do nothing: the default of `count_run`."""


def run(
    tasks: Sequence[Task],
    threads: Sequence[Callable[[threading.Event], None]] = (),
    *,
    count_run: CountRun = _count_nothing,
) -> None:
    """Run the tasks, each at its own interval, until SIGTERM or SIGINT.

    A failing task is logged and runs again at its next time; the other tasks and the worker continue. Each
    of `threads` runs in a thread of its own until its event is set.
    """
    stopping = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopping.set())
    log.info("worker started with %d task(s)", len(tasks))
    running = [
        threading.Thread(target=each, args=(stopping,), name="joulebook-beside", daemon=True)
        for each in threads
    ]
    for thread in running:
        thread.start()
    run_until(stopping.is_set, stopping.wait, tasks, count_run=count_run)
    until = time.monotonic() + END_SECONDS
    for thread in running:
        thread.join(max(0.0, until - time.monotonic()))
    log.info("worker stopped")


def run_until(
    is_stopped: Callable[[], bool],
    wait: Callable[[float], object],
    tasks: Sequence[Task],
    *,
    count_run: CountRun = _count_nothing,
) -> None:
    """Run the tasks until `is_stopped()`; between them, call `wait` with the seconds until the next one."""
    due_at = [time.monotonic()] * len(tasks)
    while not is_stopped():
        index = min(range(len(tasks)), key=due_at.__getitem__)
        task = tasks[index]
        pause = due_at[index] - time.monotonic()
        if pause > 0:
            wait(pause)
            continue
        due_at[index] = time.monotonic() + task.interval.total_seconds()
        began = time.monotonic()
        succeeded = False
        try:
            # A connection broken or ended by the server would otherwise stay broken for every later task.
            close_old_connections()
            succeeded = task.run() is not False
        except Exception:
            log.exception("task %s failed; it runs again in %s", task.name, task.interval)
        count_run(task.name, time.monotonic() - began, succeeded)
