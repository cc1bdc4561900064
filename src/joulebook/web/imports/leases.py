"""Who runs which import: claimed under a lease, kept by a heartbeat, then given back or ended.

Every change but a claim is conditional on the lease's number: who has lost it changes nothing.
"""

from __future__ import annotations

import enum
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Case, F, Max, Q, QuerySet, Value, When, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from joulebook.telemetry.files.report import ImportReport
from joulebook.web.imports.models import Import
from joulebook.web.imports.queries import may_still_import
from joulebook.web.imports.report import counted, say_units
from joulebook.web.imports.uploads.files import remove_upload

log = logging.getLogger(__name__)

State = Import.State

LEASE_TIME = timedelta(seconds=60)
"""How long after its last heartbeat an import is still its worker's."""

RETRY_AFTER = timedelta(seconds=5)
"""How long an import that an error has ended waits before it is tried again."""

MOST_ATTEMPTS = 5
"""How often an import is begun without getting on before it is given up."""

NEVER_HEARD = timedelta(days=1)
"""After this a running import of which there has never been a heartbeat is taken for dead."""

_IN_FRONT = 20
"""How many of those that wait are looked at, of each user's: thousands may wait."""

_WAITING = (State.QUEUED, State.UNDOING)
_HELD = (State.RUNNING, State.UNDOING)
_ACTIVE = (State.QUEUED, State.RUNNING, State.UNDOING)


class Standing(enum.Enum):
    """What may be done with an import that was claimed."""

    OURS = "ours"
    CANCELLING = "cancelling"
    FORBIDDEN = "forbidden"
    """Who brought it has no say over its devices any more."""
    LOST = "lost"


def claim_next(
    worker: str,
    *,
    only: int | None = None,
    passing_over: Collection[int | None] = (),
    is_gone: Callable[[str], bool] = lambda _: False,
) -> Import | None:
    """Take the import that is next under a new lease; None where nothing waits.

    Next is the user's with the fewest imports running, then the one's who was served the longest time ago,
    then the oldest. Users whose key is in `passing_over` are passed over, and so is what touches a device
    that another import is at work on: each import finds what those before it have left. `is_gone` says of
    a worker's name that this worker is known to be dead, so that its lease need not run out. With `only`,
    the import of this number is taken, or none.
    """
    if not Import.objects.filter(state__in=_ACTIVE).exists():
        return None
    with transaction.atomic():
        # Claims pass here one after another; what follows sees what the one before has claimed.
        list(Import.objects.select_for_update().filter(state__in=_ACTIVE).order_by("pk").values_list("pk"))
        now = timezone.now()
        chosen = _find_next(now, passing_over, is_gone, only=only)
        if chosen is None:
            return None
        held_before = chosen.state == State.RUNNING or bool(chosen.leased_by)
        changed = {
            "state": State.UNDOING if chosen.state == State.UNDOING else State.RUNNING,
            "lease": chosen.lease + 1,
            "leased_by": worker,
            "heartbeat_at": now,
            "attempts": chosen.attempts + 1,
            "started_at": chosen.started_at or now,
        }
        same = Import.objects.filter(pk=chosen.pk, lease=chosen.lease, state=chosen.state)
        if not same.update(**changed):
            return None
        claimed = Import.objects.select_related("device", "user").get(pk=chosen.pk)
    log.info(
        "import %d: %s%s (attempt %d)",
        chosen.pk,
        "taken over from a worker that is gone" if held_before else "claimed",
        " to be undone" if chosen.state == State.UNDOING else "",
        changed["attempts"],
    )
    return claimed


def is_anything_waiting(
    *, passing_over: Collection[int | None] = (), is_gone: Callable[[str], bool] = lambda _: False
) -> bool:
    """Say whether `claim_next` would find something."""
    return _find_next(timezone.now(), passing_over, is_gone) is not None


def workers() -> set[str]:
    """Return the names of the workers that hold a lease, be they alive or not."""
    return set(Import.objects.filter(state__in=_HELD).order_by().values_list("leased_by", flat=True))


def keep(held: Iterable[Import]) -> int:
    """Give a heartbeat to imports that are still whose they were claimed by; return how many these are."""
    ours = Q(pk__in=())
    for import_ in held:
        ours |= Q(pk=import_.pk, lease=import_.lease)
    return Import.objects.filter(ours, state__in=_HELD).update(heartbeat_at=timezone.now())


def standing(import_: Import) -> Standing:
    """Say whether a claimed import is still ours, and whether it has to stop."""
    found = _ours(import_).select_related("user").first()
    if found is None:
        return Standing.LOST
    if found.state == State.UNDOING:
        return Standing.OURS
    if found.is_cancelling:
        return Standing.CANCELLING
    # Whoever runs a command on this machine needs nobody's leave, and brings no upload.
    is_allowed = not found.upload or may_still_import(found)
    return Standing.OURS if is_allowed else Standing.FORBIDDEN


def got_on(import_: Import) -> None:
    """Begin to count attempts anew: the import has come further than it was when it was claimed."""
    if import_.attempts and _ours(import_).update(attempts=0):
        import_.attempts = 0


def release(import_: Import, *, is_failure: bool = False, report: ImportReport | None = None) -> bool:
    """Give a claimed import back, so that whoever is free goes on with it; say whether it was ours.

    `is_failure` lets the attempt count and the next one wait. The account so far goes into the record.
    """
    spent = F("attempts") if is_failure else Case(When(attempts__gt=0, then=F("attempts") - 1), default=0)
    given_back = Case(When(state=State.RUNNING, then=Value(State.QUEUED.value)), default=F("state"))
    so_far = counted(report) if report is not None and import_.state == State.RUNNING else {}
    changed = _ours(import_).update(
        state=given_back, attempts=spent, leased_by="", heartbeat_at=timezone.now(), **so_far
    )
    if changed:
        log.info("import %d: given back", import_.pk)
    return bool(changed)


def finish(
    import_: Import, state: Import.State, *, report: ImportReport | None = None, problem: str = ""
) -> bool:
    """End a claimed import: keep its account, say the units of its metrics, remove its upload.

    Returns whether it was ours; if it was not, nothing is changed.
    """
    now = timezone.now()
    changed: dict[str, Any] = {"state": state, "problem": problem, "leased_by": "", "is_cancelling": False}
    if import_.state == State.RUNNING:
        changed |= {"finished_at": now, "upload": ""}
    if state == State.UNDONE:
        changed["undone_at"] = now
    if report is not None:
        changed |= counted(report)
    with transaction.atomic():
        if not _ours(import_).update(**changed):
            return False
        if report is not None and not report.is_dry_run:
            _try_to_say_units(import_, report)
    log.info("import %d: %s%s", import_.pk, state.value, _counts(changed))
    upload = import_.upload
    _changed(import_, changed)
    if not import_.upload:
        remove_upload(upload)
    return True


def _try_to_say_units(import_: Import, report: ImportReport) -> None:
    """Say the units; an import does not fail over one that cannot be kept."""
    try:
        with transaction.atomic():
            say_units(import_, report)
    except DatabaseError:
        log.exception("import %d: the units of its metrics could not be kept", import_.pk)


def _ours(import_: Import) -> QuerySet[Import]:
    return Import.objects.filter(pk=import_.pk, lease=import_.lease, state__in=_HELD)


def _changed(import_: Import, changed: dict[str, Any]) -> Import:
    for name, value in changed.items():
        setattr(import_, name, value)
    return import_


def _counts(changed: dict[str, Any]) -> str:
    names = (
        "rows_read",
        "rows_rejected",
        "cells_stored",
        "cells_replaced",
        "cells_duplicate",
        "cells_conflict",
    )
    return "".join(f", {name} {changed[name]}" for name in names if name in changed)


def _find_next(
    now: datetime,
    passing_over: Collection[int | None],
    is_gone: Callable[[str], bool],
    *,
    only: int | None = None,
) -> Import | None:
    """Return what `claim_next` claims, as it stands."""
    free: list[Import] = []
    resting: list[Import] = []
    active = list(_in_front())
    for each in active:
        (free if _is_free(each, now, is_gone) else resting).append(each)
    devices = _devices(active)
    # One that was never heard of is no worker's, and may be dead.
    at_work = set().union(*(devices[each.pk] for each in resting if each.heartbeat_at is not None))
    running = Counter(each.user_id for each in resting if each.state == State.RUNNING or each.leased_by)
    candidates = [
        each
        for each in free
        if each.user_id not in passing_over and not devices[each.pk] & at_work and only in (None, each.pk)
    ]
    if not candidates:
        return None
    served = dict(
        Import.objects.filter(user__in={each.user_id for each in candidates} - {None})
        .order_by()
        .values_list("user")
        .annotate(Max("heartbeat_at"))
    )
    never = datetime.min.replace(tzinfo=UTC)

    def turn(import_: Import) -> tuple[int, datetime, datetime, int]:
        user = import_.user_id
        asked = import_.queued_at or import_.created_at
        return running[user], served.get(user) or never, asked, import_.pk

    return min(candidates, key=turn)


def _in_front() -> QuerySet[Import]:
    """Return what somebody is at work on, and the first of each user's that wait, without large fields."""
    place = Window(
        RowNumber(),
        partition_by=(F("state"), F("user")),
        order_by=(F("queued_at").asc(nulls_first=True), F("pk").asc()),
    )
    held = Q(state=State.RUNNING) | ~Q(leased_by="")
    found = Import.objects.filter(state__in=_ACTIVE).annotate(place=place).order_by()
    return found.filter(held | Q(place__lte=_IN_FRONT)).defer("profile", "columns", "report", "problem")


def _is_free(import_: Import, now: datetime, is_gone: Callable[[str], bool]) -> bool:
    """Say whether nobody is at work on an active import, and it need not wait after an error."""
    heard = import_.heartbeat_at
    if import_.state in _WAITING and not import_.leased_by:
        return not import_.attempts or heard is None or heard < now - RETRY_AFTER
    if heard is None:
        return (import_.started_at or import_.created_at) < now - NEVER_HEARD
    return heard < now - LEASE_TIME or is_gone(import_.leased_by)


def _devices(imports: Collection[Import]) -> dict[int, set[int]]:
    """Return by import the keys of the devices that it touches."""
    devices = {each.pk: {each.device_id} - {None} for each in imports}
    through = Import.devices.through.objects.filter(import_id__in=devices)
    for import_id, device in through.values_list("import_id", "device_id"):
        devices[import_id].add(device)
    return devices  # type: ignore[return-value]
