"""Whose device is it? What every page begins with that only a device's owner may use."""

from __future__ import annotations

from typing import cast

from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import Http404, HttpRequest

from joulebook.telemetry.readings import device_id_problem
from joulebook.web.devices.models import Device, DeviceShare


def visible_devices(user: User | AnonymousUser) -> QuerySet[Device]:
    """Return the devices that the user owns or that are shared with them.

    A superuser manages devices in the admin, and sees readings only of their own like anyone else.
    """
    if not user.is_authenticated or not user.is_active:
        return Device.objects.none()
    shared = DeviceShare.objects.filter(device=OuterRef("pk"), user=user)
    return Device.objects.filter(Q(owner=user) | Exists(shared))


def find_visible_device(user: User | AnonymousUser, device_id: str) -> Device | None:
    """Return the device if the user may see it; None both for another's and for none at all."""
    if device_id_problem(device_id):
        return None  # PostgreSQL, where it keeps the accounts, would refuse some of these as text
    return visible_devices(user).filter(device_id=device_id).first()


def owned_device(request: HttpRequest, device_id: str) -> Device:
    """Return the user's own device.

    Raises `Http404` for one that they may not see and for none at all alike, and `PermissionDenied` for
    one that is shared with them.
    """
    user = cast("User", request.user)
    device = find_visible_device(user, device_id)
    if device is None:
        raise Http404("There is no such device, or it is not yours to see.")
    if device.owner_id != user.pk:
        raise PermissionDenied("Only a device's owner sees its settings.")
    return device
