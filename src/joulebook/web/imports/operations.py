"""What people do with imports: upload a file, have it imported, stop that, and undo it.

Nothing here touches readings: the worker does what was asked for.
"""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from joulebook.telemetry.files.profile import ImportProfile
from joulebook.web.accounts.operations import lock_user
from joulebook.web.devices.models import Device
from joulebook.web.imports.models import Import
from joulebook.web.imports.queries import find_earlier
from joulebook.web.imports.uploads.files import Upload, remove_upload
from joulebook.web.imports.uploads.quotas import check_drafts, check_queued, check_uploads

State = Import.State

_LONGEST_NAME = 255


class UnableToImport(Exception):
    """What was asked for is not possible for this import now; the message says why."""


class NotYours(UnableToImport):
    """A device is not there, or not the user's: nobody learns which."""

    def __init__(self, device_id: str) -> None:
        super().__init__(f"you own no device {device_id[:80]!r}; create it, or choose another")
        self.device_id = device_id


class AlreadyImported(UnableToImport):
    """The same file was imported for the device before, read the same way."""

    def __init__(self, earlier: Import) -> None:
        super().__init__(
            f"the same file is import {earlier.pk} of {earlier.created_at:%Y-%m-%d %H:%M} UTC already; "
            "importing it again is harmless, and is done where you ask for it"
        )
        self.earlier = earlier


@dataclass(frozen=True)
class ImportOrder:
    """How a file is to be imported and for which device; `columns` are its column names by position."""

    profile: ImportProfile
    columns: tuple[str, ...]
    device: Device
    on_conflict: Literal["keep", "replace"] = "keep"
    is_strict: bool = False


def create_draft(
    user: User, upload: Upload, *, name: str, device: Device | None = None, is_queued_next: bool = False
) -> Import:
    """Make an import of an upload, which waits for `queue_import`. `name` is what people call the file.

    With `is_queued_next` the same transaction queues it, so that it never is one of the user's drafts.
    Raises `NotYours`, and `QuotaReached` where the user has too much waiting, uploads at the same time
    included.
    """
    if device is not None and device.owner_id != user.pk:
        raise NotYours(device.device_id)
    with transaction.atomic():
        lock_user(user)
        check_uploads(user, size=upload.size)
        if not is_queued_next:
            check_drafts(user)
        return Import.objects.create(
            user=user,
            device=device,
            file_name=shown_name(name),
            file_sha256=upload.sha256,
            file_size=upload.size,
            upload=upload.name,
        )


def shown_name(name: str) -> str:
    """Return a file's name fit to be shown: its last part, without what cannot be printed."""
    last = name.replace("\\", "/").rpartition("/")[2]
    clean = "".join(each for each in last if unicodedata.category(each)[0] != "C").strip()
    return clean[:_LONGEST_NAME] or "unnamed"


def queue_import(import_: Import, order: ImportOrder, *, force: bool = False) -> None:
    """Have a draft imported as ordered by the next worker that is free.

    Raises `NotYours` where a device of the order is not one of the user's, `AlreadyImported` where the
    same was imported before and `force` is not said, `QuotaReached` where too many of the user's imports
    wait, and `UnableToImport` where it is a draft no more.
    """
    with transaction.atomic():
        if import_.user is not None:
            lock_user(import_.user)
            check_queued(import_.user)
        devices = _devices(import_, order)
        import_.device = order.device
        import_.profile = order.profile.as_json()
        import_.columns = list(order.columns)
        import_.on_conflict = Import.OnConflict(order.on_conflict)
        import_.is_strict = order.is_strict
        import_.queued_at = timezone.now()
        earlier = None if force else find_earlier(import_)
        if earlier is not None:
            raise AlreadyImported(earlier)
        if not _moved(import_, {State.DRAFT}, State.QUEUED):
            raise UnableToImport("this file is imported, or discarded, already")
        import_.save()
        import_.devices.set(devices)


def cancel_import(import_: Import) -> None:
    """Stop an import; what it has stored until then stays, and can be undone. Raises `UnableToImport`."""
    with transaction.atomic():
        if _moved(import_, {State.QUEUED}, State.CANCELLED):
            import_.finished_at = timezone.now()
            import_.save(update_fields=["finished_at"])
            remove_upload(import_.upload)
        elif Import.objects.filter(pk=import_.pk, state=State.RUNNING).update(is_cancelling=True):
            import_.is_cancelling = True
        else:
            raise UnableToImport("this import has ended already")


def undo_import(import_: Import, *, by: User | None) -> None:
    """Have everything that an import has stored taken back by the next worker. Raises `UnableToImport`."""
    with transaction.atomic():
        if not _moved(import_, {State.DONE, State.FAILED, State.CANCELLED}, State.UNDOING):
            raise UnableToImport("only an import that has ended, and is not undone yet, can be undone")
        import_.undone_by = by
        import_.attempts = 0
        import_.save(update_fields=["undone_by", "attempts"])


def end_imports_of_former_owner(device: Device, **_: object) -> None:
    """Cancel uploads that wait to be stored for a device that was handed over, or that are being stored.

    What they have stored stays, and the new owner can undo it. Drafts lose the device that was chosen.
    """
    Import.objects.filter(device=device, state=State.DRAFT).update(device=None)
    into = Import.objects.filter(Q(device=device) | Q(devices=device)).exclude(upload="")
    for import_ in into.filter(state__in=(State.QUEUED, State.RUNNING)).distinct():
        with suppress(UnableToImport):  # it has just ended by itself
            cancel_import(import_)


def discard_draft(import_: Import) -> None:
    """Remove a draft and its upload. Raises `UnableToImport` where it is a draft no more."""
    deleted, _ = Import.objects.filter(pk=import_.pk, state=State.DRAFT).delete()
    if not deleted:
        raise UnableToImport("this file is being imported already; cancel or undo that")
    remove_upload(import_.upload)


def _devices(import_: Import, order: ImportOrder) -> list[Device]:
    named = {value.device for value in order.profile.values} - {""}
    wanted = {order.device.device_id, *named}
    owned = list(Device.objects.filter(device_id__in=wanted, owner=import_.user))
    missing = sorted(wanted - {device.device_id for device in owned})
    if missing:
        raise NotYours(missing[0])
    return owned


def _moved(import_: Import, before: set[Import.State], after: Import.State) -> bool:
    """Change the state if it is one of `before` still; say whether it was."""
    if not Import.objects.filter(pk=import_.pk, state__in=before).update(state=after):
        return False
    import_.state = after
    return True
