"""The worker's loop: runs each task when it is due, until told to stop. Django is set up by the caller."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.db import close_old_connections

from joulebook.worker.tasks import Task

log = logging.getLogger(__name__)


@dataclass
class _Due:
    task: Task
    at: float


END_SECONDS = 8.0
"""How long what runs beside the tasks has to end; where it hangs, its leases end with the process."""


Counted = Callable[[str, float, bool], None]
"""Called with a task's name, how many seconds it took, and whether it succeeded."""


def _uncounted(_task: str, _seconds: float, _succeeded: bool) -> None:
    """Stand for nobody who counts."""


def run(
    tasks: Sequence[Task],
    beside: Sequence[Callable[[threading.Event], None]] = (),
    *,
    counted: Counted = _uncounted,
) -> None:
    """Run the tasks, each at its own interval, until SIGTERM or SIGINT.

    A task that fails is logged and comes round again; it stops neither the others nor the worker. What is
    `beside` them runs in threads of its own, until the event that it is given is set.
    """
    stopping = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopping.set())
    log.info("worker started with %d task(s)", len(tasks))
    threads = [
        threading.Thread(target=each, args=(stopping,), name="joulebook-beside", daemon=True)
        for each in beside
    ]
    for thread in threads:
        thread.start()
    run_until(stopping.is_set, stopping.wait, tasks, counted=counted)
    until = time.monotonic() + END_SECONDS
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    log.info("worker stopped")


def run_until(
    stopped: Callable[[], bool],
    wait: Callable[[float], object],
    tasks: Sequence[Task],
    *,
    counted: Counted = _uncounted,
) -> None:
    """Run the tasks until `stopped`, passing the time between them with `wait`."""
    schedule = [_Due(task, at=time.monotonic()) for task in tasks]
    while not stopped():
        due = min(schedule, key=lambda entry: entry.at)
        pause = due.at - time.monotonic()
        if pause > 0:
            wait(pause)
            continue
        due.at = time.monotonic() + due.task.interval.total_seconds()
        began = time.monotonic()
        succeeded = False
        try:
            # One that broke, or that the server has ended, would otherwise stay broken for every later task.
            close_old_connections()
            succeeded = due.task.run() is not False
        except Exception:
            log.exception("task %s failed; it runs again in %s", due.task.name, due.task.interval)
        counted(due.task.name, time.monotonic() - began, succeeded)
