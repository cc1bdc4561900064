"""`joulebook db`: the embedded database's commands."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import psycopg
import typer
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from rich.console import Console
from rich.filesize import decimal
from rich.status import Status

from joulebook.cli.output import AsJson, json_result, plain_errors, result, say
from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase, EmbeddedError, ensure_binaries, telemetry_url
from joulebook.embedded.urls import uses_own_server
from joulebook.supervisor.privileges import start_as_database_user

app = typer.Typer(no_args_is_help=True, help="Start, stop and reach the database of the readings.")

_STOPPED = 3
_QUESTION = """\
SELECT current_setting('server_version'),
       (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
       current_setting('timescaledb.license', true),
       pg_database_size(current_database())
"""


class RoleName(StrEnum):
    """The three roles, as words of the command line."""

    owner = "owner"
    writer = "writer"
    reader = "reader"


_RoleOption = Annotated[
    RoleName, typer.Option(help="whose address: reader (SELECT), writer (stores), owner (migrates)")
]


@app.command()
def provision(
    newest: Annotated[bool, typer.Option("--newest", help="fetch a newer version, if there is one")] = False,
) -> None:
    """Find a PostgreSQL with TimescaleDB, or fetch one; `start` does this by itself."""
    with plain_errors():
        config = Config.from_environ()
        if uses_own_server(config):
            say("the environment names a server of your own: nothing to fetch")
            return
        found = ensure_binaries(config, newest=newest)
        say(f"PostgreSQL {found.version} with TimescaleDB {found.timescaledb} in {found.folder}")


@app.command()
def start() -> None:
    """Start the embedded database in the background; harmless if it runs."""
    with plain_errors():
        config = Config.from_environ()
        if uses_own_server(config):
            say("the environment names a server of your own: nothing to start")
            return
        ensure_binaries(config)  # has a progress display of its own
        if start_as_database_user(config):
            return
        with _progress("starting the database"):
            EmbeddedDatabase(config).start()
        say(f"the database in {config.home / 'db'} runs")


@app.command()
def stop() -> None:
    """Stop the embedded database; harmless if it is down."""
    with plain_errors():
        config = Config.from_environ()
        if uses_own_server(config):
            say("the environment names a server of your own: nothing to stop")
            return
        with _progress("stopping the database"):
            EmbeddedDatabase(config).stop()
        say(f"the database in {config.home / 'db'} is stopped")


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


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """Show the database's state, versions, address and size; exit code 0 if it runs, 3 if it does not."""
    with plain_errors():
        config = Config.from_environ()
        found = _read_status(config)
    if as_json:
        json_result(
            {
                "running": found.running,
                "embedded": found.embedded,
                "address": found.where,
                "process": found.pid,
                "postgresql": found.postgresql,
                "timescaledb": found.timescaledb,
                "edition": found.edition,
                "database_bytes": found.database_bytes,
                "folder_bytes": found.folder_bytes,
            }
        )
    else:
        for name, value in found.lines():
            result(f"{name:<12} {value}")
    if not found.running:
        raise typer.Exit(_STOPPED)


def _read_status(config: Config) -> DatabaseStatus:
    """Return the state of this configuration's database. Starts nothing."""
    if uses_own_server(config):
        address = telemetry_url(config, "reader")
        info = conninfo_to_dict(address)
        where = f"{info.get('host', 'localhost')}:{info.get('port', 5432)}/{info.get('dbname', '')}"
        try:
            return DatabaseStatus(True, False, where, None, *_ask(address))
        except EmbeddedError:
            return DatabaseStatus(running=False, embedded=False, where=where)
    database = EmbeddedDatabase(config)
    where, folder_bytes = str(database.socket), database.size_on_disk()
    if not database.is_running():
        return DatabaseStatus(running=False, embedded=True, where=where, folder_bytes=folder_bytes)
    answer = _ask(database.url("reader"))
    return DatabaseStatus(True, True, where, database.pid(), *answer, folder_bytes=folder_bytes)


def _ask(url: str) -> tuple[str, str | None, str | None, int]:
    try:
        with psycopg.connect(url, connect_timeout=5) as conn:
            row = conn.execute(_QUESTION).fetchone()
    except psycopg.OperationalError as exc:
        raise EmbeddedError(f"the database does not answer: {exc}") from exc
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    return row


@app.command()
def url(role: _RoleOption = RoleName.reader) -> None:
    """Print a role's address, password included, alone on standard output."""
    with plain_errors():
        result(telemetry_url(Config.from_environ(), role.value))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context, role: _RoleOption = RoleName.reader) -> None:
    """Open psql on the readings; further words are psql's own (`joulebook db psql -- -c 'SELECT 1'`)."""
    with plain_errors():
        config = Config.from_environ()
        parts = conninfo_to_dict(telemetry_url(config, role.value))
        # The environment carries the password: other users of the machine can read the address.
        password = parts.pop("password", None)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("JOULEBOOK_")}
        if password is not None:
            environment["PGPASSWORD"] = str(password)
        if uses_own_server(config):
            program = shutil.which("psql")
            if program is None:
                raise EmbeddedError("the program `psql` is missing: install the package postgresql-client")
        else:
            program = ensure_binaries(config).program("psql")
        address = make_conninfo(**{name: str(value) for name, value in parts.items() if value is not None})
        os.execve(program, ["psql", f"--dbname={address}", *context.args], environment)  # noqa: S606


def _progress(step: str) -> Status:
    return Console(stderr=True).status(step)
