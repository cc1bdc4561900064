"""An import: one file of readings that somebody brought, and what became of it; and saved import profiles."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone

from joulebook.web.devices.models import Device

DRAFTS_STAY = timedelta(days=7)
"""How long a draft waits for somebody to queue it."""


class Import(models.Model):
    """One file and what became of it. Its primary key is the `import_id` of the readings that it stored.

    The web makes it a draft with its upload and queues it; a worker (or the command) runs it. What is
    known while it runs is in the database of the readings, beside them, and comes here at the end.
    """

    class State(models.TextChoices):
        DRAFT = "draft"
        """Uploaded, and waiting for a person to say how it is to be read."""
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        REFUSED = "refused"
        """It was to be stored only without a fault, and there is one: nothing is stored."""
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
    """The device of readings whose column or key names no other; none as long as nobody has chosen it."""
    devices = models.ManyToManyField(Device, related_name="all_imports", blank=True)
    """Every device that it may store readings of."""
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="imports"
    )
    file_name = models.CharField(max_length=255)
    file_sha256 = models.CharField("SHA-256 of the file", max_length=64, blank=True, db_index=True)
    file_size = models.BigIntegerField("bytes of the file", default=0)
    upload = models.CharField(max_length=36, blank=True)
    """The name of ours under which the file is kept; empty where it is not, or not any more."""
    profile = models.JSONField(default=dict)
    columns = models.JSONField(default=list)
    """The file's column names by position."""
    on_conflict = models.CharField(max_length=7, choices=OnConflict.choices, default=OnConflict.KEEP)
    is_strict = models.BooleanField(default=False)
    state = models.CharField(max_length=9, choices=State.choices, default=State.DRAFT, db_index=True)
    is_cancelling = models.BooleanField(default=False)
    """Somebody wants it to stop; whoever runs it will see that."""
    lease = models.PositiveIntegerField(default=0)
    """Counts who has run it: only the last may write."""
    leased_by = models.CharField(max_length=100, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    """How often it was begun or taken over since it last got on."""
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
    """The account of the run as `ImportReport.as_json` gives it."""
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
        """When it is discarded if it still is a draft then."""
        return self.created_at + DRAFTS_STAY


class SavedProfile(models.Model):
    """How files of a kind are read, saved under a name by the user whose devices they are for."""

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
