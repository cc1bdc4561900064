"""Runs an iterator in a thread of its own, a few items ahead: reading and storing overlap."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextvars import copy_context
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")

_POLL = 0.1


class _End:
    """The last item in the queue: the iterator ended, or failed with an exception."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.failure = failure


def read_ahead(items: Iterable[Item], *, depth: int = 2) -> Generator[Item, None, None]:
    """Yield the items of `items`, iterated in another thread at most `depth` items ahead.

    The thread sees its caller's context variables. Its exception is raised here, after the items before
    it. When this generator is closed, the thread ends with its current item.
    """
    queue: Queue[Item | _End] = Queue(maxsize=depth)
    is_over = Event()

    def put(item: Item | _End) -> bool:
        while not is_over.is_set():
            try:
                queue.put(item, timeout=_POLL)
            except Full:
                continue
            return True
        return False

    def run() -> None:
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as exc:  # noqa: BLE001 - raised again in the thread that waits for the items
            put(_End(exc))
        else:
            put(_End())

    thread = Thread(target=copy_context().run, args=(run,), name="joulebook-read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            try:
                # With a timeout: so Ctrl-C reaches the waiting thread at once.
                item = queue.get(timeout=_POLL)
            except Empty:
                continue
            if isinstance(item, _End):
                if item.failure is not None:
                    raise item.failure
                return
            yield item
    finally:
        is_over.set()
        thread.join()
