"""The rate of a token: bursts, waits, and that no token pays for another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from joulebook.ingest.access.tokens import BURST_SECONDS, RateLimits


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_token_that_was_silent_may_send_a_burst_and_then_waits_for_what_is_above() -> None:
    clock = Clock()
    limits = RateLimits(100, clock=clock)
    for _ in range(int(BURST_SECONDS)):
        assert limits.wait("a") == 0
        limits.charge("a", 100)
    assert limits.wait("a") == 0
    limits.charge("a", 250)
    assert limits.wait("a") == 3
    clock.now += 2.5
    assert limits.wait("a") == 0


def test_a_request_larger_than_a_burst_goes_through_and_is_waited_for() -> None:
    clock = Clock()
    limits = RateLimits(100, clock=clock)
    assert limits.wait("a") == 0
    limits.charge("a", 10_000)
    assert limits.wait("a") == 90
    clock.now += 90
    assert limits.wait("a") == 0


def test_what_was_stored_already_does_not_count_so_a_batch_that_is_sent_in_halves_gets_through() -> None:
    """A client that splits a batch begins with its first half again whenever the second is refused."""
    clock = Clock()
    limits = RateLimits(10, clock=clock)
    limits.charge("a", 150)
    clock.now += limits.wait("a")
    limits.charge("a", 150)
    limits.refund("a", 150)
    assert limits.wait("a") == 0
    limits.charge("a", 150)
    assert limits.wait("a") == 15


def test_one_token_does_not_wait_for_another() -> None:
    limits = RateLimits(1, clock=Clock())
    limits.charge("a", 1000)
    assert limits.wait("a") > 0
    assert limits.wait("b") == 0


def test_without_a_rate_nobody_waits() -> None:
    limits = RateLimits(0)
    limits.charge("a", 10**9)
    assert limits.wait("a") == 0


@given(
    steps=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 5_000)), max_size=60),
    rate=st.integers(1, 1_000),
)
def test_never_more_than_the_rate_and_a_burst_and_one_request(
    steps: list[tuple[float, int]], rate: int
) -> None:
    clock = Clock()
    limits = RateLimits(rate, clock=clock)
    begin, sent, largest = clock.now, 0, 0
    for pause, readings in steps:
        clock.now += pause
        if limits.wait("a") == 0:
            limits.charge("a", readings)
            sent += readings
            largest = max(largest, readings)
        allowed = rate * (clock.now - begin + BURST_SECONDS) + largest
        assert sent <= allowed * (1 + 1e-9)
