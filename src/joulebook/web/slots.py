"""Slots for long work: a number of them for all users together, and fewer for one person."""

from __future__ import annotations

import threading
from collections import Counter

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
