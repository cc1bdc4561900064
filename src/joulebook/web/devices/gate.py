"""Which requests about a device pass: the API refuses others with 403, pages with 404.

Another user's device and a missing one get the same answer, before any statement to telemetry.
"""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from ninja.errors import HttpError

from joulebook.web.accounts.authentication import SignedInRequest
from joulebook.web.devices.models import Device
from joulebook.web.devices.queries import find_visible_device

NO_DEVICE = "no device of yours has this id"


class DeviceRequest(SignedInRequest):
    """The type of an API request past a gate: `auth` is the device of its address."""

    auth: Device


def visible_device(request: HttpRequest) -> Device:
    """Return the device of an API address. Raises `HttpError` 403 if the user may not see it."""
    assert request.resolver_match is not None  # noqa: S101 - Django has found the view
    device = find_visible_device(request.user, request.resolver_match.kwargs["device_id"])
    if device is None:
        raise HttpError(403, NO_DEVICE)
    return device


def own_device(request: HttpRequest) -> Device:
    """Return the device of an API address. Raises `HttpError` 403 unless the user owns it."""
    device = visible_device(request)
    if device.owner_id != request.user.pk:
        raise HttpError(403, "this device is shared with you: only its owner can change it")
    return device


def device_of_page(request: SignedInRequest, device_id: str) -> Device:
    """Return the device of a page. Raises `Http404` if the user may not see it."""
    device = find_visible_device(request.user, device_id)
    if device is None:
        raise Http404("There is no such device, or it is not yours to see.")
    return device


def own_device_of_page(request: SignedInRequest, device_id: str) -> Device:
    """Return the user's own device for a page.

    Raises `Http404` if the user may not see it, and `PermissionDenied` if another user shares it with them.
    """
    device = device_of_page(request, device_id)
    if device.owner_id != request.user.pk:
        raise PermissionDenied("Only a device's owner sees its settings.")
    return device
