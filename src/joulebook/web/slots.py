"""Slots for long work: a number of them for all users together, and fewer for one person."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Generator, Iterator
from itertools import islice

_ALL_USED = "others use all of them; try again soon"
_OWN_USED = "yours are running; try again when one of them is done"


class NoSlot(Exception):
    """All slots, or all slots of this person, are in use; the message names the case."""


class Slots:
    """Counts the slots in use, in total and for each person; usable from any thread."""

    def __init__(self, most: int, *, per_person: int) -> None:
        self._most, self._per_person = most, per_person
        self._held: Counter[int] = Counter()
        self._lock = threading.Lock()

    def take(self, person: int) -> None:
        """Take a slot for a person. Raises `NoSlot`; it never waits."""
        with self._lock:
            if self._held[person] >= self._per_person:
                raise NoSlot(_OWN_USED)
            if self._held.total() >= self._most:
                raise NoSlot(_ALL_USED)
            self._held[person] += 1

    def release(self, person: int) -> None:
        """Release a slot taken for a person."""
        with self._lock:
            self._held[person] -= 1
            if not self._held[person]:
                del self._held[person]


class SlotPieces:
    """The pieces of a streamed answer; they hold a person's slot, taken before, until they are closed.

    The first `ahead` pieces are read at once, so an unavailable database can still be answered 503.
    """

    def __init__(
        self, pieces: Generator[bytes, None, None], slots: Slots, person: int, *, ahead: int = 1
    ) -> None:
        self._pieces = pieces
        self._slots = slots
        self._person = person
        self._has_slot = True
        try:
            self._first = list(islice(pieces, ahead))
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        while self._first:
            yield self._first.pop(0)
        yield from self._pieces

    def close(self) -> None:
        """End the query, and release the slot."""
        if self._has_slot:
            self._has_slot = False
            try:
                self._pieces.close()
            finally:
                self._slots.release(self._person)

    def __del__(self) -> None:
        """Release the slot of an answer without `close`, as after a failing middleware."""
        self.close()
