"""Storing a file from the command line: recorded under a lease, and run like a worker's import."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import cast

from django.contrib.auth.models import User
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
from joulebook.logs import quieted
from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.errors import DatabaseUnavailable, TelemetryError
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.rejected import RejectedWriter
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.imports.problems import read_problems
from joulebook.web.devices.models import Device
from joulebook.web.imports import leases
from joulebook.web.imports.models import Import
from joulebook.web.imports.operations import printable_name
from joulebook.worker.heartbeat import Heartbeat
from joulebook.worker.import_runner import STAYS, Ending, ImportRunner
from joulebook.worker.lock import WorkerLock

State = Import.State

_INTERNAL_ERROR = "ended by an error in Joulebook itself"


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
    user = find_user(options.user_name) if options.user_name else None
    with (
        # An interrupt in the middle of a statement makes psycopg log a warning; the import handles it itself.
        quieted("psycopg", level=logging.ERROR),
        # The command reports the outcome to its user; the log lines of leases are for workers.
        quieted("joulebook.web"),
        _writer_connection(config) as conn,
        _recorded(options, device, user=user, source=source, layout=layout, config=config) as record,
    ):
        runner = ImportRunner(conn, record, most_metrics=config.device_metrics, source=source)
        failure = _run(runner, source)
        ending = runner.ending or Ending(State.DONE)
        if failure is not None:
            _reload_report(runner, conn, config)
            ending = _ending_of(failure)
        elif ending.state == State.CANCELLED:
            ending = Ending(ending.state, f"cancelled, on its page or with the API; {STAYS}")
        runner.end(ending)
        # After a takeover another worker ends the import.
        record.state = ending.state
        if writer is not None:
            try:
                with _writer_connection(config) as reader:
                    for each in read_problems(reader, record.pk):
                        writer.add([each])
            except DatabaseUnavailable as exc:
                say(f"some rejected rows are not written, because the database does not answer: {exc}")
    report = runner.report or ImportReport(layout.profile.values, is_dry_run=False)
    is_refused = ending.state == State.REFUSED
    file = ImportedFile(
        source.name, source.size, source.sha256, options.device_id, record.pk, ending.problem, is_refused
    )
    exit_code = EXIT_UNREADABLE
    if ending.state in (State.DONE, State.REFUSED):
        exit_code = EXIT_REFUSED if report.problem_count else 0
    elif isinstance(failure, KeyboardInterrupt):
        exit_code = EXIT_STOPPED
    # The report itself says that a file is refused.
    problem = "" if is_refused else ending.problem
    is_unavailable = isinstance(failure, DatabaseUnavailable)
    return ImportResult(exit_code, problem, file, layout, report, is_unavailable=is_unavailable)


def _run(runner: ImportRunner, source: FileSource) -> KeyboardInterrupt | TelemetryError | None:
    """Run the import and set its ending; return what interrupted it, if anything did."""
    try:
        with interruptible(), closing(runner.run()) as steps, show_progress(source) as show:
            while True:
                try:
                    next(steps)
                except StopIteration as exc:
                    runner.ending = cast("Ending", exc.value)
                    return None
                if runner.report is not None:
                    show(runner.report)
    except (KeyboardInterrupt, TelemetryError) as exc:
        return exc


def _ending_of(failure: KeyboardInterrupt | TelemetryError) -> Ending:
    if isinstance(failure, KeyboardInterrupt):
        return Ending(State.CANCELLED, f"stopped; {STAYS}")
    return Ending(State.FAILED, f"{failure}\nThe import stopped here: {STAYS}.")


def _reload_report(runner: ImportRunner, conn: Connection, config: Config) -> None:
    """Read the report from the database: the last block may be missing there, or in this process."""
    conn.close()
    try:
        with _writer_connection(config) as reader:
            runner.reload_report(reader)
    except DatabaseUnavailable as exc:
        say(f"the counts may miss the last blocks: {exc}")


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
            files=[member.as_json() for member in layout.members],
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
