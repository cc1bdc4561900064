"""A telemetry database beside the one that tests share, for those that must find their readings alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase


@contextmanager
def telemetry_database(
    name: str, telemetry: dict[str, str], joulebook: Callable[..., object]
) -> Iterator[dict[str, str]]:
    """Give the addresses of the roles in a migrated, empty database, which goes with the block."""
    server = EmbeddedDatabase(Config.from_environ())
    server.create_database(name)
    urls = {role: make_conninfo(url, dbname=name) for role, url in telemetry.items()}
    migrated = joulebook(
        "migrate",
        JOULEBOOK_TELEMETRY_URL=server.url("reader", database=name),
        JOULEBOOK_TELEMETRY_WRITER_URL=server.url("writer", database=name),
        JOULEBOOK_TELEMETRY_OWNER_URL=server.url("owner", database=name),
    )
    assert migrated.returncode == 0, migrated.stderr  # type: ignore[attr-defined]
    yield urls
    server.drop_database(name)


def addresses(urls: dict[str, str]) -> dict[str, str]:
    """Return the variables that name the telemetry database at these addresses to a process."""
    return {
        "JOULEBOOK_TELEMETRY_URL": _as_url(urls["reader"]),
        "JOULEBOOK_TELEMETRY_WRITER_URL": _as_url(urls["writer"]),
    }


def _as_url(conninfo: str) -> str:
    """Return an address as people write it."""
    parts = conninfo_to_dict(conninfo)
    return (
        f"postgresql://{parts['user']}:{parts['password']}@/{parts['dbname']}"
        f"?host={parts['host']}&port={parts['port']}"
    )
