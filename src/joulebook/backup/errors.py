"""What can go wrong with a backup, in words for the person who asked for it."""

from __future__ import annotations

from joulebook.telemetry.errors import TelemetryError


class BackupError(TelemetryError):
    """A backup cannot be made, read or restored; the message says why and what to do."""


class Stopped(BackupError):
    """A thread ended because another one had failed; that one's error tells why."""

    def __init__(self) -> None:
        super().__init__("stopped, since another part failed")


class DamagedBackup(BackupError):
    """A part of a backup is missing, or is not what was written."""
