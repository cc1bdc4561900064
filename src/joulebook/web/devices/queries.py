"""Who may see which device. Every read of readings passes through here first."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Exists, OuterRef, Q, QuerySet

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
