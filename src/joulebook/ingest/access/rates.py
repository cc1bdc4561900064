"""How many readings a second may a token send? A burst is allowed, and so is one large request."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

BURST_SECONDS = 10.0
"""A token that was silent may send as many readings at once as it may in this time."""


class RateLimits:
    """Counts the readings of each token against one rate, for this process.

    Kept is the instant at which a token's allowance would be whole again: readings push it on, and
    when it is more than a burst ahead, the token has to wait. So even a request that is larger than a
    burst goes through, and is waited for afterwards.
    """

    def __init__(self, readings_a_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow each token this rate; 0 is no limit."""
        self._rate = readings_a_second
        self._clock = clock
        self._whole_at: dict[str, float] = {}

    def wait(self, token: str) -> int:
        """Return the whole seconds after which the token may send again; 0 stands for now."""
        if not self._rate:
            return 0
        return max(0, math.ceil(self._whole_at.get(token, 0.0) - self._clock() - BURST_SECONDS))

    def charge(self, token: str, readings: int) -> None:
        """Count readings that the token sends now."""
        if self._rate:
            begin = max(self._clock(), self._whole_at.get(token, 0.0))
            self._whole_at[token] = begin + readings / self._rate

    def refund(self, token: str, readings: int) -> None:
        """Take back the charge of readings that were stored already.

        Else a client that sends the two halves of a batch, and both again when the second is refused,
        would spend its allowance on the first half for ever.
        """
        if self._rate and readings:
            self._whole_at[token] = self._whole_at.get(token, 0.0) - readings / self._rate
