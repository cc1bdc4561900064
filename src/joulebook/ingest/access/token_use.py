"""When was a token last used? Noted in memory, and written to the accounts database now and then.

A write for each request is out of the question, so a use costs one entry in a dictionary. A few times a
minute one statement writes those tokens of which nothing was written for `WRITTEN_SECONDS`. Several
processes may do so: the moment never moves backwards. It is a courtesy to the owner and never in the
way: a database that is locked, silent or read-only is tried again later. The right that it needs is
UPDATE on `last_used_at` of `devices_devicetoken` and `devices_gatewaytoken`, and no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import psycopg

from joulebook.config import sqlite_path
from joulebook.ingest.connection import PatientConnection
from joulebook.telemetry.connection import Connection, translated_errors
from joulebook.telemetry.errors import DatabaseUnavailable, TelemetryError

log = logging.getLogger(__name__)

WRITTEN_SECONDS = 60.0
"""A token's last use is written once in this time at most; a process that is killed forgets no more."""

LOOK_SECONDS = 5.0
"""How soon a use is written that nothing was written of for a while."""

PATIENCE_SECONDS = 5.0
"""How long the database may take to write before it is left alone until the next look."""

_TABLES = ("devices_devicetoken", "devices_gatewaytoken")
_ROWS = 500
"""Tokens of one transaction: other writers of SQLite wait for no more."""

_SQLITE_UPDATE = """
UPDATE {0} SET last_used_at = :at
WHERE token_hash = :hash AND (last_used_at IS NULL OR last_used_at < :at)
"""
_POSTGRESQL_UPDATE = """
UPDATE {0} AS token SET last_used_at = used.at
FROM unnest(%(hashes)s::text[], %(times)s::timestamptz[]) AS used (token_hash, at)
WHERE token.token_hash = used.token_hash AND (token.last_used_at IS NULL OR token.last_used_at < used.at)
"""

_Uses = Mapping[bytes, float]
"""Seconds since 1970 UTC by the SHA-256 of a token."""


class TokenUse:
    """Notes when tokens are used, and writes it. Start it with `run` in a task; `close` writes the rest."""

    def __init__(
        self,
        database_url: str,
        *,
        every: float = WRITTEN_SECONDS,
        look: float = LOOK_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """Prepare to write to `sqlite:///path` or `postgresql://…`.

        A token's use is written `look` seconds after it at the latest where nothing was written of it for
        `every` seconds, else when these are over.
        """
        file = sqlite_path(database_url)
        self._write: _Writer = _PostgresqlWriter(database_url) if file is None else _SqliteWriter(file)
        self._every = every
        self._look = look
        self._patience = patience
        self._used: dict[bytes, float] = {}
        self._written: dict[bytes, float] = {}
        self._failures = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="token-use")

    def note(self, digest: bytes) -> None:
        """Note that the token with this SHA-256 is used now."""
        self._used[digest] = time.time()

    async def run(self) -> None:
        """Write what is due, again and again, until cancelled."""
        while True:
            # A database that refuses is asked less and less often: it writes each refusal to its log.
            await asyncio.sleep(min(self._look * 2 ** max(0, self._failures - 1), self._every))
            since = time.monotonic() - self._every
            self._written = {digest: at for digest, at in self._written.items() if at > since}
            await self._flush({d: at for d, at in self._used.items() if d not in self._written})

    async def close(self) -> None:
        """Write what was noted, if the database takes it in time, and let go of thread and connection."""
        await self._flush(dict(self._used))
        self._write.cut()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._write.close()

    async def _flush(self, due: dict[bytes, float]) -> None:
        if not due:
            return
        writing = asyncio.get_running_loop().run_in_executor(self._thread, self._write, due)
        try:
            async with asyncio.timeout(self._patience):
                await writing
        except TimeoutError:
            self._write.cut()
            self._failed(f"the accounts database has not answered for {self._patience:g} s")
            return
        except Exception as exc:  # noqa: BLE001 - a courtesy that must not end for one bad minute
            self._failed(str(exc))
            return
        self._failures = 0
        for digest, at in due.items():
            self._written[digest] = time.monotonic()
            if self._used.get(digest) == at:
                del self._used[digest]

    def _failed(self, reason: str) -> None:
        """Keep what was noted for the next look; say so once."""
        if not self._failures:
            log.warning("the last use of tokens could not be written, which is tried again: %s", reason)
        self._failures = min(self._failures + 1, 20)


class _Writer(Protocol):
    """Writes uses, in one thread only; `cut` frees that thread from a silent server."""

    def __call__(self, uses: _Uses) -> None: ...

    def cut(self) -> None: ...

    def close(self) -> None: ...


class _SqliteWriter:
    def __init__(self, file: Path) -> None:
        self._uri = f"{file.as_uri()}?mode=rw"

    def __call__(self, uses: _Uses) -> None:
        # As Django writes a time into SQLite, to whole seconds: text that sorts like the time.
        rows = [
            {"hash": digest.hex(), "at": datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%d %H:%M:%S")}
            for digest, at in uses.items()
        ]
        try:
            with contextlib.closing(self._open()) as conn:
                for start in range(0, len(rows), _ROWS):
                    conn.execute("BEGIN IMMEDIATE")
                    for table in _TABLES:
                        conn.executemany(_SQLITE_UPDATE.format(table), rows[start : start + _ROWS])
                    conn.execute("COMMIT")
        except sqlite3.Error as exc:
            raise DatabaseUnavailable(f"the accounts database cannot be written: {exc}") from exc

    def _open(self) -> sqlite3.Connection:
        """Open the file; a connection of its own for each time, so that none outlives a moved file."""
        conn = sqlite3.connect(self._uri, uri=True, timeout=2, isolation_level=None)
        # Losing the last seconds of this to a power cut is no loss, so the disk is not waited for.
        conn.execute("PRAGMA synchronous = NORMAL")
        conn.set_authorizer(_only_last_use)
        return conn

    def cut(self) -> None:
        """Do nothing: a file answers, or is locked for a bounded time."""

    def close(self) -> None:
        """Do nothing: each connection is closed after its use."""


def _only_last_use(action: int, table: str | None, column: str | None, *_: str | None) -> int:
    """Allow SQLite to do what PostgreSQL's rights would allow, and nothing else."""
    if action in {sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SELECT}:
        return sqlite3.SQLITE_OK
    if table in _TABLES and (
        action == sqlite3.SQLITE_READ or (action == sqlite3.SQLITE_UPDATE and column == "last_used_at")
    ):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


class _PostgresqlWriter:
    def __init__(self, url: str) -> None:
        self._connection = PatientConnection(url)

    def __call__(self, uses: _Uses) -> None:
        asked = {
            "hashes": [digest.hex() for digest in uses],
            "times": [datetime.fromtimestamp(at, UTC) for at in uses.values()],
        }

        def work(conn: Connection) -> None:
            with translated_errors():
                for table in _TABLES:
                    conn.execute(_POSTGRESQL_UPDATE.format(table), asked)

        try:
            self._connection.run(work)
        except (psycopg.Error, TelemetryError) as exc:
            raise DatabaseUnavailable(f"the accounts database cannot be written: {exc}") from exc

    def cut(self) -> None:
        self._connection.cut()

    def close(self) -> None:
        self._connection.close()
