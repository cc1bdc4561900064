"""`joulebook db`: the embedded database's commands."""

from __future__ import annotations

import os
import shutil
from enum import StrEnum
from typing import Annotated

import typer
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from rich.console import Console
from rich.status import Status

from joulebook.cli.output import AsJson, json_result, plain_errors, result, say
from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase, EmbeddedError, ensure_binaries, telemetry_url
from joulebook.embedded.status import read_status
from joulebook.embedded.urls import uses_own_server
from joulebook.supervisor.privileges import start_as_database_user

app = typer.Typer(no_args_is_help=True, help="Start, stop and reach the database of the readings.")

_STOPPED = 3


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


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """Show the database's state, versions, address and size; exit code 0 if it runs, 3 if it does not."""
    with plain_errors():
        config = Config.from_environ()
        found = read_status(config)
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
