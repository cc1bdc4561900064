"""Shows how far a command is: a bar on a terminal, else a line now and then, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from joulebook.cli.status_line import StatusLine

_FIRST_LINE_AFTER = 5.0
_LOG_STEP = 30.0


@contextmanager
def show_progress(what: str) -> Iterator[Callable[[float], None]]:
    """Yield what is to be called with the share that is done, 0 to 1."""
    if sys.stderr.isatty():
        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        ) as bar:
            task = bar.add_task(what, total=1.0)
            yield lambda share: bar.update(task, completed=share)
        return
    line = StatusLine(transient=False, log_step=_LOG_STEP)
    began = time.monotonic()

    def show(share: float) -> None:
        if time.monotonic() - began > _FIRST_LINE_AFTER:
            line.show(f"{what}: {100 * share:.0f} %")

    yield show
