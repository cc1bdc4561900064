"""Puts the commands of `joulebook` together."""

from __future__ import annotations

import typer

from joulebook import __version__
from joulebook.cli import (
    agent,
    backup,
    db,
    device,
    export,
    importing,
    imports,
    profiles,
    retention,
    rollups,
    serve,
    simulate,
    up,
    user,
    verify,
)
from joulebook.cli import demo as demo_command
from joulebook.cli.output import plain_errors
from joulebook.config import Config

app = typer.Typer(
    name="joulebook",
    help="A self-hosted home for the readings of energy devices and sensors.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


_ON_HALF_A_RESTORE = {"restore", "backups", "db"}
"""Commands that may be run in a home whose restore has not ended."""


@app.callback()
def _root(
    context: typer.Context,
    version: bool = typer.Option(  # noqa: ARG001 - its callback acts
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """A self-hosted home for the readings of energy devices and sensors."""
    if context.invoked_subcommand not in _ON_HALF_A_RESTORE:
        with plain_errors():
            backup.refuse_half_restored(Config.from_environ().home)


app.command("up")(up.up)
app.command("demo")(demo_command.demo)
app.command("import")(importing.import_file)
app.command("export")(export.export)
app.command("agent")(agent.agent)
app.command("simulate")(simulate.simulate)
app.command("verify")(verify.verify)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("migrate")(serve.migrate)
app.command("web")(serve.web)
app.command("ingest")(serve.ingest)
app.command("worker")(serve.worker)
app.add_typer(imports.app, name="imports")
app.add_typer(profiles.app, name="profiles")
app.add_typer(backup.app, name="backups")
app.add_typer(db.app, name="db")
app.add_typer(rollups.app, name="rollups")
app.add_typer(retention.app, name="retention")
app.add_typer(user.app, name="user")
app.add_typer(device.app, name="device")


def main() -> None:
    """Run the command line."""
    app()
