"""Whose device is it? What every page begins with that only a device's owner may use."""

from __future__ import annotations

from typing import cast

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from joulebook.web.devices.models import Device
from joulebook.web.devices.queries import find_visible_device


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
