"""Corrections, each with what it does, who made it when and why, and its state."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from django.conf import settings
from django.db import models
from django.utils import timezone

from joulebook.telemetry.corrections.edits import Edit, EditKind, SeriesEdit
from joulebook.telemetry.readings import to_microseconds
from joulebook.web.devices.models import Device
from joulebook.web.leases import LeasedWork

MOST_REASON = 500


def new_identity() -> str:
    """Return an identity for a correction: its number may be given twice, in a copy of the accounts."""
    return uuid.uuid4().hex


class Correction(LeasedWork):
    """One correction of a device's readings. The primary key is its number.

    The web queues it, and a worker (or the command) runs it. Its numbers are in the units of stored values,
    with those a person gave beside them: the metric's factor may change later.
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        UNDOING = "undoing"
        UNDONE = "undone"

    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="corrections")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="corrections"
    )
    reason = models.CharField(max_length=MOST_REASON, blank=True)
    kind = models.CharField(max_length=6, choices=list(zip(EditKind, EditKind, strict=True)))
    metrics = models.JSONField(default=dict)
    """By metric the numbers `value` and `offset`, in the unit of stored values."""
    start = models.DateTimeField()
    end = models.DateTimeField()
    times = models.JSONField(default=list)
    """Instants in microseconds since 1970 UTC, all in [start, end); none: the whole range."""
    value = models.FloatField(null=True, blank=True)
    """As given, in the unit of shown values."""
    factor = models.FloatField(default=1.0)
    offset = models.FloatField(default=0.0)
    """As given, in the unit of shown values."""
    by = models.BigIntegerField("microseconds of a shift", default=0)
    step = models.BigIntegerField("microseconds between filled readings", default=0)
    identity = models.CharField(max_length=32, default=new_identity, editable=False)
    state = models.CharField(max_length=7, choices=State.choices, default=State.QUEUED, db_index=True)
    problem = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    requested_at = models.DateTimeField(default=timezone.now)
    """When it, or its undo, was queued."""
    finished_at = models.DateTimeField(null=True, blank=True)
    undone_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    report = models.JSONField(default=dict)
    """By metric the counts `changed` and `conflicts`, and the `first` and `last` changed instant."""

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"correction {self.pk} of {self.device_id}: {self.kind}"

    @property
    def changed(self) -> int:
        """The number of changed readings."""
        return sum(counts["changed"] for counts in self.report.values())

    @property
    def conflicts(self) -> int:
        """The number of readings that stay because their new time is taken."""
        return sum(counts["conflicts"] for counts in self.report.values())

    def edit(self, series: Mapping[str, int]) -> Edit:
        """Return what it does to the series; metrics without a series are left out."""
        return Edit(
            kind=EditKind(self.kind),
            series={
                series[name]: SeriesEdit(name, value=numbers["value"], offset=numbers["offset"])
                for name, numbers in self.metrics.items()
                if name in series
            },
            start=to_microseconds(self.start),
            end=to_microseconds(self.end),
            points=tuple(self.times),
            factor=self.factor,
            by=self.by,
            step=self.step,
        )
