"""Carries out one `joulebook import`: file and device in, readings stored, record kept, report printed."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from joulebook.cli.django_setup import accounts_database
from joulebook.cli.imports.files import layout_of, option_words, rejected_writer, save_profile
from joulebook.cli.imports.order import (
    EXIT_REFUSED,
    EXIT_STOPPED,
    EXIT_UNREADABLE,
    Imported,
    ImportOrder,
    UnableToBegin,
)
from joulebook.cli.imports.progress import show_progress
from joulebook.cli.imports.report import ImportedFile, print_report
from joulebook.cli.output import fail, result, say
from joulebook.telemetry.errors import TelemetryError
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.rejected import RejectedWriter
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import Problem
from joulebook.telemetry.imports.run import check_file
from joulebook.telemetry.readings import MICROSECONDS

if TYPE_CHECKING:
    from joulebook.web.devices.models import Device


def run_import(order: ImportOrder) -> None:
    """Import a file as ordered, print its report, and end the command with the fitting exit code."""
    with accounts_database():
        try:
            imported = import_one(order)
        except UnableToBegin as exc:
            fail(str(exc))
        if order.as_json:
            result(imported.as_json())
        elif imported.earlier is None:
            print_report(imported.file, imported.layout, imported.report)
        if imported.problem:
            say(imported.problem)
        raise typer.Exit(imported.exit_code)


def import_one(order: ImportOrder) -> Imported:
    """Import a file as ordered and return what came of it, with the accounts database at hand.

    Raises `UnableToBegin`, `FileError` where the file cannot be read at all or in more ways than one, and
    `DatabaseUnavailable` where the database of the readings does not answer before the import has begun.
    """
    device = find_device(order.device_id)
    source = FileSource(order.path, sheet=order.sheet)
    layout = layout_of(source, order.given, profile=order.profile, device=device, sheet=order.sheet)
    for question in layout.questions:
        if question.setting == "time_marks":
            say(question.said(option_words))
    for other in {value.device for value in layout.profile.values} - {""}:
        find_device(other)
    if order.save_profile is not None:
        save_profile(layout.profile, order.save_profile)
    if not order.is_dry_run and not order.is_forced:
        earlier = _imported_before(order, device, source, layout)
        if earlier is not None:
            return earlier
    with rejected_writer(order.rejected) as writer:
        if order.is_dry_run:
            return _count(order, source, layout, writer)
        # The models of the accounts want Django set up.
        from joulebook.cli.imports.storing import store

        return store(order, device, source, layout, writer)


def find_device(device_id: str) -> Device:
    """Return a device; raises `UnableToBegin`."""
    from joulebook.web.devices.models import Device

    device = Device.objects.select_related("owner").filter(device_id=device_id).first()
    if device is None:
        raise UnableToBegin(
            f"there is no device {device_id!r}; create it with: joulebook device add {device_id} --owner NAME"
        )
    return device


@contextmanager
def interruptible() -> Iterator[None]:
    """Take a polite request to end like Ctrl-C."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _imported_before(
    order: ImportOrder, device: Device, source: FileSource, layout: FileLayout
) -> Imported | None:
    from joulebook.cli.imports.record import earlier_import

    earlier = earlier_import(order, device, source, layout)
    if earlier is None:
        return None
    say(
        f"{source.name} is import {earlier.pk} of {earlier.created_at:%Y-%m-%d %H:%M} UTC already, read the "
        "same way; nothing was read again. To import it nevertheless, which is harmless, say --force"
    )
    file = ImportedFile(source.name, source.size, earlier.file_sha256, order.device_id, earlier.pk, "")
    report = ImportReport(layout.profile.values, is_dry_run=False)
    return Imported(0, "", file, layout, report, earlier=earlier.pk)


def _count(
    order: ImportOrder, source: FileSource, layout: FileLayout, writer: RejectedWriter | None
) -> Imported:
    """Read the file, and store nothing."""
    report = ImportReport(layout.profile.values, is_dry_run=True)

    def count(show: Callable[[ImportReport], None]) -> None:
        nonlocal report

        def on_block(so_far: ImportReport, problems: list[Problem]) -> None:
            nonlocal report
            report = so_far
            if writer is not None:
                writer.add(problems)
            show(so_far)

        now = int(time.time() * MICROSECONDS)
        report = check_file(source, layout.profile, layout.columns, now=now, on_block=on_block)

    exit_code, problem = 0, ""
    try:
        with interruptible(), show_progress(source) as show:
            count(show)
    except KeyboardInterrupt:
        exit_code, problem = EXIT_STOPPED, "stopped; nothing was stored"
    except TelemetryError as exc:
        exit_code, problem = EXIT_UNREADABLE, str(exc)
    else:
        exit_code = EXIT_REFUSED if report.problem_count else 0
    file = ImportedFile(source.name, source.size, source.sha256, order.device_id, None, problem)
    return Imported(exit_code, problem, file, layout, report)
