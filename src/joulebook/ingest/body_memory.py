"""How much memory the bodies of all requests may take together, however many and slow they are.

Small ones are left out: each fits into what a connection needs anyway. When there is no room, the body that
comes most slowly stands back: its sender is told to come again, and others are not held up by it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from joulebook.telemetry.errors import TelemetryError

SMALL_BODY = 64 * 1024


class NoRoom(TelemetryError):
    """As many bytes of bodies are held as may be; the client must keep its data and try later."""


class Held:
    """The bytes of one request's body; given back by the end of `BodyMemory.hold`."""

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self._since = time.monotonic()
        self._waiting: asyncio.Timeout | None = None
        self.bytes = 0

    def pace(self, size: int | None = None) -> float:
        """Return the bytes a second until now, where `size` have come; default: what is held."""
        return (self.bytes if size is None else size) / max(0.001, time.monotonic() - self._since)

    def grow_to(self, size: int) -> None:
        """Hold so many bytes in all. Raises `NoRoom`."""
        if size > SMALL_BODY:
            self._memory.grow(self, size)

    @contextmanager
    def may_stand_back(self, waiting: asyncio.Timeout) -> Iterator[None]:
        """Let `waiting` end early while inside, if another body needs the room more."""
        self._waiting = waiting
        try:
            yield
        finally:
            self._waiting = None

    def stand_back(self) -> bool:
        """Give up waiting for the rest of the body; False where nothing is waited for."""
        if self._waiting is None:
            return False
        self._waiting.reschedule(0)
        self._waiting = None
        return True


class BodyMemory:
    """Counts the bytes of bodies that are held, from their first part until they are taken apart."""

    def __init__(self, most_bytes: int) -> None:
        """Allow `most_bytes` of all bodies together."""
        self._most_bytes = most_bytes
        self._all: dict[Held, None] = {}
        self.bytes = 0

    @contextmanager
    def hold(self) -> Iterator[Held]:
        """Give what counts one request's body."""
        held = Held(self)
        try:
            yield held
        finally:
            self._give_back(held)

    def grow(self, held: Held, size: int) -> None:
        """Count `size` bytes for one body. Raises `NoRoom` where no slower one stands back for it."""
        more = size - held.bytes
        if not self._makes_room(more, pace=held.pace(size)):
            raise NoRoom(f"{self.bytes} bytes of requests are held already, all that may be")
        self._all[held] = None
        held.bytes += more
        self.bytes += more

    def _makes_room(self, more: int, *, pace: float) -> bool:
        """Send away bodies that are still coming, and more slowly than at this pace, until there is room.

        Their bytes are counted no longer, and are given back a moment later.
        """
        if self.bytes + more <= self._most_bytes:
            return True
        slowest = sorted((other.pace(), id(other), other) for other in self._all)
        for slow, _, other in slowest:
            if slow >= pace or self.bytes + more <= self._most_bytes:
                break
            if other.stand_back():
                self._give_back(other)
        return self.bytes + more <= self._most_bytes

    def _give_back(self, held: Held) -> None:
        self._all.pop(held, None)
        self.bytes -= held.bytes
        held.bytes = 0
