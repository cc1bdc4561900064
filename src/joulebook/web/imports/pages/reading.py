"""How a draft would be imported by what is entered so far: read again each time, nothing is stored."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from django.contrib.auth.models import User

from joulebook.telemetry.files.builtin import BUILTIN, BuiltinProfile
from joulebook.telemetry.files.errors import FileError, UnreadableFile
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.guess.questions import Question
from joulebook.telemetry.files.guess.sample import guess_encoding
from joulebook.telemetry.files.preview import count_head
from joulebook.telemetry.files.profile import Given, ImportProfile
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.table import shown
from joulebook.telemetry.readings import MICROSECONDS
from joulebook.web.accounts.operations import profile_of
from joulebook.web.devices.models import Device
from joulebook.web.imports.models import Import
from joulebook.web.imports.operations import ImportOrder
from joulebook.web.imports.pages.entry import BadEntry, DraftEntry, MappedRow, RowKey
from joulebook.web.imports.pages.mapping import MappingRow, mapped_profile, mapping_rows
from joulebook.web.imports.pages.preview import PreviewTable, preview_table
from joulebook.web.imports.pages.words import on_page
from joulebook.web.imports.profiles import find_profile
from joulebook.web.imports.reading import UploadedFile, a_place
from joulebook.web.imports.uploads.files import Upload, upload_path

_LOOKED_AT = 4096
_LINES = 15
_COUNTED = 1024 * 1024


class DraftFile(UploadedFile):
    """An upload that somebody looks at before it is imported."""

    def check(self) -> None:
        """Look whether it can be unpacked, and how far it swells.

        Raises `UnreadableFile`, and `FileTooLarge` for what no file of readings is.
        """
        self._source.head(_LOOKED_AT)
        self.check_size_inflated()

    def count_head(self, layout: FileLayout) -> tuple[ImportReport, bool]:
        """Return the account of the rows in the beginning, and whether that is all. Raises `FileError`."""
        head = self._source.head(_COUNTED)
        is_whole = len(head) < _COUNTED
        now = int(time.time() * MICROSECONDS)
        return count_head(head, layout.profile, layout.columns, is_whole=is_whole, now=now), is_whole

    def first_lines(self) -> Sequence[str]:
        """Return what stands at the beginning, as well as it can be told. Raises `UnreadableFile`."""
        head = self._source.head(_LOOKED_AT)
        encoding, _ = guess_encoding(head, is_whole=False)
        return [shown(line) for line in head.decode(encoding, "replace").splitlines()[:_LINES]]

    def sheets(self) -> Sequence[str]:
        """Return the names of a workbook's sheets; none for any other file. Raises `UnreadableFile`."""
        return self._source.sheets()


MOST_LISTED = 1000
"""Columns or keys that a page lists; those behind are imported as they are guessed."""

_OF_THE_PAGE = frozenset({"tz", "mapping"})
"""Settings that are asked about, but stand on the page anyway: the zone, and the table of columns."""


@dataclass(frozen=True)
class Asked:
    """A question of the file, and which of its answers was chosen ("" for none)."""

    question: Question
    answer: str

    @property
    def is_open(self) -> bool:
        """Whether nothing may be imported before somebody answers."""
        return self.question.is_required and not self.answer


@dataclass
class DraftReading:
    """What a draft gives: how the file is read, what is open, and the first rows; or why it cannot be read.

    `profile` is the layout's with the mapping that was entered; `head` accounts for the rows in the
    beginning of the file, which is all of it where `is_whole`.
    """

    entry: DraftEntry
    devices: Sequence[Device]
    device: Device | None
    tz: str
    sheets: Sequence[str] = ()
    layout: FileLayout | None = None
    problem: str = ""
    asked: list[Asked] = field(default_factory=list)
    rows: list[MappingRow] = field(default_factory=list)
    profile: ImportProfile | None = None
    table: PreviewTable | None = None
    head: ImportReport | None = None
    is_whole: bool = False
    first_lines: Sequence[str] = ()
    """What stands in the file, where it cannot be read."""

    @property
    def listed_rows(self) -> Sequence[MappingRow]:
        """Return the columns or keys that the page lists."""
        return self.rows[:MOST_LISTED]

    @property
    def more_rows(self) -> int:
        """Return how many more there are."""
        return max(0, len(self.rows) - MOST_LISTED)

    @property
    def hidden_fields(self) -> list[tuple[str, str]]:
        """Return what was entered and is not on the page now."""
        asked = {each.question.setting for each in self.asked if each.question.is_required}
        return self.entry.hidden_fields(with_rows=not self.rows, asked=asked)

    @property
    def refused_rows(self) -> int:
        """Return how many rows of the head cannot be read."""
        return 0 if self.head is None else self.head.rows_rejected.total()

    @property
    def obstacles(self) -> list[str]:
        """Return what keeps the file from being imported, in people's words."""
        if self.problem:
            return ["It cannot be read like this; see above."]
        found = []
        if self.device is None:
            found.append("Choose the device whose readings these are.")
        if any(each.is_open for each in self.asked):
            found.append("Answer what the file leaves open.")
        if any(row.problem for row in self.rows):
            found.append("Mend the marked rows in the table of columns.")
        if not any(row.is_on for row in self.rows):
            found.append("Choose at least one column to import.")
        return found

    def order(self) -> ImportOrder | None:
        """Return the order to import the file as it is read now; None where something keeps it."""
        if self.obstacles or self.profile is None or self.layout is None or self.device is None:
            return None
        return ImportOrder(
            self.profile, self.layout.columns, self.device, self.entry.on_conflict, self.entry.is_strict
        )


def read_draft(import_: Import, entry: DraftEntry, *, user: User) -> DraftReading:
    """Read a draft's file as entered. What keeps it from being read is the `problem` of what is returned.

    Raises `TooManyFiles` where others' files are being read.
    """
    devices = list(Device.objects.filter(owner=user))
    device = next((each for each in devices if each.device_id == entry.device), None)
    tz = device.time_zone if device is not None else profile_of(user).time_zone
    reading = DraftReading(entry, devices, device, tz)
    try:
        with a_place():
            _read(reading, import_, user)
    except (BadEntry, FileError) as exc:
        reading.problem = on_page(exc, name=import_.file_name)
        reading.first_lines = _first_lines(import_)
    return reading


def _read(reading: DraftReading, import_: Import, user: User) -> None:
    entry = reading.entry
    if entry.device and reading.device is None:
        raise BadEntry(f"you own no device {entry.device[:80]!r}; create it, or choose another")
    if not import_.upload or not upload_path(import_.upload).is_file():
        raise BadEntry("the file of this draft is not here any more; discard the draft, and bring it again")
    file = DraftFile(Upload(import_.upload, import_.file_size, import_.file_sha256), name=import_.file_name)
    reading.sheets = _sheets(import_.upload, import_.file_name)
    profile = find_profile(user, entry.profile) if entry.profile else None
    for layout, asked in _answered(import_, entry, profile, reading.tz):
        reading.layout, reading.asked = layout, asked
    assert reading.layout is not None  # noqa: S101 - there is at least one round
    reading.rows = mapping_rows(reading.layout, _for_device(entry, reading.device))
    _check_devices(reading)
    mapped = mapped_profile(reading.layout.profile, reading.rows, takes_new_keys=entry.takes_new_keys)
    reading.profile = mapped
    layout = replace(reading.layout, profile=mapped)
    if mapped.values:
        shown = file.first_rows(layout)
        reading.table = preview_table(shown, tz=reading.tz, is_wide=mapped.layout == "wide")
        reading.head, reading.is_whole = file.count_head(layout)


def _first_lines(import_: Import) -> Sequence[str]:
    try:
        return DraftFile(Upload(import_.upload, 0, ""), name=import_.file_name).first_lines()
    except (ValueError, UnreadableFile):
        return ()


def _answered(
    import_: Import, entry: DraftEntry, profile: ImportProfile | BuiltinProfile | None, tz: str
) -> Iterator[tuple[FileLayout, list[Asked]]]:
    """Yield the file's layout with ever more of the answers taken in, the last with all of them."""
    given = entry.given()
    asked: dict[str, Asked] = {}
    while True:
        layout = _layout(
            import_.upload, import_.file_name, _key(given), _profile_key(profile), tz, entry.sheet
        )
        answered = False
        for question in layout.questions:
            if question.setting in _OF_THE_PAGE or question.setting in asked:
                continue
            label = entry.answers.get(question.setting, "")
            answer = next((each for each in question.answers if each.label == label), None)
            asked[question.setting] = Asked(question, "" if answer is None else answer.label)
            if answer is not None:
                given, answered = answer.applied_to(given), True
        yield layout, list(asked.values())
        if not answered:
            return


def _key(given: Given) -> tuple[tuple[str, Any], ...]:
    return tuple((name, value) for name, value in vars(given).items() if name != "mapping")


def _profile_key(profile: ImportProfile | BuiltinProfile | None) -> str:
    if isinstance(profile, BuiltinProfile):
        return profile.name
    return "" if profile is None else json.dumps(profile.as_json())


@lru_cache(maxsize=32)
def _layout(
    upload: str, name: str, given: tuple[tuple[str, Any], ...], profile: str, device_tz: str, sheet: str
) -> FileLayout:
    """Return the layout, which takes a second for some files, and does not depend on the mapping."""
    chosen: ImportProfile | BuiltinProfile | None = BUILTIN.get(profile)
    if profile and chosen is None:
        chosen = ImportProfile.from_json(json.loads(profile))
    file = DraftFile(Upload(upload, 0, ""), name=name)
    return file.layout(Given(**dict(given)), profile=chosen, device_tz=device_tz, sheet=sheet)


@lru_cache(maxsize=32)
def _sheets(upload: str, name: str) -> Sequence[str]:
    return DraftFile(Upload(upload, 0, ""), name=name).sheets()


def _for_device(entry: DraftEntry, device: Device | None) -> Mapping[RowKey, MappedRow]:
    """Return the rows as entered, where the device of the whole file is not named once more."""
    if device is None:
        return entry.rows
    rows = {}
    for key, row in entry.rows.items():
        is_same = row.texts["device"] == device.device_id
        rows[key] = replace(row, texts={**row.texts, "device": ""}) if is_same else row
    return rows


def _check_devices(reading: DraftReading) -> None:
    own = {device.device_id for device in reading.devices}
    for row in reading.rows:
        if row.is_on and row.device and row.device not in own:
            row.problem = f"you own no device {row.device[:80]!r}"
