"""Which device does a token belong to? Asked of the accounts database, remembered for seconds.

Tokens are looked up in the tables that the web's `devices` app keeps (and its migrations define):
`devices_devicetoken`, `devices_device`, `auth_user`. Ingest only reads them.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg

from joulebook.config import sqlite_path
from joulebook.telemetry.errors import DatabaseAway

_FIND = """
SELECT devices_device.device_id
FROM devices_devicetoken
JOIN devices_device ON devices_device.id = devices_devicetoken.device_id
JOIN auth_user ON auth_user.id = devices_device.owner_id
WHERE devices_devicetoken.token_hash = {} AND devices_devicetoken.revoked_at IS NULL AND auth_user.is_active
"""

REMEMBERED_SECONDS = 5.0
"""How long an answer is used again: a revoked token is refused after this time at the latest."""

_MOST_REMEMBERED = 200_000


class TokenDirectory:
    """Finds the device of a token, with one query per token and `REMEMBERED_SECONDS`."""

    def __init__(self, database_url: str) -> None:
        """Prepare to read tokens from `sqlite:///path` or `postgresql://…`."""
        self._find = _finder(database_url)
        self._remembered: OrderedDict[bytes, tuple[str | None, float]] = OrderedDict()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokens")

    def remembered(self, token: bytes) -> str | None:
        """Return the token's device if it was found a moment ago, without waiting for anything."""
        found = self._remembered.get(hashlib.sha256(token).digest())
        return found[0] if found is not None and found[1] > time.monotonic() else None

    async def device_of(self, token: bytes) -> str | None:
        """Return the id of the device that may write with this token, or None.

        Raises `DatabaseAway` where the accounts database cannot be read.
        """
        digest = hashlib.sha256(token).digest()
        found = self._remembered.get(digest)
        if found is not None and found[1] > time.monotonic():
            return found[0]
        loop = asyncio.get_running_loop()
        device_id = await loop.run_in_executor(self._thread, self._find, digest.hex())
        self._remembered[digest] = (device_id, time.monotonic() + REMEMBERED_SECONDS)
        self._remembered.move_to_end(digest)
        while len(self._remembered) > _MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        return device_id

    def close(self) -> None:
        """Let go of the thread and its connection."""
        self._thread.shutdown(wait=True, cancel_futures=True)


def _finder(database_url: str) -> Callable[[str], str | None]:
    """Return a function from a token's hash to its device, to be called in one thread only."""
    file = sqlite_path(database_url)
    return _PostgresqlFinder(database_url) if file is None else _SqliteFinder(file)


class _SqliteFinder:
    def __init__(self, file: Path) -> None:
        self._uri = f"{file.as_uri()}?mode=ro"
        self._local = threading.local()

    def __call__(self, token_hash: str) -> str | None:
        try:
            if getattr(self._local, "conn", None) is None:
                self._local.conn = sqlite3.connect(self._uri, uri=True, timeout=5)
            row = self._local.conn.execute(_FIND.format("?"), (token_hash,)).fetchone()
        except sqlite3.Error as exc:
            self._local.conn = None
            raise DatabaseAway(f"the accounts database cannot be read: {exc}") from exc
        return None if row is None else str(row[0])


class _PostgresqlFinder:
    def __init__(self, url: str) -> None:
        self._url = url
        self._conn: psycopg.Connection[Any] | None = None

    def __call__(self, token_hash: str) -> str | None:
        try:
            if self._conn is None or self._conn.closed:
                self._conn = psycopg.connect(self._url, autocommit=True, connect_timeout=5)
            row = self._conn.execute(_FIND.format("%s"), (token_hash,)).fetchone()
        except psycopg.Error as exc:
            if self._conn is not None:
                self._conn.close()
            self._conn = None
            raise DatabaseAway(f"the accounts database cannot be read: {exc}") from exc
        return None if row is None else str(row[0])
