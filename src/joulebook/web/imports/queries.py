"""Access to imports: the owner of all their devices sees them; a draft is seen by its user."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Exists, OuterRef, Q, QuerySet

from joulebook.web.devices.models import Device
from joulebook.web.imports.models import Import

_SAME_READINGS = (Import.State.DONE, Import.State.QUEUED, Import.State.RUNNING)


def visible_imports(user: User | AnonymousUser) -> QuerySet[Import]:
    """Return the imports the user may see, change and undo, the newest first."""
    if not user.is_authenticated or not user.is_active:
        return Import.objects.none()
    of_others = Device.objects.filter(all_imports=OuterRef("pk")).exclude(owner=user)
    is_draft = Q(state=Import.State.DRAFT)
    own = (is_draft & Q(user=user)) | (~is_draft & (Q(device__owner=user) | Q(device=None, user=user)))
    return Import.objects.filter(own, ~Exists(of_others)).select_related("device", "user")


def find_visible_import(user: User | AnonymousUser, number: int) -> Import | None:
    """Return the import if the user may see it; None for another user's import and for a missing one."""
    return visible_imports(user).filter(pk=number).first() if 0 < number < 2**31 else None


def may_still_import(import_: Import) -> bool:
    """Return whether the user of an import is active and owns all its devices.

    A device may have been handed over, or the user disabled, since it was queued.
    """
    user = import_.user
    if user is None or not user.is_active:
        return False
    touched = Device.objects.filter(Q(all_imports=import_) | Q(pk=import_.device_id))
    return touched.exists() and not touched.exclude(owner=user).exists()


def find_earlier(import_: Import) -> Import | None:
    """Return an import of the same bytes for the same device with the same profile; None without one.

    Failed and undone imports do not count: their readings may be incomplete or gone.
    """
    same = Import.objects.filter(
        file_sha256=import_.file_sha256, device=import_.device, state__in=_SAME_READINGS
    ).exclude(pk=import_.pk)
    profile = {**import_.profile, "name": ""}
    return next((each for each in same if {**each.profile, "name": ""} == profile), None)
