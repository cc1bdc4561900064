"""An import: one file of readings that somebody brought, and what became of it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from joulebook.web.devices.models import Device


class Import(models.Model):
    """One run over one file. Its primary key is the `import_id` of the readings that it stored."""

    class State(models.TextChoices):
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="imports")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="imports"
    )
    file_name = models.CharField(max_length=255)
    file_sha256 = models.CharField("SHA-256 of the file", max_length=64, blank=True)
    profile = models.JSONField(default=dict)
    state = models.CharField(max_length=8, choices=State.choices, default=State.RUNNING)
    problem = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    rows_read = models.BigIntegerField(default=0)
    rows_rejected = models.BigIntegerField(default=0)
    cells_stored = models.BigIntegerField(default=0)
    cells_duplicate = models.BigIntegerField(default=0)
    cells_conflict = models.BigIntegerField(default=0)
    cells_na = models.BigIntegerField("cells without a value", default=0)
    cells_malformed = models.BigIntegerField(default=0)

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.file_name} ({self.created_at:%Y-%m-%d %H:%M})"
