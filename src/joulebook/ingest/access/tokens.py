"""The rights of each token: its devices, read from the accounts database, and its readings a second.

A token's devices are remembered for seconds. A query costs mostly the way to its thread and back. So each
query also renews the answers about to expire, of tokens used since: one query then serves many devices.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from joulebook.ingest.access.accounts import TokenRows, open_accounts
from joulebook.ingest.connection import TIMEOUT_SECONDS
from joulebook.ingest.times import DeviceClock
from joulebook.telemetry.errors import DatabaseUnavailable

REMEMBERED_SECONDS = 5.0
"""How long an answer is used again: a revoked token is refused after this time at the latest."""

BURST_SECONDS = 10.0
"""A token silent for this time may send the readings of this time at once."""

_MOST_REMEMBERED = 200_000
_AHEAD_SECONDS = 1.0
_MOST_TOGETHER = 100


class FieldMap(NamedTuple):
    """Where packets have their time, device and readings: names of fields, joined by dots.

    None says nothing. An empty text says that no field has it: the time is that of arrival, the device the
    token's own, and all fields of the packet are readings.
    """

    time_field: str | None = None
    device_field: str | None = None
    values: str | None = None

    def over(self, other: FieldMap) -> FieldMap:
        """Return this map, with what it does not say from `other`."""
        if self == NO_FIELDS:
            return other
        return FieldMap(*(there if own is None else own for own, there in zip(self, other, strict=True)))


NO_FIELDS = FieldMap()


@dataclass(frozen=True)
class Grant:
    """The devices that a valid token may write for.

    `token` is the token's public prefix. `device_id` is the device of packets naming none: the token's own,
    or None for a gateway's token. `clocks` are the clocks of the devices by id, `fields` the token's map of
    its packets, and `line_unit` where its lines name their unit; empty: by the installation's rule.
    """

    token: str
    devices: frozenset[str]
    device_id: str | None
    clocks: Mapping[str, DeviceClock] = field(default_factory=dict)
    fields: FieldMap = NO_FIELDS
    line_unit: str = ""


class TokenDirectory:
    """Finds the grant of a token; one query renews many grants, each for `REMEMBERED_SECONDS`."""

    def __init__(
        self,
        database_url: str,
        *,
        timeout: float = TIMEOUT_SECONDS,
        used: Callable[[bytes], None] | None = None,
    ) -> None:
        """Prepare to read tokens from `sqlite:///path` or `postgresql://…`.

        A query may take `timeout` seconds. `used` is called with the SHA-256 of a valid token at each use.
        """
        self._used = used or (lambda _: None)
        self._accounts = open_accounts(database_url)
        self._timeout = timeout
        self._remembered: OrderedDict[bytes, tuple[Grant | None, float]] = OrderedDict()
        self._used_again: set[bytes] = set()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokens")

    def remembered(self, token: bytes) -> Grant | None:
        """Return the token's grant if it was found a moment ago, at once."""
        digest = hashlib.sha256(token).digest()
        found = self._remembered.get(digest)
        if found is None or found[0] is None or found[1] <= time.monotonic():
            return None
        self._used_again.add(digest)
        self._used(digest)
        return found[0]

    async def grant_of(self, token: bytes) -> Grant | None:
        """Return the token's grant, or None if the token is not valid.

        Raises `DatabaseUnavailable` if the accounts database cannot be read.
        """
        digest = hashlib.sha256(token).digest()
        grant = await self._find_grant(digest)
        if grant is not None:
            self._used(digest)
        return grant

    async def _find_grant(self, digest: bytes) -> Grant | None:
        found = self._remembered.get(digest)
        if found is not None and found[1] > time.monotonic():
            return found[0]
        digests = [digest, *self._due(besides=digest)]
        hashes = [one.hex() for one in digests]
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                rows = await loop.run_in_executor(self._thread, self._accounts.find_tokens, hashes)
        except TimeoutError as exc:
            self._accounts.cut()
            message = f"the accounts database has not answered for {self._timeout:g} s"
            raise DatabaseUnavailable(message) from exc
        until = time.monotonic() + REMEMBERED_SECONDS
        grants = _grants(rows)
        for one in digests:
            self._remembered[one] = (grants.get(one.hex()), until)
            self._remembered.move_to_end(one)
        while len(self._remembered) > _MOST_REMEMBERED:
            self._used_again.discard(self._remembered.popitem(last=False)[0])
        return grants.get(digest.hex())

    def _due(self, *, besides: bytes) -> list[bytes]:
        """Return the tokens used since their answer, if that expires soon; forget expired ones not used."""
        now, due = time.monotonic(), []
        self._used_again.discard(besides)
        for _ in range(min(_MOST_TOGETHER, len(self._remembered))):
            digest, (_, until) = next(iter(self._remembered.items()))
            if until > now + _AHEAD_SECONDS:
                break
            if digest in self._used_again:
                # Until the new answer arrives, the old one holds for its own time.
                self._used_again.discard(digest)
                due.append(digest)
            elif until <= now:
                del self._remembered[digest]
                continue
            self._remembered.move_to_end(digest)
        return due

    def close(self) -> None:
        """End the thread and close its connection."""
        self._accounts.cut()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._accounts.close()


def _grants(rows: TokenRows) -> dict[str, Grant]:
    """Return the grants by the hash of their token."""
    clocks: defaultdict[str, dict[str, DeviceClock]] = defaultdict(dict)
    for row in rows:
        if row.device_id is not None:
            clocks[row.token_hash][row.device_id] = DeviceClock(row.time_without_offset, row.time_zone)
    return {
        row.token_hash: Grant(
            token=row.prefix,
            devices=frozenset(clocks[row.token_hash]),
            device_id=None if row.is_gateway else row.device_id,
            clocks=clocks[row.token_hash],
            fields=FieldMap(row.time_field or None, row.device_field or None, row.values_field or None),
            line_unit=row.line_unit,
        )
        for row in rows
    }


class RateLimits:
    """Counts the readings of each token against one rate, for this process.

    A burst is allowed, and so is one large request.

    For each token it holds the instant at which its allowance is whole again. Readings move that instant
    ahead; if it is more than a burst ahead, the token has to wait. So a request larger than a burst is
    accepted, and the wait comes afterwards.
    """

    def __init__(self, readings_a_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow each token this rate; 0 means no limit."""
        self._rate = readings_a_second
        self._clock = clock
        self._whole_at: dict[str, float] = {}

    def wait(self, token: str) -> int:
        """Return the whole seconds until the token may send again; 0 means now."""
        if not self._rate:
            return 0
        return max(0, math.ceil(self._whole_at.get(token, 0.0) - self._clock() - BURST_SECONDS))

    def charge(self, token: str, readings: int) -> None:
        """Count readings that the token sends now."""
        if self._rate:
            begin = max(self._clock(), self._whole_at.get(token, 0.0))
            self._whole_at[token] = begin + readings / self._rate

    def refund(self, token: str, readings: int) -> None:
        """Take back the charge for readings that were stored before.

        Otherwise a client repeating both halves of a batch because the second was refused would spend its
        allowance on the first half each time.
        """
        if self._rate and readings:
            self._whole_at[token] = self._whole_at.get(token, 0.0) - readings / self._rate
