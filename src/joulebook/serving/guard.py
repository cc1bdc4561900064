"""Which connections a process keeps: how many in all, how many of one address, how many without a request.

While there is room, one address may have as many connections as it likes: a gateway or a household
calls from one. When the last place is taken, the address with the most connections gives one up for an
address that has fewer, so nobody can lock others out by holding connections. Connections that have sent
no whole head of a request yet are bounded more tightly.

The clock here is coarse: it moves once a second, in `tick`, and only while the process runs. Requests
then note times at the cost of reading an attribute, and a process that was stopped for a minute does
not find all of its clients late.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

from joulebook.serving.addresses import is_trusted, share_key

_WAITING_SHARE = 4
"""One in so many connections may be without a whole head."""
_REFUSED_SHARE = 8
"""For every so many connections one more is kept for a moment, to be told that there are too many."""
_FEWEST_REFUSED = 16
_LONGEST_TICK = 2.0
_TIME_TO_ASK = 2.0
"""A connection may be accepted this many seconds before its head is read, when thousands come at once."""


@dataclass(frozen=True)
class Deadlines:
    """How long a client may keep the process waiting, in seconds."""

    head: float = 10
    """From the connection, or from a further request's first byte, to the end of the request's head."""
    body: float = 30
    """In each such time, `body_bytes` of a body must come: a 4 GB file may, and so may a slow modem."""
    body_bytes: int = 1024
    idle: float = 75
    """Without a request on a connection that is kept. Longer than most devices pause between packets."""
    answer: float = 75
    """In which a client takes nothing of an answer that waits for it."""
    discard: float = 10
    """For the rest of a body that was refused, so that its sender can read why."""
    refused: float = 5
    """For the request of a client that is one too many."""


class Guarded(Protocol):
    """A connection, as the guard sees it."""

    def is_answering(self) -> bool:
        """Return whether a request is being answered."""

    def give_up(self) -> None:
        """Close at once, whatever is in flight."""


class Guard:
    """Counts connections, and decides for each new one whether it is kept and which one ends for it."""

    def __init__(
        self,
        most: int,
        *,
        per_address: int = 0,
        trusted: Iterable[IPv4Network | IPv6Network] = (),
        deadlines: Deadlines | None = None,
    ) -> None:
        """Keep `most` connections in all, and `per_address` (0: any number) of one address.

        Connections from `trusted` proxies carry many clients and belong to no address.
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
        self._looked_at: float | None = None

    def tick(self, at: float) -> None:
        """Move the clock by the time since the last call, which was at a time before `at`."""
        if self._looked_at is not None:
            self.now += min(_LONGEST_TICK, at - self._looked_at)
        self._looked_at = at

    def admit(self, connection: Guarded, peer: str) -> str | None:
        """Count a new connection; return None, or the reason why it is not kept.

        Another one may be given up for it.
        """
        key = None if self._trusted and is_trusted(peer, self._trusted) else share_key(peer)
        if len(self._waiting) >= self._most_waiting:
            self._give_up_waiting(self._waiting_shares.largest())
        if self._per_address and self._shares.size(key) >= self._per_address:
            if not self._give_up_waiting(key):
                return f"{self._per_address} connections of your address are open already"
        elif len(self._keys) >= self._most and not self._make_room(key):
            return f"{self._most} connections are open already"
        self._keys[connection] = key
        self._waiting[connection] = self.now
        self._shares.add(key, connection)
        self._waiting_shares.add(key, connection)
        return None

    def note_head(self, connection: Guarded) -> None:
        """Note that a connection has sent the whole head of a request."""
        if self._waiting.pop(connection, None) is not None:
            self._waiting_shares.remove(self._keys[connection], connection)

    def may_refuse(self, connection: Guarded) -> bool:
        """Count a connection that is to be told that it is one too many; False where too many are told."""
        if len(self._refused) >= self._most_refused:
            return False
        self._refused.add(connection)
        return True

    def forget(self, connection: Guarded) -> None:
        """Count a connection no longer."""
        self.note_head(connection)
        self._refused.discard(connection)
        if connection in self._keys:
            self._shares.remove(self._keys.pop(connection), connection)

    def _make_room(self, key: str | None) -> bool:
        """Give up a connection for one of `key`: of the address with the most, or an own one that is late."""
        largest = self._shares.largest()
        if largest is None:
            return False
        if key is not None and self._shares.size(key) + 1 >= self._shares.size(largest):
            return self._give_up_waiting(key)
        self._give_up(self._least_useful(largest))
        return True

    def _least_useful(self, key: str) -> Guarded:
        """Return a connection without a head, else one without a request, else the youngest."""
        for connection in self._waiting_shares.members(key):
            return connection
        members = self._shares.members(key)
        return next((each for each in members if not each.is_answering()), next(reversed(members)))

    def _give_up_waiting(self, key: str | None) -> bool:
        """Give up the oldest connection of an address without a head, if it had time to send one."""
        for connection in self._waiting_shares.members(key):
            if self.now - self._waiting[connection] < _TIME_TO_ASK:
                return False
            self._give_up(connection)
            return True
        return False

    def _give_up(self, connection: Guarded) -> None:
        self.forget(connection)
        connection.give_up()


class _Shares:
    """Connections by address in the order in which they came, and the address that has the most.

    Both are known without a search: an attacker makes many thousands of connections a second.
    """

    def __init__(self) -> None:
        self._members: dict[str, dict[Guarded, None]] = {}
        self._by_size: list[dict[str, None]] = [{}]

    def add(self, key: str | None, connection: Guarded) -> None:
        """Add a connection; one of no address is not counted."""
        if key is None:
            return
        members = self._members.setdefault(key, {})
        self._move(key, len(members), len(members) + 1)
        members[connection] = None

    def remove(self, key: str | None, connection: Guarded) -> None:
        """Remove a connection that was added."""
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
        """Return how many connections an address has."""
        return len(self.members(key))

    def largest(self) -> str | None:
        """Return an address of those that have the most connections; None where none has any."""
        return next(iter(self._by_size[-1]), None)

    def _move(self, key: str, size: int, to: int) -> None:
        self._by_size[size].pop(key, None)
        if to == len(self._by_size):
            self._by_size.append({})
        if to:
            self._by_size[to][key] = None
        while len(self._by_size) > 1 and not self._by_size[-1]:
            self._by_size.pop()
