"""Bounds the work of reading a file for a person who waits, and ends it when that person has gone.

A worker and a command read under no budget: what they read was bounded before, and may be long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from joulebook.telemetry.files.errors import ReadingAbandoned, TooMuchWork

_current: ContextVar[Budget | None] = ContextVar("reading_budget", default=None)


def _is_wanted() -> bool:
    return True


class Stopwatch:
    """Measures the processor time that this process has spent since the stopwatch was made.

    Other threads count too, so it is never more than the time that has passed.
    """

    def __init__(self) -> None:
        self._processor, self._clock = time.process_time(), time.monotonic()

    @property
    def seconds(self) -> float:
        """The processor time so far, in seconds."""
        return min(time.process_time() - self._processor, time.monotonic() - self._clock)


class Budget:
    """How much processor time may be spent on a file, and whether anybody still waits for the result.

    `pattern_seconds` is what delimiter patterns have spent of it.
    """

    def __init__(self, seconds: float, is_wanted: Callable[[], bool]) -> None:
        self._seconds = seconds
        self._is_wanted = is_wanted
        self._stopwatch = Stopwatch()
        self.pattern_seconds = 0.0

    def check(self) -> None:
        """Raise `ReadingAbandoned` where nobody waits, and `TooMuchWork` where the time is spent."""
        if not self._is_wanted():
            raise ReadingAbandoned("the client has gone, so its file is read no further")
        if self._stopwatch.seconds > self._seconds:
            raise TooMuchWork(
                f"reading the file takes more than {self._seconds:g} seconds of processor time, which is "
                "more than an answer may take; import it without looking first, or try a part of it"
            )


@contextmanager
def limited_work(seconds: float, *, is_wanted: Callable[[], bool] = _is_wanted) -> Iterator[None]:
    """Bound what is read of files inside the block, also in threads that `read_ahead` starts."""
    token = _current.set(Budget(seconds, is_wanted))
    try:
        yield
    finally:
        _current.reset(token)


def current_budget() -> Budget | None:
    """Return the budget under which files are read here, None for no limit."""
    return _current.get()


def check_budget() -> None:
    """Raise `ReadingAbandoned` or `TooMuchWork` where reading has to end; call it once in a while."""
    budget = _current.get()
    if budget is not None:
        budget.check()
