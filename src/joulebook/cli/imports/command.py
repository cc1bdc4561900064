"""`joulebook import`: a file of readings for one device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from joulebook.cli.output import fail


def import_file(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="text as a logger writes it, plain, gzip or zip, or .xlsx; with --watch a folder",
            show_default=False,
        ),
    ],
    *,
    device: Annotated[
        str, typer.Option(metavar="ID", help="the device whose readings they are", show_default=False)
    ],
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
            min=0, metavar="LINE", help="line with the columns' names; 0: there is none", show_default=False
        ),
    ] = None,
    time_column: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="column of the time; again for a second one", show_default=False),
    ] = None,
    time_format: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMAT",
            help="how times are written, such as '%d/%m/%Y %H:%M:%S'; again for a further one",
            show_default=False,
        ),
    ] = None,
    tz: Annotated[
        str | None,
        typer.Option(
            metavar="ZONE", help="zone of times without offset; else the device's", show_default=False
        ),
    ] = None,
    na: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT", help="what stands for no value, beside nothing; repeatable", show_default=False
        ),
    ] = None,
    decimal: Annotated[
        str | None, typer.Option(metavar="MARK", help="decimal mark: . or ,", show_default=False)
    ] = None,
    thousands: Annotated[
        str | None,
        typer.Option(metavar="MARK", help="mark between thousands, or nothing", show_default=False),
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="COLUMN=METRIC[:UNIT]",
            help="name the metric of a column; COLUMN= leaves it out; repeatable",
            show_default=False,
        ),
    ] = None,
    layout: Annotated[
        Literal["wide", "long", "across"] | None,
        typer.Option(help="wide, long (a key a row) or across (hours across)", show_default=False),
    ] = None,
    key_column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN", help="column that says what a row measures; repeatable", show_default=False
        ),
    ] = None,
    time_marks: Annotated[
        Literal["start", "end"] | None,
        typer.Option(help="start or end of an interval; as written: start", show_default=False),
    ] = None,
    doubled_hour: Annotated[
        Literal["order", "first", "second"] | None,
        typer.Option(
            help="order (of the rows), first or second pass of a doubled hour",
            show_default=False,
        ),
    ] = None,
    missing_hour: Annotated[
        Literal["reject", "shift"] | None,
        typer.Option(help="reject or shift times that the clocks skipped", show_default=False),
    ] = None,
    sheet: Annotated[
        str, typer.Option(metavar="NAME", help="sheet of a workbook; else its first", show_default=False)
    ] = "",
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="a built-in profile, one saved by the device's owner, or the file of one",
            show_default=False,
        ),
    ] = None,
    save_profile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="save how the file is read, for others like it", show_default=False
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="store nothing where a row or cell cannot be read")
    ] = False,
    rejected: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="write every rejected row and cell as CSV", show_default=False),
    ] = None,
    on_conflict: Annotated[
        Literal["keep", "replace"],
        typer.Option(help="where another value is stored: keep that, or replace it (undone with the import)"),
    ] = "keep",
    force: Annotated[
        bool, typer.Option("--force", help="import a file that was imported before, the same way")
    ] = False,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="the user who brings the file", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="import what is in a folder, and what comes, until stopped")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="with --watch: end when the folder is empty")] = False,
    settle: Annotated[
        float,
        typer.Option(
            min=0.1, max=3600, help="with --watch: seconds without a change until a file is taken for whole"
        ),
    ] = 5,
) -> None:
    """Store the readings of a logger's file.

    What is not given is guessed from the file and shown. A file that was imported before is told, and not
    read again; with --force it is, and stores nothing twice. The exit code is 0 when all was stored or
    there, 3 when rows or cells were refused, 1 when the file cannot be read.
    """
    # The parser's libraries take a while to load, and no other command needs them.
    from joulebook.cli.imports.files import option_words
    from joulebook.cli.imports.order import ImportOrder
    from joulebook.cli.imports.run import run_import
    from joulebook.cli.imports.watch import watch as watch_folder
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
    )
    order = ImportOrder(
        file, device, given, user_name=user, is_dry_run=dry_run, as_json=as_json, sheet=sheet,
        profile=profile, save_profile=save_profile, rejected=rejected, is_strict=strict,
        on_conflict=on_conflict, is_forced=force,
    )  # fmt: skip
    if watch:
        watch_folder(order, settle=settle, is_once=once)
    elif once:
        fail("--once goes with --watch")
    else:
        run_import(order)
