"""The state of the readings' database: versions, edition, size and address."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from rich.filesize import decimal

from joulebook.config import Config
from joulebook.embedded.database import EmbeddedDatabase
from joulebook.embedded.errors import EmbeddedError
from joulebook.embedded.urls import telemetry_url, uses_own_server

_QUESTION = """\
SELECT current_setting('server_version'),
       (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
       current_setting('timescaledb.license', true),
       pg_database_size(current_database())
"""


@dataclass(frozen=True)
class DatabaseStatus:
    """One look at the database. Figures of a running server are None while it is down.

    `edition` is "apache" or "timescale" (the Community edition); `database_bytes` is the size of the
    database, `folder_bytes` that of the whole data folder with its write-ahead log.
    """

    running: bool
    embedded: bool
    where: str
    pid: int | None = None
    postgresql: str | None = None
    timescaledb: str | None = None
    edition: str | None = None
    database_bytes: int | None = None
    folder_bytes: int | None = None

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield the figures as pairs of a name and a text for people."""
        yield "state", "running" if self.running else "stopped"
        yield "server", "embedded" if self.embedded else "your own"
        yield "address", self.where
        if self.pid is not None:
            yield "process", str(self.pid)
        if self.postgresql is not None:
            yield "postgresql", self.postgresql
            yield "timescaledb", self.timescaledb or "not created in this database"
            yield "edition", self.edition or "unknown"
        if self.database_bytes is not None:
            yield "database", decimal(self.database_bytes)
        if self.folder_bytes is not None:
            yield "on disk", decimal(self.folder_bytes)


def read_status(config: Config) -> DatabaseStatus:
    """Return the state of this configuration's database. Starts nothing."""
    if uses_own_server(config):
        return _own_server(telemetry_url(config, "reader"))
    database = EmbeddedDatabase(config)
    where, folder_bytes = str(database.socket), database.size_on_disk()
    if not database.is_running():
        return DatabaseStatus(running=False, embedded=True, where=where, folder_bytes=folder_bytes)
    answer = _ask(database.url("reader"))
    return DatabaseStatus(True, True, where, database.pid(), *answer, folder_bytes=folder_bytes)


def _own_server(url: str) -> DatabaseStatus:
    info = psycopg.conninfo.conninfo_to_dict(url)
    where = f"{info.get('host', 'localhost')}:{info.get('port', 5432)}/{info.get('dbname', '')}"
    try:
        return DatabaseStatus(True, False, where, None, *_ask(url))
    except EmbeddedError:
        return DatabaseStatus(running=False, embedded=False, where=where)


def _ask(url: str) -> tuple[str, str | None, str | None, int]:
    try:
        with psycopg.connect(url, connect_timeout=5) as conn:
            row = conn.execute(_QUESTION).fetchone()
    except psycopg.OperationalError as exc:
        raise EmbeddedError(f"the database does not answer: {exc}") from exc
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    return row
