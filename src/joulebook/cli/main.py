"""Puts the commands of `joulebook` together; the module of a command is loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from joulebook import __version__

COMMANDS = {
    "up": "up:up",
    "demo": "demo:demo",
    "import": "imports.commands:import_file",
    "export": "export:export",
    "agent": "agent:agent",
    "simulate": "simulate:simulate",
    "verify": "verify:verify",
    "backup": "backup:backup",
    "restore": "backup:restore",
    "migrate": "serve:migrate",
    "web": "serve:web",
    "ingest": "serve:ingest",
    "worker": "serve:worker",
    "imports": "imports.commands:app",
    "profiles": "profiles:app",
    "backups": "backup:app",
    "db": "db:app",
    "rollups": "rollups:app",
    "retention": "retention:app",
    "user": "user:app",
    "device": "device:app",
}
"""Each command, or group of commands, by its word: the module below `joulebook.cli`, and the name in it."""


class LazyCommands(MutableMapping[str, Any]):
    """The commands by their words, each loaded at its first use, so that completion is quick."""

    def __init__(self, paths: dict[str, str], loaded: MutableMapping[str, Any]) -> None:
        """Take the paths of commands, and commands that exist already."""
        self._paths = paths
        self._loaded = loaded

    def __getitem__(self, word: str) -> Any:
        if word not in self._loaded:
            module, _, name = self._paths[word].partition(":")
            self._loaded[word] = _make_command(word, getattr(import_module(f"joulebook.cli.{module}"), name))
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


def _make_command(word: str, found: Any) -> Any:
    """Return Typer's command of a function, or its group of an application."""
    if isinstance(found, typer.Typer):
        command: Any = typer.main.get_group(found)
    else:
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        single.command(word)(found)
        command = typer.main.get_command(single)
    command.name = word
    return command


class _LazyGroup(TyperGroup):
    """The root of all commands."""

    def __init__(self, *, commands: Any = None, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = LazyCommands(COMMANDS, dict(commands or {}))

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Return what completes the first word; modules of commands are not loaded for their words."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        words = TyperGroup(commands={word: TyperCommand(word) for word in self.commands})
        return words.shell_complete(typer.Context(words), incomplete)


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
