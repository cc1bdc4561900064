"""Access to the API of imports: authentication of changes, and the gate of devices."""

from __future__ import annotations

from django.http import HttpRequest, QueryDict
from django.utils.datastructures import MultiValueDict
from ninja.errors import HttpError
from ninja.security import SessionAuth

from joulebook.web.accounts.authentication import SignedInRequest, UserTokenAuth
from joulebook.web.api.parameters import check_names
from joulebook.web.devices.gate import NO_DEVICE
from joulebook.web.devices.models import Device
from joulebook.web.devices.queries import find_visible_device
from joulebook.web.imports.models import Import
from joulebook.web.imports.queries import find_visible_import


class SessionWithCsrfHeader(SessionAuth):
    """The session's cookie together with the CSRF token as X-CSRFToken, without reading the body.

    Django would first look for the token in a form, and so read the body before the user is checked.
    """

    def _get_key(self, request: HttpRequest) -> str | None:
        request._post, request._files = QueryDict(), MultiValueDict()  # type: ignore[attr-defined]
        try:
            return super()._get_key(request)
        finally:
            del request._post, request._files  # type: ignore[attr-defined]


CHANGING = [UserTokenAuth(), SessionWithCsrfHeader()]
"""The authentication of requests making changes."""


def get_owned_device_or_403(request: SignedInRequest, device_id: str) -> Device:
    """Return a device of the user; refuse another user's and a missing one with the same 403."""
    device = find_visible_device(request.user, device_id)
    if device is None:
        raise HttpError(403, NO_DEVICE)
    if device.owner_id != request.user.pk:
        raise HttpError(403, "this device is shared with you: only its owner can import files for it")
    return device


def get_import_or_403(request: SignedInRequest, number: int) -> Import:
    """Return an import the user may see; refuse others and missing ones with the same 403.

    The address takes no parameters.
    """
    import_ = find_visible_import(request.user, number)
    if import_ is None:
        raise HttpError(403, "no import of yours has this number")
    check_names(request.GET)
    return import_
