"""A number of slots for what takes long, of which one person may have a few only."""

from __future__ import annotations

import threading
from collections import Counter

_EVERYBODY = "others use all of them; try again soon"
_YOURSELF = "yours are running; try again when one of them is done"


class NoSlot(Exception):
    """There is no slot now; the message says whose are in use."""


class Slots:
    """Counts what runs, in all and for each person; used from any thread."""

    def __init__(self, most: int, *, per_person: int) -> None:
        self._most, self._per_person = most, per_person
        self._held: Counter[int] = Counter()
        self._lock = threading.Lock()

    def take(self, person: int) -> None:
        """Take a slot for a person. Raises `NoSlot`; it never waits."""
        with self._lock:
            if self._held[person] >= self._per_person:
                raise NoSlot(_YOURSELF)
            if self._held.total() >= self._most:
                raise NoSlot(_EVERYBODY)
            self._held[person] += 1

    def give_back(self, person: int) -> None:
        """Give a slot back that was taken for a person."""
        with self._lock:
            self._held[person] -= 1
            if not self._held[person]:
                del self._held[person]
