"""Runs one `joulebook import`: stores the readings of a file or only counts them, and prints the report.

The caller must set up Django.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from joulebook.cli.imports.options import (
    EXIT_REFUSED,
    EXIT_STOPPED,
    EXIT_UNREADABLE,
    ImportOptions,
    ImportResult,
    UnableToBegin,
)
from joulebook.cli.imports.report import ImportedFile, option_words, print_report, show_progress
from joulebook.cli.imports.storing import store
from joulebook.cli.output import fail, result, say
from joulebook.cli.signals import interruptible
from joulebook.telemetry.errors import TelemetryError
from joulebook.telemetry.files.builtin import BuiltinProfile
from joulebook.telemetry.files.errors import FileError, UnusableProfile
from joulebook.telemetry.files.guess.chosen import choose_layout
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.preview import check_file
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.rejected import RejectedWriter
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import Problem
from joulebook.telemetry.readings import MICROSECONDS
from joulebook.web.devices.models import Device
from joulebook.web.imports.models import Import
from joulebook.web.imports.profiles import find_profile
from joulebook.web.imports.queries import find_earlier

_LARGEST_PROFILE = 4 << 20


def import_and_report(options: ImportOptions) -> None:
    """Import a file, print its report, and end the command with its exit code."""
    try:
        imported = import_one(options)
    except UnableToBegin as exc:
        fail(str(exc))
    if options.as_json:
        result(imported.as_json())
    elif imported.earlier is None:
        print_report(imported.file, imported.layout, imported.report)
    if imported.problem:
        say(imported.problem)
    raise typer.Exit(imported.exit_code)


def import_one(options: ImportOptions) -> ImportResult:
    """Import one file, or with --dry-run only read it; return the report and the exit code.

    Nothing is stored if the same file was imported before with the same settings, unless with --force. Raises
    `UnableToBegin`, `FileError` if the file cannot be read or can be read in several ways, OSError if the
    file is missing later, and `DatabaseUnavailable` if the database of the readings does not answer before
    the import begins. Ends the command if the profile or the rejected rows cannot be written.
    """
    device = find_device(options.device_id)
    source = FileSource(options.path)
    layout = _choose_layout(source, options, device)
    for question in layout.questions:
        if question.setting in {"time_marks", "amounts"}:
            say(question.said(option_words))
    for other in {value.device for value in layout.profile.values} - {""}:
        find_device(other)
    if options.save_profile is not None:
        path = options.save_profile
        # A profile without a name gets the file's.
        named = dataclasses.replace(layout.profile, name=layout.profile.name or path.stem)
        try:
            path.write_text(
                json.dumps(named.as_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
            )
        except OSError as exc:
            fail(f"the profile cannot be written to {path}: {exc.strerror}")
    if not options.is_dry_run and not options.is_forced:
        earlier = _find_earlier_import(options, device, source, layout)
        if earlier is not None:
            return earlier
    with _rejected_writer(options.rejected) as writer:
        if options.is_dry_run:
            return _count(options, source, layout, writer)
        return store(options, device, source, layout, writer)


def find_device(device_id: str) -> Device:
    """Return the device with this id, and its owner. Raises `UnableToBegin` if there is none."""
    device = Device.objects.select_related("owner").filter(device_id=device_id).first()
    if device is None:
        raise UnableToBegin(
            f"there is no device {device_id!r}; create it with: joulebook device add {device_id} --owner NAME"
        )
    return device


def _choose_layout(source: FileSource, options: ImportOptions, device: Device) -> FileLayout:
    """Return how to read the file: by a saved profile, else guessed, perhaps from a built-in profile.

    Raises `UnclearFile` if a person must decide first, other `FileError`s of the guess, and
    `UnusableProfile`. Messages name settings as the command's options.
    """
    profile: ImportProfile | BuiltinProfile | None = None
    if options.profile is not None:
        try:
            profile = find_profile(device.owner, options.profile)
        except UnusableProfile as exc:
            if not Path(options.profile).exists():
                raise UnusableProfile(f"{exc}, and no file of that name") from exc
            profile = load_profile(Path(options.profile))
    try:
        layout = choose_layout(source, options.given, profile=profile, device_tz=device.time_zone)
        layout.require_answers()
    except FileError as exc:
        raise type(exc)(exc.said(option_words), setting=exc.setting) from exc
    return layout


def load_profile(path: Path) -> ImportProfile:
    """Read a profile from a JSON file. Raises `UnusableProfile`."""
    try:
        if path.stat().st_size > _LARGEST_PROFILE:
            raise UnusableProfile(f"{path} is too large for a profile; is it the file to be imported?")
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise UnusableProfile(f"{path} cannot be read as a profile: {str(exc)[:200]}") from exc
    return ImportProfile.from_json(stored)


@contextmanager
def _rejected_writer(path: Path | None) -> Iterator[RejectedWriter | None]:
    """Open the file of --rejected; None without that option."""
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8", newline="")
    except OSError as exc:
        fail(f"the rejected rows cannot be written to {path}: {exc.strerror}")
    with file:
        yield RejectedWriter(file)


def _find_earlier_import(
    options: ImportOptions, device: Device, source: FileSource, layout: FileLayout
) -> ImportResult | None:
    """Return the result of an earlier import of the same bytes, for this device and with the same settings.

    Returns None if there is none. The whole file is read only if an import of its size, or of unknown size,
    exists. Raises OSError.
    """
    if not Import.objects.filter(device=device, file_size__in=(0, source.size)).exists():
        return None
    earlier = find_earlier(
        Import(device=device, file_sha256=source.digest(), profile=layout.profile.as_json())
    )
    if earlier is None:
        return None
    say(
        f"{source.name} is import {earlier.pk} of {earlier.created_at:%Y-%m-%d %H:%M} UTC already, read with "
        "the same settings; nothing was read again. To import it again, which is harmless, use --force"
    )
    imported = ImportedFile(source.name, source.size, earlier.file_sha256, options.device_id, earlier.pk, "")
    report = ImportReport(layout.profile.values, is_dry_run=False)
    return ImportResult(0, "", imported, layout, report, earlier=earlier.pk)


def _count(
    options: ImportOptions, source: FileSource, layout: FileLayout, writer: RejectedWriter | None
) -> ImportResult:
    """Return the result of a dry run: read the whole file, count its readings and store nothing."""
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
        report = check_file(
            source,
            layout.profile,
            layout.columns,
            layout.members,
            now=now,
            most_problems=sys.maxsize,
            on_block=on_block,
        )

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
    file = ImportedFile(source.name, source.size, source.sha256, options.device_id, None, problem)
    return ImportResult(exit_code, problem, file, layout, report)
