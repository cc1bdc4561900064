"""Puts the commands of `joulebook` together."""

from __future__ import annotations

import typer

from joulebook import __version__
from joulebook.cli import (
    agent,
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


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """A self-hosted home for the readings of energy devices and sensors."""


app.command("up")(up.up)
app.command("demo")(demo_command.demo)
app.command("import")(importing.import_file)
app.command("export")(export.export)
app.command("agent")(agent.agent)
app.command("simulate")(simulate.simulate)
app.command("verify")(verify.verify)
app.command("migrate")(serve.migrate)
app.command("web")(serve.web)
app.command("ingest")(serve.ingest)
app.command("worker")(serve.worker)
app.add_typer(imports.app, name="imports")
app.add_typer(profiles.app, name="profiles")
app.add_typer(db.app, name="db")
app.add_typer(rollups.app, name="rollups")
app.add_typer(retention.app, name="retention")
app.add_typer(user.app, name="user")
app.add_typer(device.app, name="device")


def main() -> None:
    """Run the command line."""
    app()
