"""Slots with shares: one person or address cannot take all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

Keys = tuple[str | None, ...]
"""A person and an address, in the order of the shares; None counts in no share."""


class SharedSlots:
    """Up to `most` slots at a time, and of each kind of key up to its share for the same key.

    Without a free slot, or with its share in use, a request waits. Waiting requests get free slots in their
    order, skipping those with their share in use. A wait costs no thread.
    """

    def __init__(self, most: int, shares: Sequence[int]) -> None:
        """Allow `most` in all, and `shares[i]` for one value of the i-th part of a key."""
        self._most = most
        self._shares = tuple(shares)
        self._taken = 0
        self._held = tuple(Counter[str]() for _ in shares)
        self._waiting: dict[asyncio.Future[None], Keys] = {}

    @asynccontextmanager
    async def slot(self, keys: Keys) -> AsyncIterator[None]:
        """Wait for a slot, and hold it for the time of the context."""
        if self._is_free(keys):
            self._take(keys)
        else:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting[waiting] = keys
            try:
                await waiting
            except asyncio.CancelledError:
                if waiting.done() and not waiting.cancelled():
                    self._release(keys)  # the slot was assigned at the same moment
                raise
            finally:
                self._waiting.pop(waiting, None)
        try:
            yield
        finally:
            self._release(keys)

    def _is_free(self, keys: Keys) -> bool:
        if self._taken >= self._most:
            return False
        parts = zip(keys, self._held, self._shares, strict=True)
        return all(key is None or held[key] < share for key, held, share in parts)

    def _take(self, keys: Keys) -> None:
        self._taken += 1
        for key, held in zip(keys, self._held, strict=True):
            if key is not None:
                held[key] += 1

    def _release(self, keys: Keys) -> None:
        self._taken -= 1
        for key, held in zip(keys, self._held, strict=True):
            if key is not None:
                held[key] -= 1
                if not held[key]:
                    del held[key]
        for waiting, wanted in list(self._waiting.items()):
            if self._taken >= self._most:
                break
            if not waiting.done() and self._is_free(wanted):
                del self._waiting[waiting]
                self._take(wanted)
                waiting.set_result(None)
