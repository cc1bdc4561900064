"""Changes of imports requested by users, within their limits; and clean-up of drafts and uploads.

Nothing here touches readings: a worker does the requested work.
"""

from __future__ import annotations

import logging
import time
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q, Sum
from django.utils import timezone

from joulebook.telemetry.files.members import Member
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.web.accounts.operations import lock_user
from joulebook.web.devices.models import Device
from joulebook.web.imports.models import DRAFT_RETENTION, Import
from joulebook.web.imports.queries import find_earlier
from joulebook.web.imports.uploads.files import Upload, remove_orphans, remove_upload

log = logging.getLogger(__name__)

State = Import.State

UPLOAD_RETENTION = timedelta(days=1)
"""Time after which an upload without an import is removed; until then its import may still follow."""

_LONGEST_NAME = 255


class UnableToImport(Exception):
    """The request is not possible in the import's state; the message gives the reason."""


class NotYours(UnableToImport):
    """A device is missing, or another user's; the message does not tell these apart."""

    def __init__(self, device_id: str) -> None:
        super().__init__(f"you own no device {device_id[:80]!r}; create it, or choose another")
        self.device_id = device_id


class AlreadyImported(UnableToImport):
    """The same file was imported for the device before, with the same settings."""

    def __init__(self, earlier: Import) -> None:
        super().__init__(
            f"the same file is import {earlier.pk} of {earlier.created_at:%Y-%m-%d %H:%M} UTC already; "
            "importing it again is harmless, and is done on request"
        )
        self.earlier = earlier


class QuotaReached(Exception):
    """A limit of the user is reached; `code` names the limit, the message the remedy."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class ImportOrder:
    """The device and reading settings of an import; `columns` are the file's column names by position.

    `members` are the files if they are several.
    """

    profile: ImportProfile
    columns: tuple[str, ...]
    device: Device
    on_conflict: Literal["keep", "replace"] = "keep"
    is_strict: bool = False
    members: tuple[Member, ...] = ()


def check_upload_quota(user: User, *, size: int) -> None:
    """Raise `QuotaReached` if a file of `size` bytes would exceed the user's quota of waiting bytes.

    It holds only inside a transaction with the user locked.
    """
    most = settings.CONFIG.user_upload_bytes
    on_disk = Import.objects.filter(user=user, state__in=(State.DRAFT, State.QUEUED, State.RUNNING))
    used = on_disk.exclude(upload="").aggregate(bytes=Sum("file_size"))["bytes"] or 0
    if used + size > most:
        raise QuotaReached(
            "user_upload_bytes",
            f"your files waiting for import have {used:,} bytes, and this one {size:,}; together they "
            f"may have {most:,}: import or discard some first",
        )


def create_draft(
    user: User, upload: Upload, *, name: str, device: Device | None = None, is_queued_next: bool = False
) -> Import:
    """Create a draft from an upload. `name` is the sender's name for the file.

    With `is_queued_next` the caller queues it in the same transaction, and it does not count as a draft.
    Raises `NotYours`, and `QuotaReached` if too much of the user's is waiting, other uploads at the same
    time included.
    """
    if device is not None and device.owner_id != user.pk:
        raise NotYours(device.device_id)
    with transaction.atomic():
        lock_user(user)
        check_upload_quota(user, size=upload.size)
        most = settings.CONFIG.user_drafts
        if not is_queued_next and Import.objects.filter(user=user, state=State.DRAFT).count() >= most:
            message = f"you have {most:,} drafts already; import or discard some first"
            raise QuotaReached("user_drafts", message)
        return Import.objects.create(
            user=user,
            device=device,
            file_name=printable_name(name),
            file_sha256=upload.sha256,
            file_size=upload.size,
            upload=upload.name,
        )


def printable_name(name: str) -> str:
    """Return the last part of a file's path, without unprintable characters."""
    last = name.replace("\\", "/").rpartition("/")[2]
    clean = "".join(each for each in last if unicodedata.category(each)[0] != "C").strip()
    return clean[:_LONGEST_NAME] or "unnamed"


def queue_import(import_: Import, order: ImportOrder, *, force: bool = False) -> None:
    """Queue a draft for the next free worker.

    Raises `NotYours` for a device of another user, `AlreadyImported` for an earlier import of the same
    file unless `force` is set, `QuotaReached` if too many of the user's imports wait, and `UnableToImport`
    if it is not a draft any more.
    """
    with transaction.atomic():
        if import_.user is not None:
            lock_user(import_.user)
            waiting = Import.objects.filter(user=import_.user, state__in=(State.QUEUED, State.RUNNING))
            most = settings.CONFIG.user_queued
            if waiting.count() >= most:
                message = f"{most:,} of your imports wait already; try again when some are done"
                raise QuotaReached("user_queued", message)
        devices = _owned_devices(import_, order)
        import_.device = order.device
        import_.profile = order.profile.as_json()
        import_.columns = list(order.columns)
        import_.files = [member.as_json() for member in order.members]
        import_.on_conflict = Import.OnConflict(order.on_conflict)
        import_.is_strict = order.is_strict
        import_.queued_at = timezone.now()
        earlier = None if force else find_earlier(import_)
        if earlier is not None:
            raise AlreadyImported(earlier)
        if not _change_state(import_, {State.DRAFT}, State.QUEUED):
            raise UnableToImport("this file is imported, or discarded, already")
        import_.save()
        import_.devices.set(devices)


def cancel_import(import_: Import) -> None:
    """Stop an import; readings stored until then stay, and can be undone. Raises `UnableToImport`."""
    with transaction.atomic():
        if _change_state(import_, {State.QUEUED}, State.CANCELLED):
            import_.finished_at = timezone.now()
            import_.save(update_fields=["finished_at"])
            remove_upload(import_.upload)
        elif Import.objects.filter(pk=import_.pk, state=State.RUNNING).update(is_cancelling=True):
            import_.is_cancelling = True
        else:
            raise UnableToImport("this import has ended already")


def undo_import(import_: Import, *, by: User | None) -> None:
    """Request the undo of an import, by the next free worker. Raises `UnableToImport`."""
    with transaction.atomic():
        if not _change_state(import_, {State.DONE, State.FAILED, State.CANCELLED}, State.UNDOING):
            raise UnableToImport("only an import that has ended, and is not undone yet, can be undone")
        import_.undone_by = by
        import_.attempts = 0
        import_.save(update_fields=["undone_by", "attempts"])


def cancel_imports_of_former_owner(device: Device, **_: object) -> None:
    """Cancel queued and running uploads for a device after its owner has changed.

    Stored readings stay, and the new owner can undo them. Drafts for the device lose it.
    """
    Import.objects.filter(device=device, state=State.DRAFT).update(device=None)
    into = Import.objects.filter(Q(device=device) | Q(devices=device)).exclude(upload="")
    for import_ in into.filter(state__in=(State.QUEUED, State.RUNNING)).distinct():
        with suppress(UnableToImport):  # It has just ended by itself.
            cancel_import(import_)


def discard_draft(import_: Import) -> None:
    """Remove a draft and its upload. Raises `UnableToImport` if it is not a draft any more."""
    deleted, _ = Import.objects.filter(pk=import_.pk, state=State.DRAFT).delete()
    if not deleted:
        raise UnableToImport("this file is being imported already; cancel or undo that")
    remove_upload(import_.upload)


def remove_old_drafts() -> int:
    """Remove drafts older than `DRAFT_RETENTION`, with their uploads; return their number."""
    removed = 0
    for draft in Import.objects.filter(state=State.DRAFT, created_at__lt=timezone.now() - DRAFT_RETENTION):
        try:
            discard_draft(draft)
        except UnableToImport:
            continue  # It has just been queued.
        removed += 1
    if removed:
        log.info("%d draft(s) of imports removed after %s", removed, DRAFT_RETENTION)
    return removed


def remove_orphaned_uploads() -> int:
    """Remove uploads older than `UPLOAD_RETENTION` without an active import; return their number."""
    needed = Import.objects.filter(state__in=(State.DRAFT, State.QUEUED, State.RUNNING)).exclude(upload="")
    before = time.time() - UPLOAD_RETENTION.total_seconds()
    removed = remove_orphans(set(needed.values_list("upload", flat=True)), before=before)
    if removed:
        log.info("%d upload(s) without an import removed", removed)
    return removed


def _owned_devices(import_: Import, order: ImportOrder) -> list[Device]:
    """Return all devices of an order; raises `NotYours`."""
    named = {value.device for value in order.profile.values} - {""}
    wanted = {order.device.device_id, *named}
    owned = list(Device.objects.filter(device_id__in=wanted, owner=import_.user))
    missing = sorted(wanted - {device.device_id for device in owned})
    if missing:
        raise NotYours(missing[0])
    return owned


def _change_state(import_: Import, before: set[Import.State], after: Import.State) -> bool:
    """Change the state if it is one of `before`; return whether it was."""
    if not Import.objects.filter(pk=import_.pk, state__in=before).update(state=after):
        return False
    import_.state = after
    return True
