"""Stores a file from the command line, block by block, and keeps the record of it as a worker does."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from django.db import DatabaseError

from joulebook.cli.imports.order import EXIT_REFUSED, EXIT_STOPPED, EXIT_UNREADABLE, Imported, ImportOrder
from joulebook.cli.imports.progress import show_progress
from joulebook.cli.imports.record import finish, recorded
from joulebook.cli.imports.report import ImportedFile
from joulebook.cli.imports.run import interruptible
from joulebook.cli.output import say
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
from joulebook.web.imports.models import Import
from joulebook.worker.import_work import stored_report

State = Import.State

_STAYS = "what was stored until then stays, and importing the file again is harmless"
_ASK_SECONDS = 1.0


def store(
    order: ImportOrder, device: Device, source: FileSource, layout: FileLayout, writer: RejectedWriter | None
) -> Imported:
    """Store the file's readings, keep the record of the import, and write the rejected rows.

    Raises `DatabaseUnavailable` where the database of the readings does not answer.
    """
    config = Config.from_environ()
    # Where an interrupt comes in the middle of a command, psycopg warns of what the import sees to itself.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    user = find_user(order.user_name) if order.user_name else None
    with (
        _writer_connection(config) as conn,
        recorded(order, device, user=user, source=source, layout=layout, config=config) as record,
    ):
        run = _Storing(conn, order, source, layout, record, config=config)
        run.carry_out()
        finish(record, run.state, report=run.report, sha256=source.sha256, problem=run.problem)
        if writer is not None:
            _write_rejected(config, record, writer)
    is_refused = run.state == State.REFUSED
    file = ImportedFile(
        source.name, source.size, source.sha256, order.device_id, record.pk, run.problem, is_refused
    )
    # That a file is refused is in its report.
    problem = "" if is_refused else run.problem
    return Imported(run.exit_code, problem, file, layout, run.report, is_unavailable=run.is_unavailable)


class _Cancelled(Exception):
    """Somebody has cancelled the import, on its page or with the API."""


class _Storing:
    """One recorded import: its account so far, and how it ended."""

    def __init__(
        self,
        conn: Connection,
        order: ImportOrder,
        source: FileSource,
        layout: FileLayout,
        record: Import,
        *,
        config: Config,
    ) -> None:
        self._conn, self._order, self._source, self._layout = conn, order, source, layout
        self._record = record
        self._config = config
        self.report = self._empty_report()
        self.state, self.exit_code, self.problem = State.DONE, 0, ""
        self.is_unavailable = False

    def carry_out(self) -> None:
        """Check the file where that was ordered, and store it; an interrupted one ends in good order."""
        try:
            with interruptible():
                self._read()
        except KeyboardInterrupt:
            self._stop(EXIT_STOPPED, f"stopped; {_STAYS}")
        except _Cancelled:
            self._stop(EXIT_UNREADABLE, f"cancelled, on its page or with the API; {_STAYS}")
        except TelemetryError as exc:
            self.is_unavailable = isinstance(exc, DatabaseUnavailable)
            self.state, self.exit_code = State.FAILED, EXIT_UNREADABLE
            self.problem = f"{exc}\nThe import stopped here: {_STAYS}."
            self._count_again()

    def _read(self) -> None:
        place = (self._conn, self._source, self._layout.profile, self._layout.columns)
        number, lease, device_id = self._record.pk, self._record.lease, self._order.device_id
        now = int(time.time() * MICROSECONDS)
        if self._order.is_strict:
            self._steps(CheckRun(*place, import_id=number, lease=lease, device_id=device_id, now=now))
            if self.report.problem_count:
                self.state, self.exit_code = State.REFUSED, EXIT_REFUSED
                self.problem = f"{self.report.problem_count:,} problem(s) were found, so nothing was stored"
                return
        self._steps(
            ImportRun(
                *place, import_id=number, lease=lease, device_id=device_id, now=now,
                most_metrics=self._config.device_metrics, on_conflict=self._order.on_conflict,
            )
        )  # fmt: skip
        self.exit_code = EXIT_REFUSED if self.report.problem_count else 0

    def _steps(self, run: CheckRun | ImportRun) -> None:
        self.report = run.report
        asked = time.monotonic()
        with closing(run), show_progress(self._source) as show:
            while run.step():
                show(run.report)
                if time.monotonic() - asked > _ASK_SECONDS:
                    self._heed_others()
                    asked = time.monotonic()

    def _heed_others(self) -> None:
        try:
            standing = leases.standing(self._record)
        except DatabaseError:
            return  # The accounts are busy or unavailable: it asks again soon.
        if standing is leases.Standing.CANCELLING:
            raise _Cancelled
        if standing is leases.Standing.LOST:
            raise LeaseLost(self._record.pk, self._record.lease)

    def _stop(self, exit_code: int, problem: str) -> None:
        self.state, self.exit_code, self.problem = State.CANCELLED, exit_code, problem
        self._count_again()

    def _empty_report(self) -> ImportReport:
        return ImportReport(self._layout.profile.values, is_dry_run=False)

    def _count_again(self) -> None:
        """Take the account from the database: an interrupt, or a crash of it, may have come between."""
        self._conn.close()
        nothing = self.report if self.report.is_dry_run else self._empty_report()
        try:
            with _writer_connection(self._config) as conn:
                self.report = stored_report(conn, self._record) or nothing
        except DatabaseUnavailable as exc:
            say(f"the counts may be wrong by the last blocks: {exc}")


def _write_rejected(config: Config, record: Import, writer: RejectedWriter) -> None:
    try:
        with _writer_connection(config) as conn:
            for problem in read_problems(conn, record.pk):
                writer.add([problem])
    except DatabaseUnavailable as exc:
        say(f"not all rejected rows are written, for the database does not answer: {exc}")


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
