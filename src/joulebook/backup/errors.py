"""What can go wrong with a backup, in words for the person who asked for it."""

from __future__ import annotations

from joulebook.telemetry.errors import TelemetryError


class BackupError(TelemetryError):
    """A backup cannot be made, read or restored; the message says why and what to do."""


class DamagedBackup(BackupError):
    """A part of a backup is missing, or is not what was written."""
