"""An iterator in a thread of its own: order, errors, and an early end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from joulebook.telemetry.files.read_ahead import read_ahead


def reading_threads() -> int:
    return sum(thread.name == "joulebook-read-ahead" for thread in threading.enumerate())


def test_items_come_in_order() -> None:
    assert list(read_ahead(range(1000))) == list(range(1000))
    assert reading_threads() == 0


def test_an_error_comes_after_the_items_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("damaged")

    got = []
    with pytest.raises(ValueError, match="damaged"):
        for item in read_ahead(failing()):
            got.append(item)  # noqa: PERF402 - the loop is left by the error
    assert got == [1, 2]
    assert reading_threads() == 0


def test_it_runs_only_a_few_items_ahead() -> None:
    made = []

    def counted() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    items = read_ahead(counted(), depth=2)
    next(items)
    time.sleep(0.3)
    assert len(made) <= 5
    items.close()


def test_closing_it_ends_the_thread_and_the_iterator() -> None:
    is_closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            is_closed.set()

    items = read_ahead(endless())
    next(items)
    items.close()
    assert is_closed.wait(60)
    assert reading_threads() == 0
