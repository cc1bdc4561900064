"""The options of `joulebook import` and `joulebook imports`.

Each command imports its work only when it runs. Django's models need Django set up by `accounts_database`,
and the parser's libraries take a while to load: completion and help do not wait for them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from joulebook.cli.django_setup import accounts_database
from joulebook.cli.output import AsJson, fail
from joulebook.telemetry.files.settings import SETTINGS, Given, Setting


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each setting; those given are passed by their names as `settings`."""
    own = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    for each in own.parameters.values():
        parameters += [each] if each.name != "settings" else map(_option, SETTINGS)

    @wraps(command)
    def run(**values: Any) -> None:
        settings = {each.name: values.pop(each.name) for each in SETTINGS}
        given = {name: value for name, value in settings.items() if value is not None}
        command(**values, settings=given)

    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _option(setting: Setting) -> inspect.Parameter:
    kind: Any = {"number": int, "list": list[str], "mapping": list[str]}.get(setting.kind, str)
    if setting.kind == "word":
        kind = Literal[tuple(setting.choices)]
    option = typer.Option(
        setting.option, help=setting.help, show_default=False,
        metavar=setting.metavar or None, min=0 if kind is int else None,
    )  # fmt: skip
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


@_with_settings
def import_file(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="a logger's text file, plain, gzip or zip, or .xlsx; with --watch a folder",
            show_default=False,
        ),
    ],
    *,
    device: Annotated[str, typer.Option(metavar="ID", help="the device of the readings", show_default=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="store nothing, print the report only")] = False,
    settings: dict[str, Any],
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="a built-in profile, one saved by the device's owner, or a profile file",
            show_default=False,
        ),
    ] = None,
    save_profile: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="save the reading settings as a profile", show_default=False),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="store nothing if any row or cell cannot be read")
    ] = False,
    rejected: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="write every rejected row and cell as CSV", show_default=False),
    ] = None,
    on_conflict: Annotated[
        Literal["keep", "replace"],
        typer.Option(help="if another value is stored: keep it, or replace it (undo restores it)"),
    ] = "keep",
    force: Annotated[
        bool,
        typer.Option("--force", help="import the file even if it was imported before with the same settings"),
    ] = False,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="the user recorded for the import", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="import the files of a folder, and new ones, until stopped")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="with --watch: end when the folder is empty")] = False,
    settle: Annotated[
        float,
        typer.Option(
            min=0.1,
            max=3600,
            help="with --watch: a file is complete after this many seconds without a change",
        ),
    ] = 5,
) -> None:
    """Store the readings of a logger's file.

    Settings that are not given are guessed from the file and shown. A file imported before is reported and
    not read again; --force reads it again and stores nothing twice. The exit code is 0 when every reading
    is stored, 3 when rows or cells were rejected, 1 when the file cannot be read.
    """
    if once and not watch:
        fail("--once goes with --watch")
    with accounts_database():
        from joulebook.cli.imports.options import ImportOptions
        from joulebook.cli.imports.report import option_words
        from joulebook.cli.imports.run import import_and_report
        from joulebook.cli.imports.watch import watch_folder
        from joulebook.telemetry.files.errors import UnusableProfile

        try:
            given = Given.read(
                {name: value if isinstance(value, list) else [str(value)] for name, value in settings.items()}
            )
        except UnusableProfile as exc:
            fail(exc.said(option_words))
        options = ImportOptions(
            file, device, given, user_name=user, is_dry_run=dry_run, as_json=as_json, profile=profile,
            save_profile=save_profile, rejected=rejected, is_strict=strict,
            on_conflict=on_conflict, is_forced=force,
        )  # fmt: skip
        if watch:
            watch_folder(options, settle=settle, is_once=once)
        else:
            import_and_report(options)


app = typer.Typer(no_args_is_help=True, help="List imports, show one, undo one.")

_Number = Annotated[int, typer.Argument(metavar="NUMBER", help="the import's number", show_default=False)]


@app.command("list")
def list_imports(
    *,
    device: Annotated[
        str | None, typer.Option(metavar="ID", help="only for this device", show_default=False)
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="only in this state; repeatable", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="up to this number, the newest first")] = 50,
    as_json: AsJson = False,
) -> None:
    """List imports, the newest first."""
    with accounts_database():
        from joulebook.cli.imports import past_imports

        past_imports.print_imports(device_id=device, states=state or [], limit=limit, as_json=as_json)


@app.command()
def show(number: _Number, *, as_json: AsJson = False) -> None:
    """Show the report of an import, and the first rows and cells that were not stored."""
    with accounts_database():
        from joulebook.cli.imports import past_imports

        past_imports.print_import(number, as_json=as_json)


@app.command()
def undo(
    number: _Number,
    *,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="the user undoing it", show_default=False)
    ] = None,
) -> None:
    """Remove all readings stored by an import, and restore those it replaced.

    No worker is needed. An interrupted undo continues from the point it reached.
    """
    with accounts_database():
        from joulebook.cli.imports import past_imports

        past_imports.undo(number, user_name=user)
