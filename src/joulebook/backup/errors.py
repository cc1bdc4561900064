"""The errors of backups, in words for the person at the command line."""

from __future__ import annotations

from joulebook.telemetry.errors import TelemetryError


class BackupError(TelemetryError):
    """A backup cannot be made, read or restored; the message says why, and the remedy."""


class Stopped(BackupError):
    """A thread ended because another one had failed; the reason is in the other's error."""

    def __init__(self) -> None:
        super().__init__("stopped, since another part failed")


class DamagedBackup(BackupError):
    """A part of a backup is missing or has changed since it was written."""
