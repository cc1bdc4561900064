"""The request that a thread is working on, and what to stop when its client has gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[Work | None] = ContextVar("work", default=None)


class Work:
    """What is done for one request; one thread at a time does it."""

    def __init__(self) -> None:
        self.is_cancelled = False
        self._lock = threading.Lock()
        self._stops: dict[object, Callable[[], object]] = {}

    @contextmanager
    def underway(self) -> Iterator[None]:
        """Let this be the current thread's work."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def cancel(self) -> None:
        """Stop what is done; called from another thread, and waits until the stop was passed on."""
        with self._lock:
            self.is_cancelled = True
            for stop in self._stops.values():
                stop()

    @contextmanager
    def stopped_by(self, stop: Callable[[], object]) -> Iterator[None]:
        """Have `stop` called if the work is cancelled meanwhile, and never after the end of the context."""
        handle = object()
        with self._lock:
            self._stops[handle] = stop
        try:
            yield
        finally:
            with self._lock:
                del self._stops[handle]


def is_client_gone() -> bool:
    """Return whether nobody waits for the current thread's work any longer; long work asks now and then."""
    work = _current.get()
    return work is not None and work.is_cancelled


@contextmanager
def stopped_with_client(stop: Callable[[], object]) -> Iterator[None]:
    """Have `stop` called from another thread when the client of the current request goes away."""
    work = _current.get()
    if work is None:
        yield
        return
    with work.stopped_by(stop):
        yield
