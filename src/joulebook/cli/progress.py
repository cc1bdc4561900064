"""Shows a command's progress on standard error: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_REWRITE = 0.2
_LOG_STEP = 60.0


class StatusLine:
    """Writes to standard error.

    With `transient` each text ends in a carriage return and replaces the one before, on a terminal and in
    the supervisor's console; otherwise one text a minute is written, and every `urgent` one.
    """

    def __init__(self, *, transient: bool | None = None, log_step: float = _LOG_STEP) -> None:
        self._transient = sys.stderr.isatty() if transient is None else transient
        self._clear = "\x1b[2K" if sys.stderr.isatty() else ""
        self._step = _REWRITE if self._transient else log_step
        self._next = 0.0
        self._open = False

    def due(self) -> bool:
        """Return whether it is time for a new text."""
        return time.monotonic() >= self._next

    def show(self, text: str, *, urgent: bool = False) -> None:
        """Show the text, if it is due."""
        if not urgent and not self.due():
            return
        self._next = time.monotonic() + self._step
        self._open = self._transient
        if self._clear:
            text = text[: shutil.get_terminal_size().columns - 1]  # a wrapped line cannot be replaced
        self._write(f"{self._clear}{text}\r" if self._transient else f"{text}\n")

    def end(self, text: str) -> None:
        """Write a last line, never replaced."""
        self._write(f"{self._clear if self._open else ''}{text}\n")
        self._open = False

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


_FIRST_LINE_AFTER = 5.0
_PROGRESS_LOG_STEP = 30.0


@contextmanager
def show_progress(what: str) -> Iterator[Callable[[float], None]]:
    """Yield a function to call with the share done, 0 to 1."""
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
    line = StatusLine(transient=False, log_step=_PROGRESS_LOG_STEP)
    began = time.monotonic()

    def show(share: float) -> None:
        if time.monotonic() - began > _FIRST_LINE_AFTER:
            line.show(f"{what}: {100 * share:.0f} %")

    yield show
