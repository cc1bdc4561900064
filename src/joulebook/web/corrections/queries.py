"""Corrections on record: those a person may see, and the stretches of a device they have changed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import QuerySet

from joulebook.telemetry.readings import from_microseconds, to_microseconds
from joulebook.web.corrections.models import Correction
from joulebook.web.devices.models import Device
from joulebook.web.devices.queries import visible_devices

State = Correction.State

_MOST_STRETCHES = 500


@dataclass(frozen=True)
class CorrectedStretch:
    """A stretch of one metric changed by a standing correction: both ends are changed instants."""

    id: int
    metric: str
    start: datetime
    end: datetime


def visible_corrections(user: User | AnonymousUser) -> QuerySet[Correction]:
    """Return the corrections of the devices the user may see, the newest first."""
    return Correction.objects.filter(device__in=visible_devices(user)).select_related(
        "device", "user", "undone_by"
    )


def corrected_stretches(
    device: Device, metrics: Collection[str], start: datetime, end: datetime
) -> list[CorrectedStretch]:
    """Return the stretches of the metrics in [start, end) changed by corrections that stand."""
    standing = Correction.objects.filter(
        device=device, state__in=(State.RUNNING, State.DONE, State.FAILED, State.UNDOING)
    )
    begin, until = to_microseconds(start), to_microseconds(end)
    found: list[CorrectedStretch] = []
    for correction in standing.order_by("pk").only("pk", "report", "times", "by"):
        for metric, counts in correction.report.items():
            if metric not in metrics or not counts["changed"]:
                continue
            spans = [(counts["first"], counts["last"])]
            if correction.times:
                instants = {*correction.times, *(time + correction.by for time in correction.times)}
                spans = [(time, time) for time in sorted(instants)]
            found += [
                CorrectedStretch(correction.pk, metric, from_microseconds(first), from_microseconds(last))
                for first, last in spans
                if first < until and last >= begin
            ]
    return found[:_MOST_STRETCHES]
