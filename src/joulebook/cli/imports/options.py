"""The options of one `joulebook import`, and its result: exit code, report, and the problem that ended it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from joulebook.cli.imports.report import ImportedFile, report_json
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.settings import Given

EXIT_UNREADABLE = 1
EXIT_REFUSED = 3
EXIT_STOPPED = 130


class UnableToBegin(Exception):
    """There is no such device or user; the message names the remedy."""


@dataclass(frozen=True)
class ImportOptions:
    """The options of one run of the command."""

    path: Path
    device_id: str
    given: Given
    user_name: str | None
    is_dry_run: bool
    as_json: bool
    profile: str | None = None
    """The name of a profile, built in or saved by the device's owner, or the path of a profile file."""
    save_profile: Path | None = None
    rejected: Path | None = None
    is_strict: bool = False
    on_conflict: Literal["keep", "replace"] = "keep"
    is_forced: bool = False
    """Whether to read a file again after an import for the same device with the same settings."""


@dataclass(frozen=True)
class ImportResult:
    """The outcome of one run: the exit code, and the problem behind an early end, if any.

    `earlier` is an earlier import of the same file; the file was not read again. `is_unavailable` is set if
    the database of the readings became unavailable.
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
