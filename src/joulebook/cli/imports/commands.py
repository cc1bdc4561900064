"""The options of `joulebook import` and `joulebook imports`.

Each command imports its work only when it runs. Django's models need Django set up by `accounts_database`,
and the parser's libraries take a while to load: completion and help do not wait for them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from joulebook.cli.django_setup import accounts_database
from joulebook.cli.output import AsJson, fail


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
    delimiter: Annotated[
        str | None,
        typer.Option(
            help="character between cells, or a word: tab, blanks; /PATTERN/; widths: 10,8,8",
            show_default=False,
        ),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="such as utf-8, cp1252, latin-1, utf-16", show_default=False)
    ] = None,
    header_line: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="LINE", help="line with the column names; 0: no header", show_default=False
        ),
    ] = None,
    time_column: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="column of the time; repeatable", show_default=False),
    ] = None,
    time_format: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMAT",
            help="format of the times, such as '%d/%m/%Y %H:%M:%S'; repeatable",
            show_default=False,
        ),
    ] = None,
    tz: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE",
            help="time zone of times without offset; default: the device's",
            show_default=False,
        ),
    ] = None,
    na: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="text of a missing value, besides an empty cell; repeatable",
            show_default=False,
        ),
    ] = None,
    decimal: Annotated[
        str | None, typer.Option(metavar="MARK", help="decimal mark: . or ,", show_default=False)
    ] = None,
    thousands: Annotated[
        str | None,
        typer.Option(metavar="MARK", help="thousands mark; empty: none", show_default=False),
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="COLUMN=METRIC[:UNIT[:KIND]]",
            help="metric, unit and kind of a column; COLUMN= leaves it out; repeatable",
            show_default=False,
        ),
    ] = None,
    layout: Annotated[
        Literal["wide", "long", "across"] | None,
        typer.Option(
            help="wide (a column per metric), long (a key in each row) or across (a column per hour)",
            show_default=False,
        ),
    ] = None,
    key_column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN", help="column naming the metric of a row; repeatable", show_default=False
        ),
    ] = None,
    time_marks: Annotated[
        Literal["start", "end"] | None,
        typer.Option(
            help="times mark the start or the end of an interval; default: start", show_default=False
        ),
    ] = None,
    doubled_hour: Annotated[
        Literal["order", "first", "second"] | None,
        typer.Option(
            help="times of the doubled hour: by row order, all first pass or all second pass",
            show_default=False,
        ),
    ] = None,
    missing_hour: Annotated[
        Literal["reject", "shift"] | None,
        typer.Option(help="reject or shift times skipped by the clock change", show_default=False),
    ] = None,
    amounts: Annotated[
        Literal["yes", "no"] | None,
        typer.Option(
            help="whether values of energy and the like that rise and fall are amounts per interval; "
            "default: yes",
            show_default=False,
        ),
    ] = None,
    sheet: Annotated[
        str, typer.Option(metavar="NAME", help="sheet of a workbook; default: its first", show_default=False)
    ] = "",
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
        from joulebook.telemetry.files.profile import Given, mapping_from

        try:
            mapping = mapping_from(map_ or [])
        except UnusableProfile as exc:
            fail(exc.said(option_words))
        given = Given(
            delimiter=delimiter,
            encoding=encoding,
            header_line=header_line,
            time_columns=tuple(time_column or ()),
            time_formats=tuple(time_format or ()),
            tz=tz,
            decimal=decimal,
            thousands=thousands,
            na_values=None if na is None else tuple(na),
            mapping=mapping,
            layout=layout,
            key_columns=tuple(key_column or ()),
            time_marks=time_marks,
            doubled_hour=doubled_hour,
            missing_hour=missing_hour,
            amounts=amounts,
        )
        options = ImportOptions(
            file, device, given, user_name=user, is_dry_run=dry_run, as_json=as_json, sheet=sheet,
            profile=profile, save_profile=save_profile, rejected=rejected, is_strict=strict,
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
