"""Imports, each with its file, settings, state and report; and saved import profiles."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from joulebook.web.devices.models import Device
from joulebook.web.leases import LeasedWork

if TYPE_CHECKING:
    # It needs polars: most commands begin faster without.
    from joulebook.telemetry.files.report import ImportReport

DRAFT_RETENTION = timedelta(days=7)
"""Time after which a draft is discarded unless it was queued."""


class Import(LeasedWork):
    """One file and its outcome. The primary key is the `import_id` of its readings.

    The web makes it a draft with its upload and queues it; a worker (or the command) runs it. While it runs,
    its progress and report are in the database of the readings; the report is copied here at the end.
    """

    class State(models.TextChoices):
        DRAFT = "draft"
        """Uploaded, and waiting for its user to confirm the reading settings."""
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        REFUSED = "refused"
        """Strict, with a row or cell that cannot be read: nothing is stored."""
        FAILED = "failed"
        CANCELLED = "cancelled"
        UNDOING = "undoing"
        UNDONE = "undone"

    class OnConflict(models.TextChoices):
        KEEP = "keep"
        REPLACE = "replace"

    device = models.ForeignKey(
        Device, on_delete=models.PROTECT, related_name="imports", null=True, blank=True
    )
    """The device of all readings without a device of their own in the profile; None until one is chosen."""
    devices = models.ManyToManyField(Device, related_name="all_imports", blank=True)
    """All devices it may store readings of."""
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="imports"
    )
    file_name = models.CharField(max_length=255)
    file_sha256 = models.CharField("SHA-256 of the file", max_length=64, blank=True, db_index=True)
    file_size = models.BigIntegerField("bytes of the file", default=0)
    upload = models.CharField(max_length=36, blank=True)
    """The file's name among the uploads; empty without an upload, and after the upload is removed."""
    profile = models.JSONField(default=dict)
    columns = models.JSONField(default=list)
    """The file's column names by position."""
    files = models.JSONField(default=list, blank=True)
    """Each file of an import with several, in the form of `Member.as_json`."""
    on_conflict = models.CharField(max_length=7, choices=OnConflict.choices, default=OnConflict.KEEP)
    is_strict = models.BooleanField(default=False)
    state = models.CharField(max_length=9, choices=State.choices, default=State.DRAFT, db_index=True)
    is_cancelling = models.BooleanField(default=False)
    """A user requested it to stop; the worker running it checks this."""
    problem = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    queued_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    undone_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    report = models.JSONField(null=True, blank=True)
    """The report of the run, in the form of `ImportReport.as_json`."""
    rows_read = models.BigIntegerField(default=0)
    rows_rejected = models.BigIntegerField(default=0)
    cells_stored = models.BigIntegerField(default=0)
    cells_replaced = models.BigIntegerField(default=0)
    cells_duplicate = models.BigIntegerField(default=0)
    cells_conflict = models.BigIntegerField(default=0)
    cells_na = models.BigIntegerField("cells without a value", default=0)
    cells_malformed = models.BigIntegerField(default=0)

    class Meta:
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        return f"{self.file_name} ({self.created_at:%Y-%m-%d %H:%M})"

    @property
    def discarded_at(self) -> datetime:
        """The time of its removal if it is still a draft then."""
        return self.created_at + DRAFT_RETENTION


def report_fields(report: ImportReport) -> dict[str, Any]:
    """Return the fields of an `Import` set from a report, by name."""
    return {
        "report": report.as_json(),
        "rows_read": report.rows_read,
        "rows_rejected": report.rows_rejected.total(),
        "cells_stored": report.stored,
        "cells_replaced": report.replaced,
        "cells_duplicate": report.duplicate,
        "cells_conflict": report.conflict,
        "cells_na": report.na,
        "cells_malformed": report.malformed,
    }


class SavedProfile(models.Model):
    """Reading settings for files of one kind, saved by a user under a name."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="import_profiles"
    )
    name = models.CharField(max_length=100)
    profile = models.JSONField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.UniqueConstraint(fields=("owner", "name"), name="one_profile_of_a_name_for_each_owner"),
        )

    def __str__(self) -> str:
        return self.name
