"""`joulebook export`: writes the readings of a device in a range to a file or to standard output.

The model of devices is imported inside a function: Django has to be set up first.
"""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import typer

from joulebook.cli.django_setup import accounts_database
from joulebook.cli.output import fail, say
from joulebook.cli.progress import show_progress
from joulebook.cli.signals import interruptible
from joulebook.cli.time_range import FromOption, ToOption, microseconds
from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.telemetry.connection import Connection, connect, one_snapshot
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.export.formats import FORMATS, FormatName, export_chunks
from joulebook.telemetry.export.frames import Layout
from joulebook.telemetry.export.reading import (
    NO_END,
    Block,
    Corrected,
    extent,
    read_blocks,
    read_metric_texts,
)
from joulebook.telemetry.history.points import ALL, RANGES
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.series import series_by_metric
from joulebook.time_zones import ZoneInfo, time_zone_names


class ExportFormat(StrEnum):
    """The formats of files, as words of the command line."""

    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"


class ExportLayout(StrEnum):
    """The layouts of files, as words of the command line."""

    WIDE = "wide"
    LONG = "long"


class ExportCorrected(StrEnum):
    """Which readings of corrected ones, as words of the command line."""

    WITH = "with"
    WITHOUT = "without"
    ORIGINAL = "original"


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
        ExportFormat | None,
        typer.Option("--format", help="else by the ending of the file's name, else csv", show_default=False),
    ] = None,
    layout: Annotated[
        ExportLayout, typer.Option(help="wide: a column a metric; long: a row a reading")
    ] = ExportLayout.WIDE,
    tz: Annotated[str, typer.Option(metavar="ZONE", help="time zone of the times in CSV")] = "UTC",
    corrected: Annotated[
        ExportCorrected, typer.Option(help="with: as corrected; without: leave these out; original: as sent")
    ] = ExportCorrected.WITH,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="else standard output", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the file if there is one")] = False,
) -> None:
    """Write every reading of a device, in one snapshot, as CSV, Parquet or Arrow.

    The file appears only when it is complete; a name ending with .gz compresses it.
    """
    _run(
        ExportOrder(
            device,
            metrics=tuple(dict.fromkeys(metric or [])),
            window=microseconds(from_, to),
            is_open=from_ is None and to is None,
            range_name=range_,
            file_format=None if format_ is None else format_.value,
            layout=layout.value,
            tz=tz,
            corrected=corrected.value,
            output=output,
            may_replace=force,
        )
    )


EXIT_STOPPED = 130
_PACKED = ".gz"


@dataclass(frozen=True)
class ExportOrder:
    """The options of an export; `window` is half-open, in microseconds since 1970 UTC."""

    device_id: str
    metrics: tuple[str, ...]
    window: tuple[int, int]
    is_open: bool
    range_name: str | None
    file_format: FormatName | None
    layout: Layout
    tz: str
    corrected: Corrected
    output: Path | None
    may_replace: bool


def _run(order: ExportOrder) -> None:
    """Export as ordered, and end the command with the fitting exit code."""
    file_format = _file_format(order)
    _check_output(order, file_format)
    with accounts_database():
        from joulebook.web.devices.models import Device

        begin, end = _window(order)
        if order.tz not in time_zone_names():
            fail(f"--tz {order.tz!r} is not an IANA time zone such as Europe/Berlin")
        zone = ZoneInfo(order.tz)
        if not Device.objects.filter(device_id=order.device_id).exists():
            fail(f"there is no device {order.device_id!r}; see them with: joulebook device list")
        with _reported_failures(), _reader_connection() as conn, one_snapshot(conn):
            found = series_by_metric(conn, order.device_id)
            for metric in order.metrics:
                if metric not in found:
                    known = ", ".join(list(found)[:30]) or "none yet"
                    fail(f"device {order.device_id} has no metric {metric!r}; it has: {known}")
            series = {metric: found[metric].id for metric in order.metrics or found}
            numbers = list(series.values())
            begin, end = extent(conn, numbers, begin, end, corrected=order.corrected)
            with (
                show_progress("exporting") as progress,
                closing(read_blocks(conn, series, begin=begin, end=end, corrected=order.corrected)) as blocks,
                _opened(order) as file,
            ):
                counted = _Counted(blocks, begin, end, progress)
                texts = read_metric_texts(conn, series)
                for chunk in export_chunks(
                    counted,
                    list(series),
                    file_format=file_format,
                    layout=order.layout,
                    zone=zone,
                    texts=texts,
                ):
                    file.write(chunk)
    where = "" if order.output is None else f" to {order.output}"
    say(f"{counted.readings:,} readings of {len(series)} metrics exported{where}")


class _Counted:
    """Passes blocks on, counts their readings, and reports the progress."""

    def __init__(
        self, blocks: Generator[Block], begin: int, end: int, progress: Callable[[float], None]
    ) -> None:
        self._blocks = blocks
        self._begin = begin
        self._end = end
        self._progress = progress
        self.readings = 0

    def __iter__(self) -> Iterator[Block]:
        for block in self._blocks:
            self.readings += len(block)
            yield block
            self._progress((block.until - self._begin) / max(self._end - self._begin, 1))


def _file_format(order: ExportOrder) -> FormatName:
    if order.file_format is not None:
        return order.file_format
    if order.output is None:
        return "csv"
    name = order.output.name.removesuffix(_PACKED)
    found = next((key for key, each in FORMATS.items() if name.endswith(each.suffix)), None)
    return found or ("arrow" if name.endswith(".arrow") else "csv")


def _check_output(order: ExportOrder, file_format: FormatName) -> None:
    path = order.output
    if path is None:
        if file_format != "csv" and sys.stdout.isatty():
            fail(f"{FORMATS[file_format].label} is nothing for a terminal; name a file with --output FILE")
        return
    if path.exists() and not order.may_replace:
        fail(f"{path} is there already; replace it with --force, or name another file")
    if not path.parent.is_dir():
        fail(f"{path} cannot be written: there is no folder {path.parent}")
    if path.is_dir() or (path.exists() and not path.is_file()):
        fail(f"{path} is no file; name one")


def _window(order: ExportOrder) -> tuple[int, int]:
    """Return the half-open range."""
    begin, end = order.window
    if order.range_name is not None:
        if not order.is_open:
            fail("--range cannot be combined with --from and --to; give one or the other")
        if order.range_name not in {*RANGES, ALL}:
            fail(f"--range {order.range_name!r} is not one of {', '.join([*RANGES, ALL])}")
        if order.range_name != ALL:
            now = datetime.now(UTC)
            return to_microseconds(now - RANGES[order.range_name]), to_microseconds(now)
    return begin, min(end, NO_END)


@contextmanager
def _reader_connection() -> Iterator[Connection]:
    try:
        conn = connect(telemetry_url(Config.from_environ(), "reader"))
    except DatabaseUnavailable as exc:
        fail(f"the database of the readings does not answer; start it with: joulebook db start\n{exc}")
    with conn:
        yield conn


@contextmanager
def _reported_failures() -> Iterator[None]:
    """End the command with its reason if it is stopped, by SIGTERM too, or cannot write the file."""
    try:
        with interruptible():
            yield
    except KeyboardInterrupt:
        fail("stopped; no file was written", code=EXIT_STOPPED)
    except BrokenPipeError:  # the reader has closed the pipe, like `head`
        _discard_output()
        fail("the reader of the export has gone")
    except OSError as exc:
        _discard_output()
        fail(f"the export could not be written: {exc.strerror or exc}; no file was left behind")


def _discard_output() -> None:
    """Discard the rest of standard output: Python would fail to write it at its end, with exit code 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _opened(order: ExportOrder) -> Iterator[BinaryIO]:
    """Open standard output, or a file beside the requested one; it is renamed at the end."""
    path = order.output
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("xb") as raw:
            if path.name.endswith(_PACKED):
                with gzip.GzipFile("", "wb", 6, raw) as packed:
                    yield cast("BinaryIO", packed)
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        if order.may_replace:
            beside.replace(path)
        else:
            # Unlike a renaming, a link never replaces a file made meanwhile.
            os.link(beside, path)
    except FileExistsError:
        fail(f"{path} is there already; replace it with --force, or name another file")
    finally:
        beside.unlink(missing_ok=True)
