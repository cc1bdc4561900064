"""The preview of a draft: its layout by the entry so far, open questions, and the first rows as a table.

The file is read again for each preview; nothing is stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from functools import lru_cache
from typing import Any

from django.contrib.auth.models import User

from joulebook.telemetry.files.builtin import BUILTIN, BuiltinProfile
from joulebook.telemetry.files.errors import FileError, UnreadableFile
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.guess.questions import Question
from joulebook.telemetry.files.members import Member
from joulebook.telemetry.files.preview import Preview, PreviewRow
from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.readings import from_microseconds
from joulebook.time_zones import ZoneInfo
from joulebook.web.accounts.operations import profile_of
from joulebook.web.devices.models import Device
from joulebook.web.imports.models import Import
from joulebook.web.imports.operations import ImportOrder
from joulebook.web.imports.pages.entry import (
    BadEntry,
    DraftEntry,
    MappingRow,
    mapped_profile,
    mapping_rows,
)
from joulebook.web.imports.pages.words import on_page, problem_words
from joulebook.web.imports.profiles import find_profile
from joulebook.web.imports.uploads.files import upload_path
from joulebook.web.imports.uploads.reading import ReadableUpload, reading_slot

MOST_LISTED = 1000
"""Columns or keys listed on a page; further ones are imported as guessed."""

_ON_THE_PAGE_ANYWAY = frozenset({"tz", "mapping"})
"""Settings on the page in any case, the time zone and the table of columns: asked only if they must be."""

_READINGS_IN_A_CELL = 4


@dataclass(frozen=True)
class AskedQuestion:
    """A question about the file with the chosen answer ("" for none), under a name of its own in the form."""

    name: str
    question: Question
    answer: str

    @property
    def is_open(self) -> bool:
        """Whether the import waits for an answer."""
        return self.question.is_required and not self.answer


@dataclass
class DraftReading:
    """A draft as it is read now: layout, questions and first rows; or the problem with reading it.

    `profile` is the layout's with the entered mapping. `head` is the report of the beginning of the file,
    `is_whole` whether this is the whole file.
    """

    entry: DraftEntry
    devices: Sequence[Device]
    device: Device | None
    tz: str
    sheets: Sequence[str] = ()
    layout: FileLayout | None = None
    problem: str = ""
    asked: list[AskedQuestion] = field(default_factory=list)
    rows: list[MappingRow] = field(default_factory=list)
    profile: ImportProfile | None = None
    table: PreviewTable | None = None
    head: ImportReport | None = None
    is_whole: bool = False
    first_lines: Sequence[str] = ()
    """The first lines of a file that cannot be read."""

    @property
    def listed_rows(self) -> Sequence[MappingRow]:
        """The columns or keys listed on the page."""
        return self.rows[:MOST_LISTED]

    @property
    def more_rows(self) -> int:
        """The number of columns or keys beyond the list."""
        return max(0, len(self.rows) - MOST_LISTED)

    @property
    def hidden_fields(self) -> list[tuple[str, str]]:
        """The entered fields not on the page now."""
        shown = {each.name for each in self.asked}
        return self.entry.hidden_fields(with_rows=not self.rows, shown_questions=shown)

    @property
    def refused_rows(self) -> int:
        """The number of rejected rows in the beginning of the file."""
        return 0 if self.head is None else self.head.rows_rejected.total()

    @property
    def files_read(self) -> int:
        """The number of files in an import with several, without those left out."""
        return len(self.layout.members) - len(self.left_out) if self.layout is not None else 0

    @property
    def left_out(self) -> list[Member]:
        """The files left out of an import with several."""
        return [each for each in self.layout.members if each.problem] if self.layout is not None else []

    @property
    def obstacles(self) -> list[str]:
        """The steps left for the user before the file can be imported."""
        if self.problem:
            return ["It cannot be read like this; see above."]
        found = []
        if self.device is None:
            found.append("Choose the device of these readings.")
        if any(each.is_open for each in self.asked):
            found.append("Answer the open questions about the file.")
        if any(row.problem for row in self.rows):
            found.append("Fix the marked rows in the table of columns.")
        if not any(row.is_on for row in self.rows):
            found.append("Choose at least one column to import.")
        return found

    def order(self) -> ImportOrder | None:
        """Return the order to import the file as it is read now; None with obstacles."""
        if self.obstacles or self.profile is None or self.layout is None or self.device is None:
            return None
        return ImportOrder(
            self.profile, self.layout.columns, self.device, self.entry.on_conflict, self.entry.is_strict,
            self.layout.members,
        )  # fmt: skip


def read_draft(import_: Import, entry: DraftEntry, *, user: User) -> DraftReading:
    """Read a draft's file as entered; an error becomes the `problem` of the result.

    Raises `TooManyFiles` without a free slot.
    """
    devices = list(Device.objects.filter(owner=user))
    device = next((each for each in devices if each.device_id == entry.device), None)
    tz = device.time_zone if device is not None else profile_of(user).time_zone
    reading = DraftReading(entry, devices, device, tz)
    try:
        with reading_slot():
            _read(reading, import_, user)
    except (BadEntry, FileError) as exc:
        reading.problem = on_page(exc, name=import_.file_name)
        try:
            reading.first_lines = ReadableUpload(import_.upload, name=import_.file_name).first_lines()
        except (ValueError, UnreadableFile):
            reading.first_lines = ()
    return reading


def _read(reading: DraftReading, import_: Import, user: User) -> None:
    entry = reading.entry
    if entry.device and reading.device is None:
        raise BadEntry(f"you own no device {entry.device[:80]!r}; create it, or choose another")
    if not import_.upload or not upload_path(import_.upload).is_file():
        raise BadEntry("the file of this draft is missing here; discard the draft, and upload it again")
    file = ReadableUpload(import_.upload, name=import_.file_name)
    reading.sheets = _sheets(import_.upload, import_.file_name)
    profile = find_profile(user, entry.profile) if entry.profile else None
    for layout, asked in _apply_answers(import_, entry, profile, reading.tz):
        reading.layout, reading.asked = layout, asked
    assert reading.layout is not None  # noqa: S101 - there is at least one round
    entered = entry.rows
    if reading.device is not None:
        # A row for the device of the whole file needs no device of its own.
        whole = reading.device.device_id
        entered = {
            key: replace(row, texts={**row.texts, "device": ""}) if row.texts["device"] == whole else row
            for key, row in entered.items()
        }
    reading.rows = mapping_rows(reading.layout, entered)
    own = {device.device_id for device in reading.devices}
    for row in reading.rows:
        if row.is_on and row.device and row.device not in own:
            row.problem = f"you own no device {row.device[:80]!r}"
    mapped = mapped_profile(reading.layout.profile, reading.rows, takes_new_keys=entry.takes_new_keys)
    reading.profile = mapped
    layout = replace(reading.layout, profile=mapped)
    if mapped.values:
        first = file.first_rows(layout)
        reading.table = preview_table(first, tz=reading.tz, is_wide=mapped.layout == "wide")
        reading.head, reading.is_whole = file.count_head(layout)


def _apply_answers(
    import_: Import, entry: DraftEntry, profile: ImportProfile | BuiltinProfile | None, tz: str
) -> Iterator[tuple[FileLayout, list[AskedQuestion]]]:
    """Yield the layout with one more round of answers each time; the last has all of them.

    An answer may lead to further questions.
    """
    given = entry.given()
    if isinstance(profile, BuiltinProfile):
        profile_key = profile.name
    else:
        profile_key = "" if profile is None else json.dumps(profile.as_json())
    asked: list[AskedQuestion] = []
    while True:
        settings = tuple({**vars(given), "mapping": tuple(given.mapping.items())}.items())
        layout = _layout(import_.upload, import_.file_name, settings, profile_key, tz)
        is_answered = False
        # A question without an answer may have another text after an answer to another.
        asked = [each for each in asked if each.answer]
        for question in layout.questions:
            is_there = question.setting in _ON_THE_PAGE_ANYWAY and not question.is_required
            if is_there or any(each.question.about == question.about for each in asked):
                continue
            before = sum(each.question.setting == question.setting for each in asked)
            name = f"{question.setting}-{before + 1}" if before else question.setting
            label = entry.answers.get(name, "")
            answer = next((each for each in question.answers if each.label == label), None)
            asked.append(AskedQuestion(name, question, "" if answer is None else answer.label))
            if answer is not None:
                given, is_answered = answer.applied_to(given), True
        yield layout, asked
        if not is_answered:
            return


@lru_cache(maxsize=32)
def _layout(
    upload: str, name: str, given: tuple[tuple[str, Any], ...], profile: str, device_tz: str
) -> FileLayout:
    """Return the layout, cached: it takes a second for some files. The table of columns comes on top."""
    chosen: ImportProfile | BuiltinProfile | None = BUILTIN.get(profile)
    if profile and chosen is None:
        chosen = ImportProfile.from_json(json.loads(profile))
    file = ReadableUpload(upload, name=name)
    settings = dict(given)
    settings["mapping"] = dict(settings["mapping"])
    return file.layout(Given(**settings), profile=chosen, device_tz=device_tz)


@lru_cache(maxsize=32)
def _sheets(upload: str, name: str) -> Sequence[str]:
    return ReadableUpload(upload, name=name).sheets()


@dataclass(frozen=True)
class PreviewCell:
    """A cell as it would be stored: a number, nothing, or a problem with the text causing it."""

    text: str = ""
    problem: str = ""


@dataclass(frozen=True)
class PreviewTableRow:
    """One row: its line and text, with its time and cells, or with the problem of the whole row."""

    line: int
    text: str
    time: str
    cells: list[PreviewCell] = field(default_factory=list)
    problem: str = ""
    problem_text: str = ""


@dataclass(frozen=True)
class PreviewTable:
    """The first rows, the metrics as headings of their cells, and the lines above the data.

    If each row holds one reading, or those of a whole day, all share one column, and `values` is empty.
    """

    tz: str
    values: Sequence[ValueColumn]
    rows: list[PreviewTableRow]
    lines_above: list[str]
    rows_before: int


def preview_table(preview: Preview, *, tz: str, is_wide: bool) -> PreviewTable:
    """Return a preview as a table, with times in the zone `tz`."""
    values, zone = preview.values, ZoneInfo(tz)
    rows = []
    for row in preview.rows:
        refused = next((problem for problem in row.problems if problem.column is None), None)
        if refused is not None:
            reason = problem_words(refused.code)
            rows.append(PreviewTableRow(row.line, row.text, "", [], reason, refused.text))
            continue
        cells = _wide_cells(row, values) if is_wide else _shared_cells(row, values, zone)
        text = ""
        if row.readings:
            # The offset distinguishes the two passes of a doubled hour.
            time = from_microseconds(row.readings[0][1]).astimezone(zone)
            text = time.isoformat(" ", "milliseconds" if time.microsecond else "seconds")
            text = f"{text[:-6]} {text[-6:]}"
        rows.append(PreviewTableRow(row.line, row.text, text, cells))
    return PreviewTable(tz, values if is_wide else (), rows, preview.lines_above, preview.rows_before)


def _wide_cells(row: PreviewRow, values: Sequence[ValueColumn]) -> list[PreviewCell]:
    """Return one cell for each value column."""
    numbers = {index: value for index, _, value in row.readings}
    problems = {problem.column: problem for problem in row.problems}
    cells = []
    for index, column in enumerate(values):
        if index in numbers:
            cells.append(PreviewCell(_number(numbers[index])))
        elif (problem := problems.get(column.column)) is not None:
            cells.append(PreviewCell(problem.text, problem_words(problem.code)))
        else:
            cells.append(PreviewCell())
    return cells


def _shared_cells(row: PreviewRow, values: Sequence[ValueColumn], tz: tzinfo) -> list[PreviewCell]:
    """Return the problems and the first readings of a row, each with its metric."""
    cells = [PreviewCell(problem.text, problem_words(problem.code)) for problem in row.problems]
    for index, time, value in row.readings[:_READINGS_IN_A_CELL]:
        column = values[index]
        clock = f"{from_microseconds(time).astimezone(tz):%H:%M} " if len(row.readings) > 1 else ""
        cells.append(PreviewCell(f"{clock}{column.metric}: {_number(value)} {column.unit}".strip()))
    if (more := len(row.readings) - _READINGS_IN_A_CELL) > 0:
        cells.append(PreviewCell(f"and {more} more"))
    return cells


def _number(value: float) -> str:
    return f"{value:.15g}"
