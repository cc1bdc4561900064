"""The queue of imports: which import a worker claims next, whether it may continue, and how an import ends.

A command importing or undoing a file works like a worker.
"""

from __future__ import annotations

import enum
import logging
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Case, F, Max, Q, QuerySet, Value, When, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from joulebook.telemetry.files.report import ImportReport
from joulebook.web import leases
from joulebook.web.devices.operations import set_first_meaning
from joulebook.web.imports.models import Import, report_fields
from joulebook.web.imports.queries import may_still_import
from joulebook.web.imports.uploads.files import remove_upload
from joulebook.web.leases import ACTIVE, IsDead, if_ours, nobody_is_dead

log = logging.getLogger(__name__)

State = Import.State

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
    is_dead: IsDead = nobody_is_dead,
) -> Import | None:
    """Claim the next import under a new lease; None if nothing waits.

    Users with fewer running imports come first, then users whose last import was worked on longer ago, then
    older imports. Imports of `skipped_users` (None: imports without a user) are skipped, and so are imports
    for a device busy with another import, because each import must see the readings stored by earlier ones.
    With `only`, claim the import with this key or none.
    """
    if not Import.objects.filter(state__in=ACTIVE).exists():
        return None
    with transaction.atomic():
        list(leases.lock_active(Import).order_by("pk").values_list("pk"))
        chosen = _find_next(skipped_users, is_dead, only=only)
        if chosen is None or not leases.take(chosen, worker, started_at=chosen.started_at or timezone.now()):
            return None
        return Import.objects.select_related("device", "user").get(pk=chosen.pk)


def is_anything_waiting(
    *, skipped_users: Collection[int | None] = (), is_dead: IsDead = nobody_is_dead
) -> bool:
    """Return whether `claim_next` would find an import."""
    return _find_next(skipped_users, is_dead) is not None


def lease_state(import_: Import) -> LeaseState:
    """Return whether the worker that claimed this import may continue with it. An undo is never stopped."""
    found = if_ours(import_).select_related("user").first()
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
    if import_.attempts and if_ours(import_).update(attempts=0):
        import_.attempts = 0


def release(import_: Import, *, is_failure: bool = False, report: ImportReport | None = None) -> bool:
    """Release a claimed import for any free worker; return False, changing nothing, if it was taken over.

    With `is_failure` this attempt counts, and the next one begins after `RETRY_AFTER`. `report` is the report
    so far; without it the recorded one stays.
    """
    attempts = F("attempts") if is_failure else Case(When(attempts__gt=0, then=F("attempts") - 1), default=0)
    state = Case(When(state=State.RUNNING, then=Value(State.QUEUED.value)), default=F("state"))
    so_far = report_fields(report) if report is not None and import_.state == State.RUNNING else {}
    return leases.release(import_, state=state, attempts=attempts, **so_far)


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
        if not if_ours(import_).update(**changed):
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

    What was set before stays: a different unit is shown as a conflict. A database error is only logged.
    """
    devices = {device.device_id: device for device in import_.devices.all()}
    try:
        with transaction.atomic():
            for column in report.columns:
                device = devices.get(column.device) if column.device else import_.device
                if device is None or not column.readable:
                    continue
                if column.unit or column.kind:
                    set_first_meaning(device, column.metric, unit=column.unit, kind=column.kind)
    except DatabaseError:
        log.exception("import %d: the units and kinds of its metrics could not be stored", import_.pk)


def _find_next(
    skipped_users: Collection[int | None],
    is_dead: IsDead,
    *,
    only: int | None = None,
) -> Import | None:
    """Return the import to be claimed next, without claiming it."""
    free: list[Import] = []
    busy: list[Import] = []
    active = list(_first_in_queue())
    for each in active:
        (free if leases.is_free(each, is_dead) else busy).append(each)
    devices = _devices(active)
    busy_devices = set().union(*(devices[each.pk] for each in busy if each.leased_by))
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
    found = Import.objects.filter(state__in=ACTIVE).annotate(position=position).order_by()
    return found.filter(held | Q(position__lte=_FIRST_IN_QUEUE)).defer(
        "profile", "columns", "files", "report", "problem"
    )


def _devices(imports: Collection[Import]) -> dict[int, set[int]]:
    """Return for each import's key the keys of its devices."""
    devices = {each.pk: {each.device_id} - {None} for each in imports}
    through = Import.devices.through.objects.filter(import_id__in=devices)
    for import_id, device in through.values_list("import_id", "device_id"):
        devices[import_id].add(device)
    return devices  # type: ignore[return-value]
