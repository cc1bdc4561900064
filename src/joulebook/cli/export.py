"""`joulebook export`: every reading of a device in a range, as a file or on standard output."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from joulebook.cli.time_range import FromOption, ToOption, microseconds


class FileFormat(StrEnum):
    """The formats of files, as words of the command line."""

    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"


class FileLayout(StrEnum):
    """The layouts of files, as words of the command line."""

    WIDE = "wide"
    LONG = "long"


def export(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="the device's id", show_default=False)],
    *,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="only this one; repeatable", show_default=False)
    ] = None,
    from_: FromOption = None,
    to: ToOption = None,
    range_: Annotated[
        str | None,
        typer.Option(
            "--range", metavar="RANGE", help="ending now, such as 24h, 30d, 1y; else all", show_default=False
        ),
    ] = None,
    format_: Annotated[
        FileFormat | None,
        typer.Option("--format", help="else what the file's name ends with, else csv", show_default=False),
    ] = None,
    layout: Annotated[
        FileLayout, typer.Option(help="wide: a column a metric; long: a row a reading")
    ] = FileLayout.WIDE,
    tz: Annotated[str, typer.Option(metavar="ZONE", help="time zone of the times in CSV")] = "UTC",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="else standard output", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the file if there is one")] = False,
) -> None:
    """Write every reading of a device, in one snapshot, as CSV, Parquet or Arrow.

    The file is there when it is whole, and not before; a name that ends with .gz packs it.
    """
    # polars takes a while to load, and no other command needs it.
    from joulebook.cli.export_run import ExportOrder, run_export

    run_export(
        ExportOrder(
            device,
            metrics=tuple(dict.fromkeys(metric or [])),
            window=microseconds(from_, to),
            is_open=from_ is None and to is None,
            range_name=range_,
            file_format=None if format_ is None else format_.value,
            layout=layout.value,
            tz=tz,
            output=output,
            may_replace=force,
        )
    )
