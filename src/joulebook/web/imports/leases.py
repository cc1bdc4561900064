"""The queue of imports: a worker claims an import under a lease, renews the lease, and releases or ends it.

Each claim gives the lease a new number, and every other change depends on that number: a worker whose lease
was taken over cannot update the import. A command importing or undoing a file works like a worker.
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
from joulebook.web.devices.operations import set_first_kind, set_metric_unit
from joulebook.web.imports.models import Import, report_fields
from joulebook.web.imports.queries import may_still_import
from joulebook.web.imports.uploads.files import remove_upload

log = logging.getLogger(__name__)

State = Import.State

LEASE_TIME = timedelta(seconds=60)
"""Time from the last heartbeat until another worker may take the import over."""

RETRY_AFTER = timedelta(seconds=5)
"""Time from an error until an import is tried again."""

MOST_ATTEMPTS = 5
"""Claims without progress until an import fails."""

_LONGEST_WITHOUT_HEARTBEAT = timedelta(days=1)
"""A running import that never had a heartbeat is taken over this time after its start."""

_FIRST_IN_QUEUE = 20
"""How many waiting imports of each user are considered, because thousands may wait."""

_LOGGED_COUNTS = (
    "rows_read",
    "rows_rejected",
    "cells_stored",
    "cells_replaced",
    "cells_duplicate",
    "cells_conflict",
)

_WAITING = (State.QUEUED, State.UNDOING)
_HELD = (State.RUNNING, State.UNDOING)
_ACTIVE = (State.QUEUED, State.RUNNING, State.UNDOING)


class LeaseState(enum.Enum):
    """Whether a worker may continue with a claimed import, and if not, why."""

    OURS = "ours"
    """It may continue."""
    CANCELLING = "cancelling"
    """A user has cancelled the import: the worker ends it."""
    FORBIDDEN = "forbidden"
    """The user of the upload no longer owns all its devices, or was disabled."""
    LOST = "lost"
    """Another worker has taken the import over, or it has ended: the worker must not touch it."""


def claim_next(
    worker: str,
    *,
    only: int | None = None,
    skipped_users: Collection[int | None] = (),
    is_dead: Callable[[str], bool] = lambda _: False,
) -> Import | None:
    """Claim the next import under a new lease; None if nothing waits.

    Users with fewer running imports come first, then users whose last import was worked on longer ago, then
    older imports. Imports of `skipped_users` (None: imports without a user) are skipped, and so are imports
    for a device busy with another import, because each import must see the readings stored by earlier ones.
    `is_dead` returns whether the worker of a name is known to be dead: then its lease need not expire. With
    `only`, claim the import with this key or none.
    """
    if not Import.objects.filter(state__in=_ACTIVE).exists():
        return None
    with transaction.atomic():
        # Claims run one after another here; each sees the earlier ones.
        list(Import.objects.select_for_update().filter(state__in=_ACTIVE).order_by("pk").values_list("pk"))
        now = timezone.now()
        chosen = _find_next(now, skipped_users, is_dead, only=only)
        if chosen is None:
            return None
        was_held = chosen.state == State.RUNNING or bool(chosen.leased_by)
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
        "taken over from a dead worker" if was_held else "claimed",
        " to be undone" if chosen.state == State.UNDOING else "",
        changed["attempts"],
    )
    return claimed


def is_anything_waiting(
    *, skipped_users: Collection[int | None] = (), is_dead: Callable[[str], bool] = lambda _: False
) -> bool:
    """Return whether `claim_next` would find an import."""
    return _find_next(timezone.now(), skipped_users, is_dead) is not None


def lease_holders() -> set[str]:
    """Return the names of the workers holding a lease, alive or dead; "" is an undo without one."""
    return set(Import.objects.filter(state__in=_HELD).order_by().values_list("leased_by", flat=True))


def renew(held: Iterable[Import]) -> int:
    """Renew the leases of claimed imports, except those taken over; return the number of renewed leases."""
    ours = Q(pk__in=())
    for import_ in held:
        ours |= Q(pk=import_.pk, lease=import_.lease)
    return Import.objects.filter(ours, state__in=_HELD).update(heartbeat_at=timezone.now())


def lease_state(import_: Import) -> LeaseState:
    """Return whether the worker that claimed this import may continue with it. An undo is never stopped."""
    found = _if_ours(import_).select_related("user").first()
    if found is None:
        return LeaseState.LOST
    if found.state == State.UNDOING:
        return LeaseState.OURS
    if found.is_cancelling:
        return LeaseState.CANCELLING
    # Imports by the command have no upload, and skip the ownership check.
    is_allowed = not found.upload or may_still_import(found)
    return LeaseState.OURS if is_allowed else LeaseState.FORBIDDEN


def reset_attempts(import_: Import) -> None:
    """Set the attempts of a claimed import to 0, because it has progressed."""
    if import_.attempts and _if_ours(import_).update(attempts=0):
        import_.attempts = 0


def release(import_: Import, *, is_failure: bool = False, report: ImportReport | None = None) -> bool:
    """Release a claimed import for any free worker; return False, changing nothing, if it was taken over.

    With `is_failure` this attempt counts, and the next one begins after `RETRY_AFTER`. `report` is the report
    so far; without it the recorded one stays.
    """
    attempts = F("attempts") if is_failure else Case(When(attempts__gt=0, then=F("attempts") - 1), default=0)
    state = Case(When(state=State.RUNNING, then=Value(State.QUEUED.value)), default=F("state"))
    so_far = report_fields(report) if report is not None and import_.state == State.RUNNING else {}
    changed = _if_ours(import_).update(
        state=state, attempts=attempts, leased_by="", heartbeat_at=timezone.now(), **so_far
    )
    if changed:
        log.info("import %d: released", import_.pk)
    return bool(changed)


def finish(
    import_: Import, state: Import.State, *, report: ImportReport | None = None, problem: str = ""
) -> bool:
    """End a claimed import or undo in `state`; return False, changing nothing, if it was taken over.

    This records the report and the `problem` (empty for none), sets the units and kinds of the metrics, and
    removes the upload.
    """
    now = timezone.now()
    changed: dict[str, Any] = {"state": state, "problem": problem, "leased_by": "", "is_cancelling": False}
    if import_.state == State.RUNNING:
        changed |= {"finished_at": now, "upload": ""}
    if state == State.UNDONE:
        changed["undone_at"] = now
    if report is not None:
        changed |= report_fields(report)
    with transaction.atomic():
        if not _if_ours(import_).update(**changed):
            return False
        if report is not None and not report.is_dry_run:
            _set_meanings(import_, report)
    counts = "".join(f", {name} {changed[name]}" for name in _LOGGED_COUNTS if name in changed)
    log.info("import %d: %s%s", import_.pk, state.value, counts)
    upload = import_.upload
    for name, value in changed.items():
        setattr(import_, name, value)
    if not import_.upload:
        remove_upload(upload)
    return True


def _set_meanings(import_: Import, report: ImportReport) -> None:
    """Set the unit and the kind of each metric with readings from the file, as far as the file shows them.

    A kind set before stays. A database error is only logged.
    """
    devices = {device.device_id: device for device in import_.devices.all()}
    try:
        with transaction.atomic():
            for column in report.columns:
                device = devices.get(column.device) if column.device else import_.device
                if device is None or not column.readable:
                    continue
                if column.unit:
                    set_metric_unit(device, column.metric, column.unit)
                if column.kind:
                    set_first_kind(device, column.metric, column.kind)
    except DatabaseError:
        log.exception("import %d: the units and kinds of its metrics could not be stored", import_.pk)


def _if_ours(import_: Import) -> QuerySet[Import]:
    """Return the import if its lease was not taken over and it has not ended, else nothing."""
    return Import.objects.filter(pk=import_.pk, lease=import_.lease, state__in=_HELD)


def _find_next(
    now: datetime,
    skipped_users: Collection[int | None],
    is_dead: Callable[[str], bool],
    *,
    only: int | None = None,
) -> Import | None:
    """Return the import to be claimed next, without claiming it."""
    free: list[Import] = []
    busy: list[Import] = []
    active = list(_first_in_queue())
    for each in active:
        (free if _is_free(each, now, is_dead) else busy).append(each)
    devices = _devices(active)
    # Running imports without any heartbeat have no worker, and may be dead: they block no device.
    busy_devices = set().union(*(devices[each.pk] for each in busy if each.heartbeat_at is not None))
    running = Counter(each.user_id for each in busy if each.state == State.RUNNING or each.leased_by)
    candidates = [
        each
        for each in free
        if each.user_id not in skipped_users
        and not devices[each.pk] & busy_devices
        and only in (None, each.pk)
    ]
    if not candidates:
        return None
    last_served = dict(
        Import.objects.filter(user__in={each.user_id for each in candidates} - {None})
        .order_by()
        .values_list("user")
        .annotate(Max("heartbeat_at"))
    )
    never = datetime.min.replace(tzinfo=UTC)

    def order(import_: Import) -> tuple[int, datetime, datetime, int]:
        user = import_.user_id
        queued = import_.queued_at or import_.created_at
        return running[user], last_served.get(user) or never, queued, import_.pk

    return min(candidates, key=order)


def _first_in_queue() -> QuerySet[Import]:
    """Return the imports held by a worker, and the first waiting ones of each user, without large fields."""
    position = Window(
        RowNumber(),
        partition_by=(F("state"), F("user")),
        order_by=(F("queued_at").asc(nulls_first=True), F("pk").asc()),
    )
    held = Q(state=State.RUNNING) | ~Q(leased_by="")
    found = Import.objects.filter(state__in=_ACTIVE).annotate(position=position).order_by()
    return found.filter(held | Q(position__lte=_FIRST_IN_QUEUE)).defer(
        "profile", "columns", "report", "problem"
    )


def _is_free(import_: Import, now: datetime, is_dead: Callable[[str], bool]) -> bool:
    """Return whether an active import has no living worker, and is not pausing after an error."""
    last_seen = import_.heartbeat_at
    if import_.state in _WAITING and not import_.leased_by:
        return not import_.attempts or last_seen is None or last_seen < now - RETRY_AFTER
    if last_seen is None:
        return (import_.started_at or import_.created_at) < now - _LONGEST_WITHOUT_HEARTBEAT
    return last_seen < now - LEASE_TIME or is_dead(import_.leased_by)


def _devices(imports: Collection[Import]) -> dict[int, set[int]]:
    """Return for each import's key the keys of its devices."""
    devices = {each.pk: {each.device_id} - {None} for each in imports}
    through = Import.devices.through.objects.filter(import_id__in=devices)
    for import_id, device in through.values_list("import_id", "device_id"):
        devices[import_id].add(device)
    return devices  # type: ignore[return-value]
