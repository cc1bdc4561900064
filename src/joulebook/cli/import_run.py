"""Carries out one `joulebook import`: file and device in, readings stored, record kept, report printed."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from joulebook.cli.accounts_database import accounts_database
from joulebook.cli.import_files import layout_of, rejected_writer, save_profile
from joulebook.cli.import_progress import show_progress
from joulebook.cli.import_report import ImportedFile, print_report, report_json
from joulebook.cli.output import fail, result, say
from joulebook.cli.user import find_user
from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.errors import DatabaseAway, TelemetryError
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.importer import store_blocks
from joulebook.telemetry.files.parsed import MOST_PROBLEMS, ParsedBlock
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.profile import Given
from joulebook.telemetry.files.read_ahead import read_ahead
from joulebook.telemetry.files.rejected import RejectedWriter
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
    sheet: str = ""
    profile: str | None = None
    """The name of a built-in profile, or the path of a saved one."""
    save_profile: Path | None = None
    rejected: Path | None = None
    is_strict: bool = False


@dataclass(frozen=True)
class _End:
    """How a run ended: the exit code, and what kept it from the file's end, if anything."""

    exit_code: int
    problem: str = ""


def run_import(order: ImportOrder) -> None:
    """Import a file as ordered, print its report, and end the command with the fitting exit code."""
    with accounts_database():
        device = _find_device(order.device_id)
        source = FileSource(order.path, sheet=order.sheet)
        layout = layout_of(
            source, order.given, profile=order.profile, device_tz=device.time_zone, sheet=order.sheet
        )
        for question in layout.questions:
            if question.setting == "time_marks":
                say(question.text)
        for other in {value.device for value in layout.profile.values} - {""}:
            _find_device(other)
        if order.save_profile is not None:
            save_profile(layout.profile, order.save_profile)
        with rejected_writer(order.rejected) as writer:
            run = _Run(order, device, source, layout, writer)
            end, import_id, report = run.carry_out()
        is_refused = order.is_strict and not order.is_dry_run and report.is_dry_run
        file = ImportedFile(
            source.name, source.size, source.sha256, order.device_id, import_id, end.problem, is_refused
        )
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


@dataclass(frozen=True)
class _Run:
    """One run over a file: counted in a dry run, or where `--strict` finds something, and else stored."""

    order: ImportOrder
    device: Device
    source: FileSource
    layout: FileLayout
    writer: RejectedWriter | None

    def carry_out(self) -> tuple[_End, int | None, ImportReport]:
        """Return how the run ended, the id of the import where one was recorded, and the report."""
        if not self.order.is_dry_run and not self.order.is_strict:
            return self._store()
        report = self._report(is_dry_run=True, writes=True)
        end = _ended(lambda: self._count(report), report)
        if self.order.is_dry_run or end.problem or report.problem_count:
            return end, None, report
        return self._store()

    def _report(self, *, is_dry_run: bool, writes: bool) -> ImportReport:
        sink = self.writer.add if writes and self.writer is not None else None
        return ImportReport(self.layout.profile.values, is_dry_run=is_dry_run, on_problems=sink)

    def _count(self, report: ImportReport) -> None:
        with self._blocks(report) as (blocks, show):
            count_blocks(blocks, report, after_block=show)

    def _store(self) -> tuple[_End, int, ImportReport]:
        """Store the file's readings and keep the record of the import."""
        from joulebook.cli.import_record import finish_import, start_import

        report = self._report(is_dry_run=False, writes=True)
        config = Config.from_environ()
        user = find_user(self.order.user_name) if self.order.user_name else None
        with _writer_connection(config) as conn:
            record = start_import(
                self.device, user=user, file_name=self.source.name, profile=self.layout.profile
            )
            end = _End(EXIT_UNREADABLE, "ended by an error in Joulebook itself")

            def store() -> None:
                with self._blocks(report) as (blocks, show):
                    store_blocks(
                        conn,
                        blocks,
                        report,
                        device_id=self.device.device_id,
                        values=self.layout.profile.values,
                        import_id=record.pk,
                        most_metrics=config.device_metrics,
                        after_block=show,
                    )

            try:
                end = _ended(store, report)
            finally:
                finish_import(record, report, sha256=self.source.sha256, problem=end.problem)
        return end, record.pk, report

    @contextmanager
    def _blocks(self, report: ImportReport) -> Iterator[tuple[Iterator[ParsedBlock], Callable[[], None]]]:
        """Read the file in a thread of its own; the callable shows how far the work has come."""
        now = int(time.time() * MICROSECONDS)
        most = MOST_PROBLEMS if self.writer is None else sys.maxsize
        blocks = read_ahead(
            parse_file(self.source, self.layout.profile, self.layout.columns, now=now, most_problems=most)
        )
        with closing(blocks), show_progress(self.source, report) as show:
            yield blocks, show


@contextmanager
def _writer_connection(config: Config) -> Iterator[Connection]:
    try:
        conn = connect(telemetry_url(config, "writer"))
    except DatabaseAway as exc:
        fail(f"the database of the readings does not answer; start it with: joulebook db start\n{exc}")
    with conn:
        yield conn


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
