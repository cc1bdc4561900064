"""Bounds the connections of a process: in total, from one address, and before their first request.

While there are free slots, one address may have any number of connections, because all devices behind a
gateway or in a household share one address. Once all slots are taken, the address with the most connections
loses one to an address with fewer, so one client cannot lock out others by holding connections. Connections
that have not yet sent the whole head of a request are called waiting; they have a tighter bound.

The clock of the guard is coarse: it moves once a second, in `tick`, and only while the process runs. So a
request reads the time by a single attribute access, and after a pause of the whole process its clients do not
count as late.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from itertools import chain
from typing import Protocol

from joulebook.serving.addresses import is_trusted, share_key

_WAITING_SHARE = 4
"""One in 4 connections may be waiting."""
_REFUSED_SHARE = 8
"""For each 8 connections one more may stay open for a moment, to be answered that there are too many."""
_FEWEST_REFUSED = 16
_LONGEST_TICK = 2.0
"""The most seconds by which one tick moves the clock."""
_HEAD_GRACE = 2.0
"""Seconds before a waiting connection may be aborted.

With thousands of new connections at once, seconds may pass between accepting one and reading its head.
"""


@dataclass(frozen=True)
class Deadlines:
    """How long the process waits for a client, in seconds."""

    head: float = 10
    """From the start of the connection, or the first byte of a further request, to the end of the head."""
    body: float = 30
    """In each span of this length `body_bytes` of a body must arrive: a slow modem can do so."""
    body_bytes: int = 1024
    idle: float = 75
    """Without a request on an open connection. Longer than the pause of most devices between packets."""
    answer: float = 75
    """Without the client reading any of its answer."""
    discard: float = 10
    """For the rest of a refused body, so that its sender can read the reason."""
    refused: float = 5
    """For the request of a client without a slot."""


class Guarded(Protocol):
    """A connection, as the guard sees it."""

    def is_answering(self) -> bool:
        """Return whether the process is answering a request on it."""

    def abort(self) -> None:
        """Close at once, without finishing requests in flight."""


class Guard:
    """Counts connections, and decides whether each new one has a slot and which one loses its slot."""

    def __init__(
        self,
        most: int,
        *,
        per_address: int = 0,
        trusted: Iterable[IPv4Network | IPv6Network] = (),
        deadlines: Deadlines | None = None,
    ) -> None:
        """Allow `most` connections in total, and `per_address` (0: any number) from one address.

        Connections from `trusted` proxies serve many clients: they count only in the total.
        """
        self.deadlines = deadlines or Deadlines()
        self.now = 1.0
        self._most = most
        self._most_waiting = max(1, most // _WAITING_SHARE)
        self._most_refused = max(_FEWEST_REFUSED, most // _REFUSED_SHARE)
        self._per_address = per_address
        self._trusted = tuple(trusted)
        self._keys: dict[Guarded, str | None] = {}
        self._shares = _Shares()
        self._waiting: dict[Guarded, float] = {}
        self._waiting_shares = _Shares()
        self._refused: set[Guarded] = set()
        self._ticked_at: float | None = None

    def tick(self, at: float) -> None:
        """Move the clock by the seconds from the last call to `at` (of any monotonic clock), 2 at most."""
        if self._ticked_at is not None:
            self.now += min(_LONGEST_TICK, at - self._ticked_at)
        self._ticked_at = at

    def admit(self, connection: Guarded, peer: str) -> str | None:
        """Give a new connection a slot and return None, or return the reason for refusing it.

        If all slots are taken, another connection may be aborted for it.
        """
        key = None if self._trusted and is_trusted(peer, self._trusted) else share_key(peer)
        if len(self._waiting) >= self._most_waiting:
            self._abort_waiting(self._waiting_shares.largest())
        if self._per_address and self._shares.size(key) >= self._per_address:
            if not self._abort_waiting(key):
                return f"{self._per_address} connections of your address are open already"
        elif len(self._keys) >= self._most and not self._make_room(key):
            return f"{self._most} connections are open already"
        self._keys[connection] = key
        self._waiting[connection] = self.now
        self._shares.add(key, connection)
        self._waiting_shares.add(key, connection)
        return None

    def note_head(self, connection: Guarded) -> None:
        """Note that a connection has sent the whole head of a request: it is no longer waiting."""
        if self._waiting.pop(connection, None) is not None:
            self._waiting_shares.remove(self._keys[connection], connection)

    def begin_refusal(self, connection: Guarded) -> bool:
        """Count a connection to be refused with an answer; return False if there are too many for that."""
        if len(self._refused) >= self._most_refused:
            return False
        self._refused.add(connection)
        return True

    def forget(self, connection: Guarded) -> None:
        """Stop counting a connection, admitted or refused."""
        self.note_head(connection)
        self._refused.discard(connection)
        if connection in self._keys:
            self._shares.remove(self._keys.pop(connection), connection)

    def _make_room(self, key: str | None) -> bool:
        """Free a slot for a connection of an address; return whether there was one to free.

        It is a slot of the address with the most connections. If that is this address itself, only a waiting
        connection of its own loses its slot.
        """
        largest = self._shares.largest()
        if largest is None:
            return False
        if key is not None and self._shares.size(key) + 1 >= self._shares.size(largest):
            return self._abort_waiting(key)
        # Its oldest waiting connection, else its oldest idle one, else its newest.
        members = self._shares.members(largest)
        idle = (each for each in members if not each.is_answering())
        newest = next(reversed(members))
        self._abort(next(chain(self._waiting_shares.members(largest), idle), newest))
        return True

    def _abort_waiting(self, key: str | None) -> bool:
        """Abort an address's oldest waiting connection if it had time for a head; return whether one was."""
        for connection in self._waiting_shares.members(key):
            if self.now - self._waiting[connection] < _HEAD_GRACE:
                return False
            self._abort(connection)
            return True
        return False

    def _abort(self, connection: Guarded) -> None:
        self.forget(connection)
        connection.abort()


class _Shares:
    """Connections by address, oldest first, and the address with the most.

    Neither needs a search, because an attacker may open many thousands of connections a second.
    """

    def __init__(self) -> None:
        self._members: dict[str, dict[Guarded, None]] = {}
        self._by_size: list[dict[str, None]] = [{}]

    def add(self, key: str | None, connection: Guarded) -> None:
        """Add a connection of an address; do nothing for None, a trusted proxy."""
        if key is None:
            return
        members = self._members.setdefault(key, {})
        self._move(key, len(members), len(members) + 1)
        members[connection] = None

    def remove(self, key: str | None, connection: Guarded) -> None:
        """Remove an added connection; do nothing for None."""
        if key is None:
            return
        members = self._members[key]
        self._move(key, len(members), len(members) - 1)
        del members[connection]
        if not members:
            del self._members[key]

    def members(self, key: str | None) -> dict[Guarded, None]:
        """Return the connections of an address, the oldest first."""
        return self._members.get(key, {}) if key is not None else {}

    def size(self, key: str | None) -> int:
        """Return the number of connections of an address."""
        return len(self.members(key))

    def largest(self) -> str | None:
        """Return an address with the most connections; None if there are none."""
        return next(iter(self._by_size[-1]), None)

    def _move(self, key: str, size: int, to: int) -> None:
        self._by_size[size].pop(key, None)
        if to == len(self._by_size):
            self._by_size.append({})
        if to:
            self._by_size[to][key] = None
        while len(self._by_size) > 1 and not self._by_size[-1]:
            self._by_size.pop()
