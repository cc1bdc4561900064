"""The queue of corrections: those of one device run in the order in which they were requested, or undone."""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction
from django.utils import timezone

from joulebook.web import leases
from joulebook.web.corrections.models import Correction
from joulebook.web.leases import IsDead, if_ours, nobody_is_dead

log = logging.getLogger(__name__)


def claim_next(
    worker: str, *, only: int | None = None, is_dead: IsDead = nobody_is_dead
) -> Correction | None:
    """Claim the correction requested first, of all devices; None if nothing waits.

    With `only`, claim the correction with this number or none.
    """
    if not Correction.objects.filter(state__in=leases.ACTIVE).exists():
        return None
    with transaction.atomic():
        first_of_device: dict[int, Correction] = {}
        for each in leases.lock_active(Correction).order_by("requested_at", "pk"):
            first_of_device.setdefault(each.device_id, each)
        for chosen in first_of_device.values():
            if only in (None, chosen.pk) and leases.is_free(chosen, is_dead):
                break
        else:
            return None
        if not leases.take(chosen, worker):
            return None
    return Correction.objects.select_related("device", "user").get(pk=chosen.pk)


def finish(
    correction: Correction,
    state: Correction.State,
    *,
    report: dict[str, Any] | None = None,
    problem: str = "",
) -> None:
    """End a claimed correction or undo in `state`; this changes nothing if it was taken over."""
    now = timezone.now()
    changed: dict[str, Any] = {"state": state, "problem": problem, "leased_by": ""}
    changed["undone_at" if state == Correction.State.UNDONE else "finished_at"] = now
    if report is not None:
        changed["report"] = report
    if if_ours(correction).update(**changed):
        log.info("correction %d: %s%s", correction.pk, state.value, f", {problem}" if problem else "")
