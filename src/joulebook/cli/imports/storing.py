"""Storing a file from the command line: block by block, recorded under a lease like a worker's import."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from django.contrib.auth.models import User
from django.db import DatabaseError
from django.utils import timezone

from joulebook.cli.imports.options import (
    EXIT_REFUSED,
    EXIT_STOPPED,
    EXIT_UNREADABLE,
    ImportOptions,
    ImportResult,
)
from joulebook.cli.imports.report import ImportedFile, show_progress
from joulebook.cli.output import say
from joulebook.cli.signals import interruptible
from joulebook.cli.user import find_user
from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.errors import DatabaseUnavailable, TelemetryError
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.rejected import RejectedWriter
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.imports.problems import read_problems
from joulebook.telemetry.imports.progress import LeaseLost
from joulebook.telemetry.imports.run import CheckRun, ImportRun
from joulebook.telemetry.readings import MICROSECONDS
from joulebook.web.devices.models import Device
from joulebook.web.imports import leases
from joulebook.web.imports.leases import LeaseState
from joulebook.web.imports.models import Import
from joulebook.web.imports.operations import printable_name
from joulebook.worker.heartbeat import Heartbeat
from joulebook.worker.import_steps import read_stored_report
from joulebook.worker.lock import WorkerLock

State = Import.State

_STAYS = "what was stored until then stays, and importing the file again is harmless"
_INTERNAL_ERROR = "ended by an error in Joulebook itself"
_LEASE_CHECK_SECONDS = 1.0


def store(
    options: ImportOptions,
    device: Device,
    source: FileSource,
    layout: FileLayout,
    writer: RejectedWriter | None,
) -> ImportResult:
    """Store the readings of a file, record the import, and write the rejected rows.

    Raises `DatabaseUnavailable` if the database of the readings does not answer.
    """
    config = Config.from_environ()
    # An interrupt in the middle of a statement makes psycopg log a warning; the import handles it itself.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    # The command reports the outcome to its user; the log lines of leases are for workers.
    logging.getLogger(leases.__name__).setLevel(logging.WARNING)
    user = find_user(options.user_name) if options.user_name else None
    with (
        _writer_connection(config) as conn,
        _recorded(options, device, user=user, source=source, layout=layout, config=config) as record,
    ):
        run = StoringRun(conn, options, source, layout, record, config=config)
        run.run()
        Import.objects.filter(pk=record.pk, lease=record.lease).update(file_sha256=source.sha256)
        record.file_sha256 = source.sha256
        leases.finish(record, run.state, report=run.report, problem=run.problem)
        # After a takeover another worker ends the import.
        record.state = run.state
        if writer is not None:
            try:
                with _writer_connection(config) as reader:
                    for each in read_problems(reader, record.pk):
                        writer.add([each])
            except DatabaseUnavailable as exc:
                say(f"some rejected rows are not written, because the database does not answer: {exc}")
    is_refused = run.state == State.REFUSED
    file = ImportedFile(
        source.name, source.size, source.sha256, options.device_id, record.pk, run.problem, is_refused
    )
    # The report itself says that a file is refused.
    problem = "" if is_refused else run.problem
    return ImportResult(run.exit_code, problem, file, layout, run.report, is_unavailable=run.is_unavailable)


@contextmanager
def _recorded(
    options: ImportOptions,
    device: Device,
    *,
    user: User | None,
    source: FileSource,
    layout: FileLayout,
    config: Config,
) -> Iterator[Import]:
    """Record a running import and renew its lease during the block; an exception ends it as failed.

    The record's key is the `import_id` of its readings. If the command is killed, the next worker ends it.
    """
    with WorkerLock(config.home) as lock, Heartbeat() as heartbeat:
        now = timezone.now()
        record = Import.objects.create(
            device=device,
            user=user,
            file_name=printable_name(source.name),
            file_size=source.size,
            profile=layout.profile.as_json(),
            columns=list(layout.columns),
            on_conflict=Import.OnConflict(options.on_conflict),
            is_strict=options.is_strict,
            state=State.RUNNING,
            lease=1,
            leased_by=lock.name,
            heartbeat_at=now,
            started_at=now,
        )
        named = {value.device for value in layout.profile.values} - {""}
        record.devices.set([device, *Device.objects.filter(device_id__in=named)])
        heartbeat.hold([record])
        try:
            yield record
        finally:
            heartbeat.hold([])
            if record.state == State.RUNNING:
                leases.finish(record, State.FAILED, problem=_INTERNAL_ERROR)


class _Cancelled(Exception):
    """The import was cancelled on its page or through the API."""


class StoringRun:
    """One recorded import: its report so far, and its outcome."""

    def __init__(
        self,
        conn: Connection,
        options: ImportOptions,
        source: FileSource,
        layout: FileLayout,
        record: Import,
        *,
        config: Config,
    ) -> None:
        self._conn, self._options, self._source, self._layout = conn, options, source, layout
        self._record = record
        self._config = config
        self.report = self._empty_report()
        self.state, self.exit_code, self.problem = State.DONE, 0, ""
        self.is_unavailable = False

    def run(self) -> None:
        """Check the file first with --strict, then store it; set the outcome, of an interrupted run too."""
        try:
            with interruptible():
                self._check_and_store()
        except KeyboardInterrupt:
            self._stop(EXIT_STOPPED, f"stopped; {_STAYS}")
        except _Cancelled:
            self._stop(EXIT_UNREADABLE, f"cancelled, on its page or with the API; {_STAYS}")
        except TelemetryError as exc:
            self.is_unavailable = isinstance(exc, DatabaseUnavailable)
            self.state, self.exit_code = State.FAILED, EXIT_UNREADABLE
            self.problem = f"{exc}\nThe import stopped here: {_STAYS}."
            self._reload_report()

    def _check_and_store(self) -> None:
        file = (self._conn, self._source, self._layout.profile, self._layout.columns)
        number, lease, device_id = self._record.pk, self._record.lease, self._options.device_id
        now = int(time.time() * MICROSECONDS)
        if self._options.is_strict:
            self._run_steps(CheckRun(*file, import_id=number, lease=lease, device_id=device_id, now=now))
            if self.report.problem_count:
                self.state, self.exit_code = State.REFUSED, EXIT_REFUSED
                self.problem = f"{self.report.problem_count:,} problem(s) were found, so nothing was stored"
                return
        self._run_steps(
            ImportRun(
                *file, import_id=number, lease=lease, device_id=device_id, now=now,
                most_metrics=self._config.device_metrics, on_conflict=self._options.on_conflict,
            )
        )  # fmt: skip
        self.exit_code = EXIT_REFUSED if self.report.problem_count else 0

    def _run_steps(self, run: CheckRun | ImportRun) -> None:
        self.report = run.report
        checked = time.monotonic()
        with closing(run), show_progress(self._source) as show:
            while run.step():
                show(run.report)
                if time.monotonic() - checked <= _LEASE_CHECK_SECONDS:
                    continue
                try:
                    found = leases.lease_state(self._record)
                except DatabaseError:
                    found = None  # The accounts database is busy or unavailable: the next check follows soon.
                if found is LeaseState.CANCELLING:
                    raise _Cancelled
                if found is LeaseState.LOST:
                    raise LeaseLost(self._record.pk, self._record.lease)
                checked = time.monotonic()

    def _stop(self, exit_code: int, problem: str) -> None:
        self.state, self.exit_code, self.problem = State.CANCELLED, exit_code, problem
        self._reload_report()

    def _empty_report(self) -> ImportReport:
        return ImportReport(self._layout.profile.values, is_dry_run=False)

    def _reload_report(self) -> None:
        """Read the report from the database: the last block may be missing there, or in this process."""
        self._conn.close()
        nothing = self.report if self.report.is_dry_run else self._empty_report()
        try:
            with _writer_connection(self._config) as conn:
                self.report = read_stored_report(conn, self._record) or nothing
        except DatabaseUnavailable as exc:
            say(f"the counts may miss the last blocks: {exc}")


@contextmanager
def _writer_connection(config: Config) -> Iterator[Connection]:
    try:
        conn = connect(telemetry_url(config, "writer"))
    except DatabaseUnavailable as exc:
        raise DatabaseUnavailable(
            f"the database of the readings does not answer; start it with: joulebook db start\n{exc}"
        ) from exc
    with conn:
        yield conn
