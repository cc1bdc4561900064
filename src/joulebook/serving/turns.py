"""A number of turns that are shared out: nobody has all of them, however much they ask for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

Keys = tuple[str | None, ...]
"""Who asks, in the order of the shares: a person, an address. None is nobody in particular."""


class Turns:
    """Gives at most `most` turns at a time, and of each kind of key at most its share to the same key.

    Who has their share waits, and so do those for whom no turn is left; they wait in their order, but for
    those who have their share. A wait costs no thread.
    """

    def __init__(self, most: int, shares: Sequence[int]) -> None:
        """Allow `most` in all, and `shares[i]` to one value of a key's i-th part."""
        self._most = most
        self._shares = tuple(shares)
        self._taken = 0
        self._held = tuple(Counter[str]() for _ in shares)
        self._waiting: dict[asyncio.Future[None], Keys] = {}

    @asynccontextmanager
    async def turn(self, keys: Keys) -> AsyncIterator[None]:
        """Wait for a turn, and have it for the time of the context."""
        if self._may_have(keys):
            self._give(keys)
        else:
            await self._wait(keys)
        try:
            yield
        finally:
            self._take_back(keys)

    async def _wait(self, keys: Keys) -> None:
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[waiting] = keys
        try:
            await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():
                self._take_back(keys)  # it was given in the same moment
            raise
        finally:
            self._waiting.pop(waiting, None)

    def _may_have(self, keys: Keys) -> bool:
        if self._taken >= self._most:
            return False
        parts = zip(keys, self._held, self._shares, strict=True)
        return all(key is None or held[key] < share for key, held, share in parts)

    def _give(self, keys: Keys) -> None:
        self._taken += 1
        for key, held in zip(keys, self._held, strict=True):
            if key is not None:
                held[key] += 1

    def _take_back(self, keys: Keys) -> None:
        self._taken -= 1
        for key, held in zip(keys, self._held, strict=True):
            if key is not None:
                held[key] -= 1
                if not held[key]:
                    del held[key]
        for waiting, wanted in list(self._waiting.items()):
            if self._taken >= self._most:
                break
            if not waiting.done() and self._may_have(wanted):
                del self._waiting[waiting]
                self._give(wanted)
                waiting.set_result(None)
