"""Django's settings for the databases, and the router sending each model to its own."""

from __future__ import annotations

from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from joulebook.config import Config, ConfigError, sqlite_path
from joulebook.embedded import NotCreated, telemetry_url

DatabaseSettings = dict[str, Any]

READER = "telemetry"
OWNER = "telemetry_owner"
TELEMETRY_APP = "readings"


def database_from_url(url: str) -> DatabaseSettings:
    """Return Django's settings for `sqlite:///path` or `postgresql://…`.

    Raises `ConfigError` for anything else.
    """
    file = sqlite_path(url)
    if file is not None:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(file),
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
            },
        }
    scheme = url.partition(":")[0]
    if scheme in {"postgresql", "postgres"}:
        return _postgresql(url)
    raise ConfigError(
        f"database address {scheme}://… is not understood; use sqlite:///path or postgresql://…"
    )


def telemetry_databases(config: Config) -> dict[str, DatabaseSettings]:
    """Return TimescaleDB's settings for the reader, and for the owner if the environment has its address."""
    try:
        reader_url = telemetry_url(config, "reader")
    except NotCreated:
        # Accounts and devices can be managed before the database's first start: an address without a server.
        reader_url = make_conninfo(host=str(config.home / "db" / "not-created"), dbname="joulebook")
    databases = {READER: _postgresql(reader_url)}
    if config.telemetry_owner_url is not None:
        databases[OWNER] = _postgresql(config.telemetry_owner_url)
    return databases


def _postgresql(url: str) -> DatabaseSettings:
    fields = conninfo_to_dict(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": fields.pop("dbname", ""),
        "USER": fields.pop("user", ""),
        "PASSWORD": fields.pop("password", ""),
        "HOST": fields.pop("host", ""),
        "PORT": fields.pop("port", ""),
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        # A pooler may give each transaction another session.
        "DISABLE_SERVER_SIDE_CURSORS": True,
        "OPTIONS": {"connect_timeout": 5, "application_name": "joulebook-web", **fields},
    }


class TelemetryRouter:
    """Sends the models of readings to TimescaleDB and everything else to `default`."""

    def db_for_read(self, model: Any, **_hints: Any) -> str | None:
        """Read readings and series with the reader's rights."""
        return READER if model._meta.app_label == TELEMETRY_APP else None

    def db_for_write(self, model: Any, **_hints: Any) -> str | None:
        """Send a write of readings to the reader: the database refuses it."""
        return READER if model._meta.app_label == TELEMETRY_APP else None

    def allow_relation(self, obj1: Any, obj2: Any, **_hints: Any) -> bool | None:
        """Never relate objects across the two databases."""
        return bool((obj1._meta.app_label == TELEMETRY_APP) == (obj2._meta.app_label == TELEMETRY_APP))

    def allow_migrate(self, db: str, app_label: str, **_hints: Any) -> bool:
        """Migrate readings as their owner, everything else in `default`, and nothing as the reader."""
        if db == READER:
            return False
        return (app_label == TELEMETRY_APP) == (db == OWNER)
