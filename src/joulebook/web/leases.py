"""Leases on queued work: a worker claims an import or a correction, renews its lease, and releases it.

Each claim gives the lease a new number, and every other change depends on that number: a worker whose lease
was taken over cannot change the work. Its transactions of readings check the same number. A command works
like a worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, TypeVar

from django.db import models
from django.db.models import F, Q, QuerySet
from django.utils import timezone

log = logging.getLogger(__name__)

LEASE_TIME = timedelta(seconds=60)
"""Time from the last heartbeat until another worker may take the work over."""

RETRY_AFTER = timedelta(seconds=5)
"""Time from an error until the work is tried again."""

MOST_ATTEMPTS = 5
"""Claims without progress until the work fails."""

IsDead = Callable[[str], bool]
"""Returns whether the worker of a name is known to be dead: then its lease need not expire."""


QUEUED, RUNNING, UNDOING = "queued", "running", "undoing"
"""The states of all work not ended; each kind of work has further ones."""

ACTIVE = (QUEUED, RUNNING, UNDOING)
HELD = (RUNNING, UNDOING)


class LeasedWork(models.Model):
    """Work for one worker at a time."""

    state = models.CharField(max_length=9, db_index=True)
    """One of the states above, or one of the kind's own."""
    lease = models.PositiveIntegerField(default=0)
    """The number of claims so far; only the worker with the last claim may write."""
    leased_by = models.CharField(max_length=100, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    """The number of claims since its last progress."""

    class Meta:
        abstract = True


Work = TypeVar("Work", bound=LeasedWork)


def nobody_is_dead(_worker: str) -> bool:
    """Return False: without knowing of a death, leases end by their missing heartbeats."""
    return False


def lock_active(model: type[Work]) -> QuerySet[Work]:
    """Return all active work, locked: claims run one after another, and each sees the earlier ones."""
    return model._default_manager.select_for_update().filter(state__in=ACTIVE)


def is_free(work: Any, is_dead: IsDead) -> bool:
    """Return whether active work has no living worker, and is not pausing after an error."""
    seen, now = work.heartbeat_at, timezone.now()
    if not work.leased_by:
        return not work.attempts or seen is None or bool(seen < now - RETRY_AFTER)
    return seen is None or bool(seen < now - LEASE_TIME) or is_dead(work.leased_by)


def take(work: Any, worker: str, **more: Any) -> bool:
    """Claim free work under a new lease; return False if its lease or state has changed meanwhile."""
    is_undo = work.state == UNDOING
    same = type(work)._default_manager.filter(pk=work.pk, lease=work.lease, state=work.state)
    taken = same.update(
        state=UNDOING if is_undo else RUNNING,
        lease=F("lease") + 1,
        leased_by=worker,
        heartbeat_at=timezone.now(),
        attempts=F("attempts") + 1,
        **more,
    )
    if taken:
        log.info(
            "%s %d: %s%s (attempt %d)",
            kind(work),
            work.pk,
            "taken over from a dead worker" if work.leased_by else "claimed",
            " to be undone" if is_undo else "",
            work.attempts + 1,
        )
    return bool(taken)


def lease_holders(*models_: type[LeasedWork]) -> set[str]:
    """Return the names of the workers holding a lease on any of these kinds of work, alive or dead."""
    names: set[str] = set()
    for model in models_:
        held = model._default_manager.filter(state__in=ACTIVE).order_by()
        names.update(held.values_list("leased_by", flat=True))
    return names - {""}


def if_ours(work: Work) -> QuerySet[Work]:
    """Return the claimed work if its lease was not taken over and it has not ended, else nothing."""
    return type(work)._default_manager.filter(pk=work.pk, lease=work.lease, state__in=HELD)


def renew(held: Iterable[LeasedWork], **more: Any) -> int:
    """Renew the leases of claimed work, except those taken over; return the number of renewed leases."""
    renewed = 0
    for model, works in _by_model(held).items():
        ours = Q(pk__in=())
        for work in works:
            ours |= Q(pk=work.pk, lease=work.lease)
        some = model._default_manager.filter(ours, state__in=HELD)
        renewed += some.update(heartbeat_at=timezone.now(), **more)
    return renewed


def _by_model(works: Iterable[LeasedWork]) -> dict[type[LeasedWork], list[LeasedWork]]:
    found: dict[type[LeasedWork], list[LeasedWork]] = {}
    for work in works:
        found.setdefault(type(work), []).append(work)
    return found


def release(work: LeasedWork, **changed: Any) -> bool:
    """Release claimed work for any free worker; return False, changing nothing, if it was taken over."""
    released = if_ours(work).update(leased_by="", heartbeat_at=timezone.now(), **changed)
    if released:
        log.info("%s %d: released", kind(work), work.pk)
    return bool(released)


def kind(work: LeasedWork) -> str:
    """Return the word for a kind of work: import, correction."""
    return str(work._meta.verbose_name)
