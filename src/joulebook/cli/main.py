"""The commands of `joulebook`; the module of a command is loaded at the command's first use."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from joulebook import __version__

COMMANDS = {
    "up": (
        "up:up",
        "Run database, web, ingest and worker until Ctrl-C; migrate first, restart dead processes.",
    ),
    "demo": (
        "demo:demo",
        "Show Joulebook with data: a home with a battery, a roof and a grid meter, until Ctrl-C.",
    ),
    "import": ("imports.commands:import_file", "Store the readings of a logger's file."),
    "move": ("moves.commands:app", "Move the history of InfluxDB or VictoriaMetrics here."),
    "export": (
        "export:export",
        "Write every reading of a device, in one snapshot, as CSV, Parquet or Arrow.",
    ),
    "agent": (
        "agent:agent",
        "Forward packets to ingest, one JSON object a line, until the input ends or SIGTERM.",
    ),
    "simulate": (
        "simulate:simulate",
        "Send the readings of simulated homes: battery, roof and grid meter, three devices a home.",
    ),
    "correct": (
        "corrections:correct",
        "Correct readings of a device; numbers are in the units as shown. Each correction can be undone.",
    ),
    "verify": (
        "verify:verify",
        "Recompute rollups from the readings and count the differing ones; exit code 1 if there are any.",
    ),
    "backup": ("backup:backup", "Back up accounts, readings, imports and uploads while everything runs."),
    "restore": (
        "backup:restore",
        "Restore a backup into an empty JOULEBOOK_HOME, or into empty databases of a server of your own.",
    ),
    "migrate": (
        "serve:migrate",
        "Bring both databases up to date, the readings' as the role owner.",
    ),
    "web": ("serve:web", "Serve the pages and the history API until stopped."),
    "ingest": ("serve:ingest", "Take readings from devices until stopped."),
    "worker": (
        "serve:worker",
        "Run imports and undo them, roll readings up, and drop old ones, until stopped.",
    ),
    "imports": ("imports.commands:app", "List imports, show one, undo one."),
    "corrections": ("corrections:app", "List the corrections of readings, show one, undo one."),
    "profiles": ("profiles:app", "Save reading settings by name, list and remove them."),
    "backups": ("backup:app", "List the backups made by the worker."),
    "db": ("db:app", "Start, stop and reach the database of the readings."),
    "rollups": ("rollups:app", "Show the state of the rollups, or have them rebuilt."),
    "retention": ("retention:app", "Show the readings too old to retain, and the time of their drop."),
    "user": ("user:app", "Create users, give their scripts tokens, list them."),
    "device": ("device:app", "Create devices, give them tokens, list them."),
}
"""Each command or group by its word: its module below `joulebook.cli` and name there, and its help.

The help is the first line of the command's own: with it here, `joulebook --help` loads no command.
"""


class LazyCommands(MutableMapping[str, Any]):
    """The commands by their words, each loaded at its first use: commands start quickly."""

    def __init__(self, paths: dict[str, str], loaded: MutableMapping[str, Any]) -> None:
        """Take the paths of commands, and the commands loaded already."""
        self._paths = paths
        self._loaded = loaded

    def __getitem__(self, word: str) -> Any:
        if word not in self._loaded:
            module, _, name = self._paths[word].partition(":")
            found = getattr(import_module(f"joulebook.cli.{module}"), name)
            if isinstance(found, typer.Typer):
                command: Any = typer.main.get_group(found)
            else:
                single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
                single.command(word)(found)
                command = typer.main.get_command(single)
            command.name = word
            self._loaded[word] = command
        return self._loaded[word]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._paths, *self._loaded]))

    def __len__(self) -> int:
        return len(self._paths.keys() | self._loaded.keys())

    def __contains__(self, word: object) -> bool:
        return word in self._paths or word in self._loaded

    def __setitem__(self, word: str, command: Any) -> None:
        self._loaded[word] = command

    def __delitem__(self, word: str) -> None:
        del self._loaded[word]


class _LazyGroup(TyperGroup):
    """The root of all commands."""

    def __init__(self, *, commands: Any = None, **attributes: Any) -> None:
        super().__init__(**attributes)
        paths = {word: path for word, (path, _) in COMMANDS.items()}
        self.commands = LazyCommands(paths, dict(commands or {}))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help of all commands without loading them."""
        loaded, self.commands = self.commands, _outlines()
        try:
            super().format_help(ctx, formatter)
        finally:
            self.commands = loaded

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Return the completions of the first word without loading commands."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        outline = TyperGroup(commands=_outlines())
        return outline.shell_complete(typer.Context(outline), incomplete)


def _outlines() -> dict[str, Any]:
    return {word: TyperCommand(word, help=text) for word, (_, text) in COMMANDS.items()}


app = typer.Typer(
    name="joulebook",
    cls=_LazyGroup,
    help="A self-hosted home for the readings of energy devices and sensors.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


_ON_HALF_A_RESTORE = {"restore", "backups", "db"}
"""Commands allowed in a home with an unfinished restore."""


@app.callback()
def _root(
    context: typer.Context,
    version: bool = typer.Option(  # noqa: ARG001 - its callback acts
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """A self-hosted home for the readings of energy devices and sensors."""
    if context.invoked_subcommand not in _ON_HALF_A_RESTORE:
        # Imported here for a quick start of help and completion.
        from joulebook.backup.restore_target import explain_unfinished, unfinished_restore
        from joulebook.cli.output import fail, plain_errors
        from joulebook.config import Config

        with plain_errors():
            home = Config.from_environ().home
        source = unfinished_restore(home)
        if source is not None:
            fail(explain_unfinished(home, source))


def main() -> None:
    """Run the command line."""
    app()
