"""`joulebook import`: a file of readings for one device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from joulebook.cli.output import fail


def import_file(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="text as a logger writes it, plain or gzip", show_default=False),
    ],
    *,
    device: Annotated[
        str, typer.Option(metavar="ID", help="the device whose readings they are", show_default=False)
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="store nothing, print the report only")] = False,
    delimiter: Annotated[
        str | None, typer.Option(help="character between cells, or a word: tab, blank", show_default=False)
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
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="the user who brings the file", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
) -> None:
    """Store the readings of a logger's file.

    What is not given is guessed from the file and shown. Storing a file twice is harmless. The exit code
    is 0 when all was stored or there, 3 when rows or cells were refused, 1 when the file cannot be read.
    """
    # The parser's libraries take a while to load, and no other command needs them.
    from joulebook.cli.import_options import UnusableOption, mapping_from
    from joulebook.cli.import_run import ImportOrder, run_import
    from joulebook.telemetry.files.profile import Given

    try:
        mapping = mapping_from(map_ or [])
    except UnusableOption as exc:
        fail(str(exc))
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
    )
    run_import(ImportOrder(file, device, given, user_name=user, is_dry_run=dry_run, as_json=as_json))
