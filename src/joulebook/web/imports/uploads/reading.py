"""Uploads as files of readings: their layout, first rows and counts, within slots and processor time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.conf import settings

from joulebook.serving.work import is_client_gone
from joulebook.telemetry.files.budget import limited_work
from joulebook.telemetry.files.builtin import BuiltinProfile
from joulebook.telemetry.files.errors import UnreadableFile
from joulebook.telemetry.files.guess.chosen import choose_layout
from joulebook.telemetry.files.guess.layout import HEAD_BYTES, FileLayout
from joulebook.telemetry.files.guess.sample import guess_encoding
from joulebook.telemetry.files.preview import Preview, check_file, count_head, preview
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import shown
from joulebook.telemetry.readings import MICROSECONDS
from joulebook.web.imports.uploads.files import upload_path
from joulebook.web.slots import NoSlot, Slots

READ_AT_ONCE = 2
"""Slots for looking at files, and slots for reading whole files: each reading takes a thread and memory."""

WAIT_SECONDS = 30
LOOK_SECONDS = 20
"""Processor time for looking at a file; files of loggers take a second at most."""

_INFLATED_AT_ONCE = 16 << 20
_FIRST_LINES = 15
_FIRST_LINES_BYTES = 4096
_COUNTED_BYTES = 1 << 20

_slots = threading.BoundedSemaphore(READ_AT_ONCE)
_dry_run_slots = Slots(READ_AT_ONCE, per_person=1)


class TooManyFiles(Exception):
    """All slots are in use by other files; the message says to try again."""


class ReadableUpload:
    """An upload as a file of readings. Errors name it by its sender's name, without a path of this server."""

    def __init__(self, upload_name: str, *, name: str) -> None:
        """Open the upload, with `name` for messages. Raises `UnreadableFile`."""
        self.name = name
        self._source = FileSource(upload_path(upload_name), name=name)

    def sheets(self) -> Sequence[str]:
        """Return the names of the sheets, lists or tables to choose from. Raises `UnreadableFile`."""
        return self._source.sheets()

    def first_lines(self) -> Sequence[str]:
        """Return the first lines, in the likeliest encoding. Raises `UnreadableFile`."""
        head = self._first_file().head(_FIRST_LINES_BYTES)
        encoding, _ = guess_encoding(head, is_whole=False)
        return [shown(line) for line in head.decode(encoding, "replace").splitlines()[:_FIRST_LINES]]

    def check(self) -> None:
        """Unpack the beginning, and check the inflated size. Raises `UnreadableFile` and `FileTooLarge`."""
        try:
            if not self._source.members:
                self._source.head(_FIRST_LINES_BYTES)
        except UnreadableFile as exc:
            # A draft asks which of several lists is read.
            if exc.setting != "sheet":
                raise
        self.check_inflated_size()

    def check_inflated_size(self) -> None:
        """Raise `FileTooLarge` if it inflates to more than the limit for files of readings.

        A file large before inflation is not unpacked here; its import checks it.
        """
        # An archive with several files states what each unpacks to.
        is_checked_here = self._source.is_compressed and not self._source.members
        if is_checked_here and self._source.size <= _INFLATED_AT_ONCE:
            for _ in self._source.content_chunks():
                pass

    def layout(
        self, given: Given, *, profile: ImportProfile | BuiltinProfile | None, device_tz: str
    ) -> FileLayout:
        """Return its layout, with open questions. Raises `FileError`."""
        return choose_layout(self._source, given, profile=profile, device_tz=device_tz)

    def first_rows(self, layout: FileLayout) -> Preview:
        """Return the first rows with their readings. Raises `FileError`."""
        source, profile = self._first_of(layout)
        head = source.head(HEAD_BYTES)
        is_whole = len(head) < HEAD_BYTES
        return preview(head, profile, layout.columns, is_whole=is_whole, now=_now())

    def count_head(self, layout: FileLayout) -> tuple[ImportReport, bool]:
        """Return the report of the first MiB, and whether this is the whole file. Raises `FileError`."""
        source, profile = self._first_of(layout)
        head = source.head(_COUNTED_BYTES)
        is_whole = len(head) < _COUNTED_BYTES
        report = count_head(head, profile, layout.columns, is_whole=is_whole, now=_now())
        return report, is_whole and not layout.members

    def _first_file(self) -> FileSource:
        return self._source.member(min(self._source.members)) if self._source.members else self._source

    def _first_of(self, layout: FileLayout) -> tuple[FileSource, ImportProfile]:
        """Return the first file that is read, and its profile."""
        self._source.sheet = layout.profile.sheet
        for member in layout.members:
            if not member.problem:
                return self._source.member(member.name), member.applied_to(layout.profile)
        return self._source, layout.profile

    def count(self, layout: FileLayout) -> ImportReport:
        """Read the whole file, store nothing, and return the report. Raises `FileError`."""
        self._source.sheet = layout.profile.sheet
        return check_file(self._source, layout.profile, layout.columns, layout.members, now=_now())


@contextmanager
def reading_slot() -> Iterator[None]:
    """Wait for a slot to look at a file; raises `TooManyFiles` after `WAIT_SECONDS`.

    In the block, reading raises `TooMuchWork` after its processor time, and `ReadingAbandoned` after the
    client has closed its connection.
    """
    if not _slots.acquire(timeout=WAIT_SECONDS):
        raise TooManyFiles("other files are being read; try again soon")
    try:
        with limited_work(LOOK_SECONDS, is_wanted=_is_client_waiting):
            yield
    finally:
        _slots.release()


@contextmanager
def dry_run_slot(person: int) -> Iterator[None]:
    """Take a slot to read a whole file; raises `TooManyFiles` at once if none is free.

    Such a reading may take minutes; meanwhile other users can still look at their files.
    """
    try:
        _dry_run_slots.take(person)
    except NoSlot as exc:
        raise TooManyFiles(f"other files are being read: {exc}") from exc
    try:
        with limited_work(settings.CONFIG.dry_run_seconds, is_wanted=_is_client_waiting):
            yield
    finally:
        _dry_run_slots.release(person)


def _is_client_waiting() -> bool:
    return not is_client_gone()


def _now() -> int:
    return int(time.time() * MICROSECONDS)
