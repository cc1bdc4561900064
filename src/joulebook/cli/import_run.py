"""Carries out one `joulebook import`: file and device in, readings stored, record kept, report printed."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from joulebook.cli.accounts_database import accounts_database
from joulebook.cli.import_progress import show_progress
from joulebook.cli.import_report import ImportedFile, print_report, report_json
from joulebook.cli.output import fail, result, say
from joulebook.cli.user import find_user
from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.errors import DatabaseAway, TelemetryError
from joulebook.telemetry.files.guess.layout import HEAD_BYTES, FileLayout, guess_layout
from joulebook.telemetry.files.importer import store_blocks
from joulebook.telemetry.files.parsed import ParsedBlock
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.profile import Given
from joulebook.telemetry.files.read_ahead import read_ahead
from joulebook.telemetry.files.report import ImportReport, count_blocks
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.readings import MICROSECONDS

if TYPE_CHECKING:
    from joulebook.web.devices.models import Device

EXIT_UNREADABLE = 1
EXIT_REFUSED = 3
EXIT_STOPPED = 130

_STAYS = "what was stored until then stays, and importing the file again is harmless"


@dataclass(frozen=True)
class ImportOrder:
    """What was asked for on the command line."""

    path: Path
    device_id: str
    given: Given
    user_name: str | None
    is_dry_run: bool
    as_json: bool


@dataclass(frozen=True)
class _End:
    """How a run ended: the exit code, and what kept it from the file's end, if anything."""

    exit_code: int
    problem: str = ""


def run_import(order: ImportOrder) -> None:
    """Import a file as ordered, print its report, and end the command with the fitting exit code."""
    with accounts_database():
        device = _find_device(order.device_id)
        source = FileSource(order.path)
        head = source.head(HEAD_BYTES)
        layout = guess_layout(
            head, is_whole=len(head) < HEAD_BYTES, given=order.given, device_tz=device.time_zone
        )
        report = ImportReport(layout.profile.values, is_dry_run=order.is_dry_run)
        import_id = None
        if order.is_dry_run:
            end = _ended(lambda: _count(source, layout, report), report)
        else:
            import_id, end = _store(order, device, source, layout, report)
        file = ImportedFile(source.name, source.size, source.sha256, order.device_id, import_id, end.problem)
        if order.as_json:
            result(report_json(file, layout, report))
        else:
            print_report(file, layout, report)
        if end.problem:
            say(end.problem)
        raise typer.Exit(end.exit_code)


def _find_device(device_id: str) -> Device:
    from joulebook.web.devices.models import Device

    device = Device.objects.select_related("owner").filter(device_id=device_id).first()
    if device is None:
        fail(
            f"there is no device {device_id!r}; create it with: joulebook device add {device_id} --owner NAME"
        )
    return device


def _count(source: FileSource, layout: FileLayout, report: ImportReport) -> None:
    with _blocks(source, layout, report) as (blocks, show):
        count_blocks(blocks, report, after_block=show)


def _store(
    order: ImportOrder, device: Device, source: FileSource, layout: FileLayout, report: ImportReport
) -> tuple[int, _End]:
    """Store the file's readings and keep the record of the import; return its id and how it ended."""
    from joulebook.cli.import_record import finish_import, start_import

    config = Config.from_environ()
    user = find_user(order.user_name) if order.user_name else None
    with _writer_connection(config) as conn:
        record = start_import(device, user=user, file_name=source.name, profile=layout.profile)
        end = _End(EXIT_UNREADABLE, "ended by an error in Joulebook itself")

        def store() -> None:
            with _blocks(source, layout, report) as (blocks, show):
                store_blocks(
                    conn,
                    blocks,
                    report,
                    device_id=device.device_id,
                    values=layout.profile.values,
                    import_id=record.pk,
                    most_metrics=config.device_metrics,
                    after_block=show,
                )

        try:
            end = _ended(store, report)
        finally:
            finish_import(record, report, sha256=source.sha256, problem=end.problem)
    return record.pk, end


@contextmanager
def _writer_connection(config: Config) -> Iterator[Connection]:
    try:
        conn = connect(telemetry_url(config, "writer"))
    except DatabaseAway as exc:
        fail(f"the database of the readings does not answer; start it with: joulebook db start\n{exc}")
    with conn:
        yield conn


@contextmanager
def _blocks(
    source: FileSource, layout: FileLayout, report: ImportReport
) -> Iterator[tuple[Iterator[ParsedBlock], Callable[[], None]]]:
    """Read the file in a thread of its own; the callable shows how far the work has come."""
    now = int(time.time() * MICROSECONDS)
    blocks = read_ahead(parse_file(source, layout.profile, layout.columns, now=now))
    with closing(blocks), show_progress(source, report) as show:
        yield blocks, show


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _ended(work: Callable[[], None], report: ImportReport) -> _End:
    """Do the work and say how it ended; a polite request to end is taken like Ctrl-C."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        work()
    except KeyboardInterrupt:
        return _End(EXIT_STOPPED, f"stopped; {_STAYS}")
    except TelemetryError as exc:
        return _End(EXIT_UNREADABLE, f"{exc}\nThe import stopped here: {_STAYS}.")
    finally:
        signal.signal(signal.SIGTERM, before)
    return _End(EXIT_REFUSED if report.problem_count else 0)
