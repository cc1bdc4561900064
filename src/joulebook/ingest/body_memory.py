"""How much memory the bodies of all requests may take together, however many and slow they are.

Small ones are left out: each fits into what a connection needs anyway. Where there is no room for a body,
others give way to it: bodies of a sender that holds more than this one's sender would, and bodies that
come more slowly. Their senders are told to come again. A sender is a token: one that sends as much as it
can takes no room from those that send little.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from joulebook.telemetry.errors import TelemetryError

SMALL_BODY = 64 * 1024


class NoRoom(TelemetryError):
    """As many bytes of bodies are held as may be; the client must keep its data and try later."""


class Held:
    """The bytes of one request's body; given back by the end of `BodyMemory.hold`."""

    def __init__(self, memory: BodyMemory, sender: Hashable | None) -> None:
        self._memory = memory
        self._since = time.monotonic()
        self._waiting: asyncio.Timeout | None = None
        self.sender = self if sender is None else sender
        self.bytes = 0

    def pace(self, size: int | None = None) -> float:
        """Return the bytes a second until now, where `size` have come; default: what is held."""
        return (self.bytes if size is None else size) / max(0.001, time.monotonic() - self._since)

    def grow_to(self, size: int) -> None:
        """Hold so many bytes in all. Raises `NoRoom`."""
        if size > SMALL_BODY:
            self._memory.grow(self, size)

    @contextmanager
    def may_give_way(self, waiting: asyncio.Timeout) -> Iterator[None]:
        """Let `waiting` end early while inside, if another body needs the room more."""
        self._waiting = waiting
        try:
            yield
        finally:
            self._waiting = None

    @property
    def can_give_way(self) -> bool:
        """Whether something is waited for that can end early."""
        return self._waiting is not None

    def give_way(self) -> None:
        """Give up what is waited for; `can_give_way` must be true."""
        assert self._waiting is not None  # noqa: S101 - as the docstring demands
        self._waiting.reschedule(0)
        self._waiting = None


class BodyMemory:
    """Counts the bytes of bodies that are held, from their first part until they are taken apart."""

    def __init__(self, most_bytes: int) -> None:
        """Allow `most_bytes` of all bodies together."""
        self._most_bytes = most_bytes
        self._all: dict[Held, None] = {}
        self._by_sender: Counter[Hashable] = Counter()
        self.bytes = 0

    @contextmanager
    def hold(self, sender: Hashable | None = None) -> Iterator[Held]:
        """Give what counts one request's body; without a `sender`, it is its own."""
        held = Held(self, sender)
        try:
            yield held
        finally:
            self._give_back(held)

    def grow(self, held: Held, size: int) -> None:
        """Count `size` bytes for one body. Raises `NoRoom` where too little gives way to it."""
        more = size - held.bytes
        if self.bytes + more > self._most_bytes and not self._makes_room(held, more):
            raise NoRoom(f"{self.bytes} bytes of requests are held already, all that may be")
        self._all[held] = None
        held.bytes += more
        self._by_sender[held.sender] += more
        self.bytes += more

    def _makes_room(self, held: Held, more: int) -> bool:
        """Send bodies away until there is room; return whether there is.

        Their bytes are counted no longer, and are given back a moment later.
        """
        own = self._by_sender[held.sender] + more
        pace = held.pace(held.bytes + more)
        # One that sends many bodies at once has fast ones among them, and must not live on slow lines' cost.
        is_modest = own == held.bytes + more or own <= self._most_bytes // 2
        others = [other for other in self._all if other is not held and other.can_give_way]
        others.sort(key=lambda other: (-self._by_sender[other.sender], other.pace()))
        for other in others:
            if self.bytes + more <= self._most_bytes:
                break
            holds_more = other.sender != held.sender and self._by_sender[other.sender] > own
            is_slower = other.pace() < pace and (is_modest or other.sender == held.sender)
            if holds_more or is_slower:
                other.give_way()
                self._give_back(other)
        return self.bytes + more <= self._most_bytes

    def _give_back(self, held: Held) -> None:
        self._all.pop(held, None)
        self.bytes -= held.bytes
        if held.bytes:
            self._by_sender[held.sender] -= held.bytes
            if not self._by_sender[held.sender]:
                del self._by_sender[held.sender]
        held.bytes = 0
