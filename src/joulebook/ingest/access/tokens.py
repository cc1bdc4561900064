"""For which devices may a token write? Asked of the accounts database, remembered for seconds.

A question costs mostly the way to the thread that asks it. So it takes along those tokens whose answers
will soon be too old, as far as they were used: many devices are asked for together.

Tokens are looked up in the tables that the web's `devices` app keeps (and its migrations define):
`devices_devicetoken`, `devices_gatewaytoken` with its devices, `devices_device`, `auth_user`. They are
only read here; when a token was last used is written by `token_use`. A gateway's devices must still
belong to the gateway's owner: one that was handed over drops out by itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg

from joulebook.config import sqlite_path
from joulebook.ingest.connection import PATIENCE_SECONDS, PatientConnection
from joulebook.telemetry.connection import Connection, translated_errors
from joulebook.telemetry.errors import DatabaseUnavailable, TelemetryError

_FIND = """
SELECT token.token_hash, token.prefix, device.device_id, 0 AS is_gateway
FROM devices_devicetoken AS token
JOIN devices_device AS device ON device.id = token.device_id
JOIN auth_user ON auth_user.id = device.owner_id
WHERE token.token_hash = {} AND token.revoked_at IS NULL AND auth_user.is_active
UNION ALL
SELECT token.token_hash, token.prefix, device.device_id, 1
FROM devices_gatewaytoken AS token
JOIN auth_user ON auth_user.id = token.owner_id
LEFT JOIN devices_gatewaytoken_devices AS named ON named.gatewaytoken_id = token.id
LEFT JOIN devices_device AS device ON device.id = named.device_id AND device.owner_id = token.owner_id
WHERE token.token_hash = {} AND token.revoked_at IS NULL AND auth_user.is_active
"""
_FIND_ONE, _FIND_ALL = _FIND.format("?1", "?1"), _FIND.format(*["ANY(%(hashes)s)"] * 2)

REMEMBERED_SECONDS = 5.0
"""How long an answer is used again: a revoked token is refused after this time at the latest."""

_MOST_REMEMBERED = 200_000
_AHEAD_SECONDS = 1.0
_MOST_TOGETHER = 100


_Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True)
class Grant:
    """What a token in force allows: the devices that it may write for.

    `token` is the token's public prefix. `device_id` is the device of packets that name none: the
    token's own, or None for a gateway's token.
    """

    token: str
    devices: frozenset[str]
    device_id: str | None


class TokenDirectory:
    """Finds the grant of a token, with one query for many tokens that are used, each `REMEMBERED_SECONDS`."""

    def __init__(
        self,
        database_url: str,
        *,
        patience: float = PATIENCE_SECONDS,
        used: Callable[[bytes], None] | None = None,
    ) -> None:
        """Prepare to read tokens from `sqlite:///path` or `postgresql://…`.

        `patience` is how many seconds a question may take. `used` is told the SHA-256 of every token that
        was asked for and is in force.
        """
        self._used = used or _unnoticed
        self._find = _finder(database_url)
        self._patience = patience
        self._remembered: OrderedDict[bytes, tuple[Grant | None, float]] = OrderedDict()
        self._used_again: set[bytes] = set()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokens")

    def remembered(self, token: bytes) -> Grant | None:
        """Return the token's grant if it was found a moment ago, without waiting for anything."""
        digest = hashlib.sha256(token).digest()
        found = self._remembered.get(digest)
        if found is None or found[0] is None or found[1] <= time.monotonic():
            return None
        self._used_again.add(digest)
        self._used(digest)
        return found[0]

    async def grant_of(self, token: bytes) -> Grant | None:
        """Return what the token allows, or None for one that is not in force.

        Raises `DatabaseUnavailable` where the accounts database cannot be read.
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
        asked = [digest, *self._due(besides=digest)]
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._patience):
                rows = await loop.run_in_executor(self._thread, self._find, [one.hex() for one in asked])
        except TimeoutError as exc:
            self._find.cut()
            message = f"the accounts database has not answered for {self._patience:g} s"
            raise DatabaseUnavailable(message) from exc
        until = time.monotonic() + REMEMBERED_SECONDS
        grants = _grants(rows)
        for one in asked:
            self._remembered[one] = (grants.get(one.hex()), until)
            self._remembered.move_to_end(one)
        while len(self._remembered) > _MOST_REMEMBERED:
            self._used_again.discard(self._remembered.popitem(last=False)[0])
        return grants.get(digest.hex())

    def _due(self, *, besides: bytes) -> list[bytes]:
        """Return tokens whose answers will soon be too old, and that were used since; forget the others."""
        now, due = time.monotonic(), []
        self._used_again.discard(besides)
        for _ in range(min(_MOST_TOGETHER, len(self._remembered))):
            digest, (_, until) = next(iter(self._remembered.items()))
            if until > now + _AHEAD_SECONDS:
                break
            if digest in self._used_again:
                # Until the answer comes, the one before holds as long as it did.
                self._used_again.discard(digest)
                due.append(digest)
            elif until <= now:
                del self._remembered[digest]
                continue
            self._remembered.move_to_end(digest)
        return due

    def close(self) -> None:
        """Let go of the thread and its connection."""
        self._find.cut()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._find.close()


def _unnoticed(_: bytes) -> None:
    """Do nothing where nobody wants to know of a token's use."""


def _grants(rows: _Rows) -> dict[str, Grant]:
    """Make grants by hash of the rows (hash, prefix, device id or NULL, is a gateway's)."""
    devices: defaultdict[str, set[str]] = defaultdict(set)
    for token_hash, _, device_id, _ in rows:
        if device_id is not None:
            devices[token_hash].add(str(device_id))
    return {
        token_hash: Grant(
            token=str(prefix),
            devices=frozenset(devices[token_hash]),
            device_id=None if is_gateway else str(device_id),
        )
        for token_hash, prefix, device_id, is_gateway in rows
    }


class _Finder(Protocol):
    """Finds the rows of tokens' hashes, in one thread only; `cut` frees that thread from a silent server."""

    def __call__(self, token_hashes: Sequence[str]) -> _Rows: ...

    def cut(self) -> None: ...

    def close(self) -> None: ...


def _finder(database_url: str) -> _Finder:
    file = sqlite_path(database_url)
    return _PostgresqlFinder(database_url) if file is None else _SqliteFinder(file)


class _SqliteFinder:
    def __init__(self, file: Path) -> None:
        self._uri = f"{file.as_uri()}?mode=ro"
        self._local = threading.local()

    def __call__(self, token_hashes: Sequence[str]) -> _Rows:
        try:
            if getattr(self._local, "conn", None) is None:
                self._local.conn = sqlite3.connect(self._uri, uri=True, timeout=5)
            execute = self._local.conn.execute
            rows = [row for one in token_hashes for row in execute(_FIND_ONE, (one,))]
        except sqlite3.Error as exc:
            self._local.conn = None
            raise DatabaseUnavailable(f"the accounts database cannot be read: {exc}") from exc
        return rows

    def cut(self) -> None:
        """Do nothing: a file answers, or is locked for a bounded time."""

    def close(self) -> None:
        """Do nothing: the connection ends with its thread."""


class _PostgresqlFinder:
    def __init__(self, url: str) -> None:
        self._connection = PatientConnection(url)

    def __call__(self, token_hashes: Sequence[str]) -> _Rows:
        def work(conn: Connection) -> _Rows:
            with translated_errors():
                return conn.execute(_FIND_ALL, {"hashes": list(token_hashes)}).fetchall()

        try:
            return self._connection.run(work)
        except (psycopg.Error, TelemetryError) as exc:
            raise DatabaseUnavailable(f"the accounts database cannot be read: {exc}") from exc

    def cut(self) -> None:
        self._connection.cut()

    def close(self) -> None:
        self._connection.close()
