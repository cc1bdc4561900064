"""The accounts database as ingest sees it: finds tokens and writes their last use, in SQLite or PostgreSQL.

The tables are those of the web's `devices` app, whose migrations define them: `devices_devicetoken`,
`devices_gatewaytoken` with its devices, `devices_device`, `auth_user`. A gateway's token counts only for
devices of the gateway's owner: a device handed over to another owner drops out by itself.

Beside reading, ingest needs one right: UPDATE on `last_used_at` of both tables of tokens.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import psycopg

from joulebook.config import sqlite_path
from joulebook.ingest.connection import Reconnecting
from joulebook.telemetry.connection import Connection, translated_errors
from joulebook.telemetry.errors import DatabaseUnavailable, TelemetryError

T = TypeVar("T")


class TokenRow(NamedTuple):
    """A valid token and one of its devices; the device's columns are None for a gateway without devices."""

    token_hash: str
    prefix: str
    time_field: str
    device_field: str
    values_field: str
    line_unit: str
    device_id: str | None
    time_zone: str
    time_without_offset: str
    is_gateway: int


TokenRows = Sequence[TokenRow]
"""One row for each device of a token."""

_COLUMNS = """
token.token_hash, token.prefix, token.time_field, token.device_field, token.values_field, token.line_unit,
device.device_id, device.time_zone, device.time_without_offset
"""
_FIND = f"""
SELECT {_COLUMNS}, 0 AS is_gateway
FROM devices_devicetoken AS token
JOIN devices_device AS device ON device.id = token.device_id
JOIN auth_user ON auth_user.id = device.owner_id
WHERE token.token_hash = {{0}} AND token.revoked_at IS NULL AND auth_user.is_active
UNION ALL
SELECT {_COLUMNS}, 1
FROM devices_gatewaytoken AS token
JOIN auth_user ON auth_user.id = token.owner_id
LEFT JOIN devices_gatewaytoken_devices AS named ON named.gatewaytoken_id = token.id
LEFT JOIN devices_device AS device ON device.id = named.device_id AND device.owner_id = token.owner_id
WHERE token.token_hash = {{0}} AND token.revoked_at IS NULL AND auth_user.is_active
"""  # noqa: S608 - our own text
_TABLES = ("devices_devicetoken", "devices_gatewaytoken")


class Accounts(Protocol):
    """The accounts database, for one thread; another thread may call `cut` to free it from a silent server.

    Each method raises `DatabaseUnavailable` if the database cannot be used.
    """

    def find_tokens(self, hashes: Sequence[str]) -> TokenRows:
        """Return the rows of the valid tokens with these SHA-256 hashes, in hexadecimal."""

    def write_last_use(self, uses: Mapping[bytes, float]) -> None:
        """Write when tokens were used: seconds since 1970 UTC by SHA-256. A time never moves back."""

    def cut(self) -> None:
        """Break the connection to a server."""

    def close(self) -> None:
        """Close the connection."""


def open_accounts(database_url: str) -> Accounts:
    """Return the accounts at `sqlite:///path` or `postgresql://…`; nothing is opened before its first use."""
    file = sqlite_path(database_url)
    return _PostgresqlAccounts(database_url) if file is None else _SqliteAccounts(file)


class _SqliteAccounts:
    _FIND_ONE = _FIND.format("?1")
    _UPDATE = """
    UPDATE {} SET last_used_at = :at
    WHERE token_hash = :hash AND (last_used_at IS NULL OR last_used_at < :at)
    """
    _ROWS = 500
    """Tokens of one transaction: it makes other writers of the file wait."""

    def __init__(self, file: Path) -> None:
        self._uri = file.as_uri()
        self._local = threading.local()

    def find_tokens(self, hashes: Sequence[str]) -> TokenRows:
        try:
            if getattr(self._local, "conn", None) is None:
                self._local.conn = sqlite3.connect(f"{self._uri}?mode=ro", uri=True, timeout=5)
            execute = self._local.conn.execute
            return [TokenRow(*row) for one in hashes for row in execute(self._FIND_ONE, (one,))]
        except sqlite3.Error as exc:
            self._local.conn = None
            raise DatabaseUnavailable(f"the accounts database cannot be read: {exc}") from exc

    def write_last_use(self, uses: Mapping[bytes, float]) -> None:
        # As Django writes a time into SQLite, in whole seconds: text in the order of time.
        rows = [
            {"hash": digest.hex(), "at": datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%d %H:%M:%S")}
            for digest, at in uses.items()
        ]
        try:
            with contextlib.closing(self._open_for_last_use()) as conn:
                for start in range(0, len(rows), self._ROWS):
                    conn.execute("BEGIN IMMEDIATE")
                    for table in _TABLES:
                        conn.executemany(self._UPDATE.format(table), rows[start : start + self._ROWS])
                    conn.execute("COMMIT")
        except sqlite3.Error as exc:
            raise DatabaseUnavailable(f"the accounts database cannot be written: {exc}") from exc

    def _open_for_last_use(self) -> sqlite3.Connection:
        """Open the file to write; a new connection each time, so that none outlives a moved file."""
        conn = sqlite3.connect(f"{self._uri}?mode=rw", uri=True, timeout=2, isolation_level=None)
        # Do not wait for the disk: a power cut may cost the last seconds of this.
        conn.execute("PRAGMA synchronous = NORMAL")
        conn.set_authorizer(_allow_only_last_use)
        return conn

    def cut(self) -> None:
        """Do nothing: a file answers, or is locked for a bounded time."""

    def close(self) -> None:
        """Do nothing: the connection for reading ends with its thread."""


def _allow_only_last_use(action: int, table: str | None, column: str | None, *_: str | None) -> int:
    """Give a SQLite connection the rights that a role of PostgreSQL has."""
    if action in {sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SELECT}:
        return sqlite3.SQLITE_OK
    if table in _TABLES and (
        action == sqlite3.SQLITE_READ or (action == sqlite3.SQLITE_UPDATE and column == "last_used_at")
    ):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


class _PostgresqlAccounts:
    _FIND_ALL = _FIND.format("ANY(%(hashes)s)")
    _UPDATE = """
    UPDATE {} AS token SET last_used_at = used.at
    FROM unnest(%(hashes)s::text[], %(times)s::timestamptz[]) AS used (token_hash, at)
    WHERE token.token_hash = used.token_hash AND (token.last_used_at IS NULL OR token.last_used_at < used.at)
    """

    def __init__(self, url: str) -> None:
        self._connection = Reconnecting(url)

    def find_tokens(self, hashes: Sequence[str]) -> TokenRows:
        found = {"hashes": list(hashes)}
        rows = self._run("read", lambda conn: conn.execute(self._FIND_ALL, found).fetchall())
        return [TokenRow(*cast("tuple[Any, ...]", row)) for row in rows]

    def write_last_use(self, uses: Mapping[bytes, float]) -> None:
        used = {
            "hashes": [digest.hex() for digest in uses],
            "times": [datetime.fromtimestamp(at, UTC) for at in uses.values()],
        }

        def update(conn: Connection) -> None:
            for table in _TABLES:
                conn.execute(self._UPDATE.format(table), used)

        self._run("written", update)

    def _run(self, verb: str, work: Callable[[Connection], T]) -> T:
        def translated(conn: Connection) -> T:
            with translated_errors():
                return work(conn)

        try:
            return self._connection.run(translated)
        except (psycopg.Error, TelemetryError) as exc:
            raise DatabaseUnavailable(f"the accounts database cannot be {verb}: {exc}") from exc

    def cut(self) -> None:
        self._connection.cut()

    def close(self) -> None:
        self._connection.close()
