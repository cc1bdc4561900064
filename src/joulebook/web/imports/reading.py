"""Uploads as files of readings: what they would give, in messages that call them as their senders do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from django.conf import settings

from joulebook.serving.work import is_client_gone
from joulebook.telemetry.files.budget import limited_work
from joulebook.telemetry.files.builtin import BuiltinProfile
from joulebook.telemetry.files.guess.chosen import choose_layout
from joulebook.telemetry.files.guess.layout import HEAD_BYTES, FileLayout
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.preview import Preview, preview
from joulebook.telemetry.files.profile import Given, ImportProfile
from joulebook.telemetry.files.read_ahead import read_ahead
from joulebook.telemetry.files.report import ImportReport, count_blocks
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.readings import MICROSECONDS
from joulebook.web.imports.uploads.files import Upload, upload_path
from joulebook.web.slots import NoSlot, Slots

READ_AT_ONCE = 2
"""Files that are looked at, and others that are read through, at one time: each takes a thread and memory."""

WAIT_SECONDS = 30
LOOK_SECONDS = 20
"""Processor time for looking at a file; files of loggers take a second at most."""

_INFLATED_AT_ONCE = 16 << 20

_places = threading.BoundedSemaphore(READ_AT_ONCE)
_long_slots = Slots(READ_AT_ONCE, per_person=1)


class TooManyFiles(Exception):
    """Others' files are being looked at; try again soon."""


class UploadedFile:
    """An upload that can be read; errors of reading it name it as its sender does, and no path of ours."""

    def __init__(self, upload: Upload, *, name: str) -> None:
        """Check that it can be read. Raises `UnreadableFile`."""
        self.name = name
        self._source = FileSource(upload_path(upload.name), name=name)

    @property
    def is_workbook(self) -> bool:
        """Whether the file has sheets."""
        return self._source.is_workbook

    def layout(
        self, given: Given, *, profile: ImportProfile | BuiltinProfile | None, device_tz: str, sheet: str
    ) -> FileLayout:
        """Return how it is read, with the questions that it leaves open. Raises `FileError`."""
        return choose_layout(self._source, given, profile=profile, device_tz=device_tz, sheet=sheet)

    def check_size_inflated(self) -> None:
        """Raise `FileTooLarge` where it swells to more than a file of readings does.

        One that is large as it is stored is not unpacked for that; whoever imports it will see.
        """
        if self._source.is_compressed and self._source.size <= _INFLATED_AT_ONCE:
            for _ in self._source.chunks():
                pass

    def first_rows(self, layout: FileLayout) -> Preview:
        """Return the first rows as they would be read. Raises `FileError`."""
        head = self._source.head(HEAD_BYTES)
        is_whole = len(head) < HEAD_BYTES
        return preview(head, layout.profile, layout.columns, is_whole=is_whole, now=_now())

    def count(self, layout: FileLayout) -> ImportReport:
        """Read all of it, store nothing, and return the account. Raises `FileError`."""
        report = ImportReport(layout.profile.values, is_dry_run=True)
        blocks = read_ahead(parse_file(self._source, layout.profile, layout.columns, now=_now()))
        with closing(blocks):
            count_blocks(blocks, report)
        return report


@contextmanager
def a_place() -> Iterator[None]:
    """Wait for one of the places to look at files in; raises `TooManyFiles` where none becomes free.

    In the place, reading raises `TooMuchWork` when it has taken its processor time, and `ReadingAbandoned`
    when the client has gone.
    """
    if not _places.acquire(timeout=WAIT_SECONDS):
        raise TooManyFiles("other files are being read; try again soon")
    try:
        with limited_work(LOOK_SECONDS, is_wanted=_client_waits):
            yield
    finally:
        _places.release()


@contextmanager
def long_slot(person: int) -> Iterator[None]:
    """Take a slot to read a file through; raises `TooManyFiles` at once where none is free.

    That may take minutes, in which others' files are looked at all the same.
    """
    try:
        _long_slots.take(person)
    except NoSlot as exc:
        raise TooManyFiles(f"other files are being read: {exc}") from exc
    try:
        with limited_work(settings.CONFIG.dry_run_seconds, is_wanted=_client_waits):
            yield
    finally:
        _long_slots.release(person)


def _client_waits() -> bool:
    return not is_client_gone()


def _now() -> int:
    return int(time.time() * MICROSECONDS)
