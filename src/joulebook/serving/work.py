"""The work of a thread for a request, and its cancellation when the client disconnects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[Work | None] = ContextVar("work", default=None)


class Work:
    """The work for one request, done by one thread at a time."""

    def __init__(self) -> None:
        self.is_cancelled = False
        self._lock = threading.Lock()
        self._stops: dict[object, Callable[[], object]] = {}

    @contextmanager
    def underway(self) -> Iterator[None]:
        """Make this the current thread's work."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def cancel(self) -> None:
        """Stop the work, from another thread; return after all `stop` functions have been called."""
        with self._lock:
            self.is_cancelled = True
            for stop in self._stops.values():
                stop()

    @contextmanager
    def stopped_by(self, stop: Callable[[], object]) -> Iterator[None]:
        """Call `stop` if the work is cancelled inside the context, and never after it."""
        handle = object()
        with self._lock:
            self._stops[handle] = stop
        try:
            yield
        finally:
            with self._lock:
                del self._stops[handle]


def is_client_gone() -> bool:
    """Return whether the client has disconnected; long work checks this from time to time."""
    work = _current.get()
    return work is not None and work.is_cancelled


@contextmanager
def stopped_with_client(stop: Callable[[], object]) -> Iterator[None]:
    """Call `stop` from another thread if the client of the current request disconnects."""
    work = _current.get()
    if work is None:
        yield
        return
    with work.stopped_by(stop):
        yield
