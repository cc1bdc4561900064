"""The packets of one simulated device on their way to ingest: in memory, bounded, in order."""

from __future__ import annotations

import threading
from collections import deque

from joulebook.client.buffer import WaitingPackets


class Outbox:
    """The unanswered packets of one device; a queue for `joulebook.client.sender.Sender`.

    Up to `room` packets wait. If there are more, the oldest is given up, because a live reading is worth more
    than one of hours ago; packets that are being sent stay. Safe for two threads: one adds, one sends.
    """

    def __init__(self, *, room: int) -> None:
        self.given_up = 0
        self._room = room
        self._packets: deque[bytes] = deque()
        self._sending = 0
        self._lock = threading.Lock()

    def add(self, packet: bytes) -> None:
        """Add a packet, and give up the oldest one if too many wait."""
        with self._lock:
            if self._sending < len(self._packets) >= self._room:
                del self._packets[self._sending]
                self.given_up += 1
            self._packets.append(packet)

    def oldest(self, *, most: int, most_bytes: int) -> WaitingPackets | None:
        """Return up to `most` packets with up to `most_bytes` in all, at least one; None if none waits.

        Until they are settled, further calls return the same packets, or fewer of them with a smaller `most`.
        """
        bodies: list[bytes] = []
        size = 0
        with self._lock:
            for packet in self._packets:
                size += len(packet)
                if len(bodies) == min(most, self._sending or most) or (bodies and size > most_bytes):
                    break
                bodies.append(packet)
            self._sending = len(bodies)
        return WaitingPackets(0, len(bodies) - 1, bodies) if bodies else None

    def settle(self, waiting: WaitingPackets) -> None:
        """Remove packets: ingest has stored them, or will never accept them."""
        with self._lock:
            for _ in waiting.bodies:
                self._packets.popleft()
            self._sending = 0

    @property
    def is_sending(self) -> bool:
        """Whether packets were sent and have no answer yet."""
        return self._sending > 0

    def __len__(self) -> int:
        return len(self._packets)
