"""Limits the processor time of reading a file for a request, and ends it when the client disconnects.

A worker and a command read without a budget: their files were checked before, and may be long.
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
    """Measures the processor time of this process since the stopwatch was made.

    Other threads count too; it never exceeds the elapsed time.
    """

    def __init__(self) -> None:
        self._processor, self._clock = time.process_time(), time.monotonic()

    @property
    def seconds(self) -> float:
        """The processor time so far, in seconds."""
        return min(time.process_time() - self._processor, time.monotonic() - self._clock)


class Budget:
    """The processor time allowed for a file, and whether the client still waits for the result.

    `pattern_seconds` is the part of it used by delimiter patterns.
    """

    def __init__(self, seconds: float, is_wanted: Callable[[], bool]) -> None:
        self._seconds = seconds
        self._is_wanted = is_wanted
        self._stopwatch = Stopwatch()
        self.pattern_seconds = 0.0

    def check(self) -> None:
        """Raise `ReadingAbandoned` if the client has disconnected, `TooMuchWork` if the time is used up."""
        if not self._is_wanted():
            raise ReadingAbandoned("the client has gone, so its file is not read further")
        if self._stopwatch.seconds > self._seconds:
            raise TooMuchWork(
                f"reading the file takes more than {self._seconds:g} seconds of processor time, which is "
                "more than an answer may take; import it without looking first, or try a part of it"
            )


@contextmanager
def limited_work(seconds: float, *, is_wanted: Callable[[], bool] = _is_wanted) -> Iterator[None]:
    """Limit the reading of files inside the block, also in threads started by `read_ahead`."""
    token = _current.set(Budget(seconds, is_wanted))
    try:
        yield
    finally:
        _current.reset(token)


def current_budget() -> Budget | None:
    """Return the budget for reading files here, None for no limit."""
    return _current.get()


def check_budget() -> None:
    """Raise `ReadingAbandoned` or `TooMuchWork` if reading has to end; call it regularly."""
    budget = _current.get()
    if budget is not None:
        budget.check()
