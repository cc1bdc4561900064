"""What a device has yet to send: bounded, in order, and a batch that is tried again is the same batch."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass
class Outbox:
    """The packets of one device that the server has not answered for yet.

    At most `room` packets wait; beyond that the oldest is given up, since a live reading is worth more
    than one of hours ago. `largest` is the most packets of a request, and shrinks when the server says
    that a request is too large.
    """

    device_id: str
    token: str = field(repr=False)
    room: int
    largest: int
    waiting: deque[bytes] = field(default_factory=deque)
    sending: list[bytes] = field(default_factory=list)
    given_up: int = 0
    failures: int = 0
    """Failed attempts in a row."""

    def add(self, packet: bytes) -> None:
        """Let one more packet wait."""
        if len(self) >= self.room and self.waiting:
            self.waiting.popleft()
            self.given_up += 1
        self.waiting.append(packet)

    def batch(self) -> list[bytes]:
        """Return what to send now: the batch that has not been answered yet, or a new one."""
        if not self.sending:
            self.sending = [self.waiting.popleft() for _ in range(min(self.largest, len(self.waiting)))]
        return self.sending

    def settle(self) -> None:
        """Forget the batch: the server has it, or will never take it."""
        self.sending = []
        self.failures = 0

    def split(self) -> bool:
        """Send half as much at a time from now on; False for a single packet, which cannot be split."""
        if len(self.sending) < 2:
            return False
        self.largest = len(self.sending) // 2
        self.waiting.extendleft(reversed(self.sending[self.largest :]))
        self.sending = self.sending[: self.largest]
        return True

    def __len__(self) -> int:
        return len(self.waiting) + len(self.sending)
