"""What was asked for with `joulebook import`, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from joulebook.cli.imports.report import ImportedFile, report_json
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.profile import Given
from joulebook.telemetry.files.report import ImportReport

EXIT_UNREADABLE = 1
EXIT_REFUSED = 3
EXIT_STOPPED = 130


class UnableToBegin(Exception):
    """The order names a device or a user that is not there; the message says what to do."""


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
    """The name of a profile that is built in or saved by the device's owner, or the path of a file."""
    save_profile: Path | None = None
    rejected: Path | None = None
    is_strict: bool = False
    on_conflict: Literal["keep", "replace"] = "keep"
    is_forced: bool = False
    """Whether a file is read that was imported before, the same way and for the same device."""


@dataclass(frozen=True)
class Imported:
    """What came of an order: the exit code, and what kept the import from the file's end, if anything.

    `earlier` is the import of the same file that there was already; then nothing was read again.
    `is_unavailable`: the database of the readings became unavailable.
    """

    exit_code: int
    problem: str
    file: ImportedFile
    layout: FileLayout
    report: ImportReport
    earlier: int | None = None
    is_unavailable: bool = False

    def as_json(self) -> str:
        """Return the report as a JSON object."""
        return report_json(self.file, self.layout, self.report, earlier=self.earlier)
