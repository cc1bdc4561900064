"""Limits the readings that a token may send a second; a burst is allowed, and so is one large request."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

BURST_SECONDS = 10.0
"""A token silent for this time may send the readings of this time at once."""


class RateLimits:
    """Counts the readings of each token against one rate, for this process.

    For each token it holds the instant at which its allowance is whole again. Readings move that instant
    ahead; if it is more than a burst ahead, the token has to wait. So a request larger than a burst is
    accepted, and the wait comes afterwards.
    """

    def __init__(self, readings_a_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow each token this rate; 0 means no limit."""
        self._rate = readings_a_second
        self._clock = clock
        self._whole_at: dict[str, float] = {}

    def wait(self, token: str) -> int:
        """Return the whole seconds until the token may send again; 0 means now."""
        if not self._rate:
            return 0
        return max(0, math.ceil(self._whole_at.get(token, 0.0) - self._clock() - BURST_SECONDS))

    def charge(self, token: str, readings: int) -> None:
        """Count readings that the token sends now."""
        if self._rate:
            begin = max(self._clock(), self._whole_at.get(token, 0.0))
            self._whole_at[token] = begin + readings / self._rate

    def refund(self, token: str, readings: int) -> None:
        """Take back the charge for readings that were stored before.

        Otherwise a client repeating both halves of a batch because the second was refused would spend its
        allowance on the first half each time.
        """
        if self._rate and readings:
            self._whole_at[token] = self._whole_at.get(token, 0.0) - readings / self._rate
