"""The queue of corrections: a worker claims one under a lease, renews the lease, and releases or ends it.

The corrections of one device run in the order in which they, or their undos, were requested. Each claim
gives the lease a new number; a worker whose lease was taken over cannot change the correction any more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from joulebook.web.corrections.models import Correction

log = logging.getLogger(__name__)

State = Correction.State

LEASE_TIME = timedelta(seconds=60)
"""Time from the last heartbeat until another worker may take a correction over."""

RETRY_AFTER = timedelta(seconds=5)
MOST_ATTEMPTS = 5
"""Claims without progress until a correction fails."""

_ACTIVE = (State.QUEUED, State.RUNNING, State.UNDOING)


def claim_next(
    worker: str, *, only: int | None = None, is_dead: Callable[[str], bool] = lambda _: False
) -> Correction | None:
    """Claim the correction requested first, of all devices; None if nothing waits.

    With `only`, claim the correction with this number or none. `is_dead` returns whether the worker of a
    name is known to be dead: then its lease need not expire.
    """
    active = Correction.objects.filter(state__in=_ACTIVE)
    if not active.exists():
        return None
    with transaction.atomic():
        # Claims run one after another here; each sees the earlier ones.
        first_of_device: dict[int, Correction] = {}
        for each in active.select_for_update().order_by("requested_at", "pk"):
            first_of_device.setdefault(each.device_id, each)
        for chosen in first_of_device.values():
            if only in (None, chosen.pk) and _is_free(chosen, is_dead):
                break
        else:
            return None
        Correction.objects.filter(pk=chosen.pk).update(
            state=State.UNDOING if chosen.state == State.UNDOING else State.RUNNING,
            lease=F("lease") + 1,
            leased_by=worker,
            heartbeat_at=timezone.now(),
            attempts=F("attempts") + 1,
        )
    log.info("correction %d: claimed%s", chosen.pk, " to be undone" if chosen.state == State.UNDOING else "")
    return Correction.objects.select_related("device", "user").get(pk=chosen.pk)


def _is_free(correction: Correction, is_dead: Callable[[str], bool]) -> bool:
    seen = correction.heartbeat_at
    now = timezone.now()
    if not correction.leased_by:
        return not correction.attempts or seen is None or seen < now - RETRY_AFTER
    return seen is None or seen < now - LEASE_TIME or is_dead(correction.leased_by)


def lease_holders() -> set[str]:
    """Return the names of the workers holding a lease, alive or dead."""
    held = Correction.objects.filter(state__in=_ACTIVE).exclude(leased_by="")
    return set(held.order_by().values_list("leased_by", flat=True))


def renew(correction: Correction, *, report: dict[str, Any] | None = None) -> bool:
    """Renew the lease after progress, with the report so far; return False if it was taken over."""
    more = {} if report is None else {"report": report}
    return bool(_if_ours(correction).update(heartbeat_at=timezone.now(), attempts=0, **more))


def release(correction: Correction) -> None:
    """Release a claimed correction for any free worker, some time later if this claim had no progress."""
    _if_ours(correction).update(leased_by="", heartbeat_at=timezone.now())


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
    changed["undone_at" if state == State.UNDONE else "finished_at"] = now
    if report is not None:
        changed["report"] = report
    if _if_ours(correction).update(**changed):
        log.info("correction %d: %s%s", correction.pk, state.value, f", {problem}" if problem else "")


def _if_ours(correction: Correction) -> QuerySet[Correction]:
    return Correction.objects.filter(pk=correction.pk, lease=correction.lease, state__in=_ACTIVE)
