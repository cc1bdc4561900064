"""Who may send a body as large as a file's: decided from a request's headers, before the body is taken in."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, parse_cookie

from joulebook.web.accounts.operations import user_of_token
from joulebook.web.imports.uploads.files import NoRoom as NoRoom
from joulebook.web.imports.uploads.files import check_disk

UPLOAD_PATHS = ("/imports/", "/api/imports")
_FORM_BYTES = 1 << 20
"""What a form has beside its file."""


def largest_body(method: str, path: str, headers: Mapping[str, str], *, size: int, usual: int) -> int:
    """Return how many bytes the body of a request may have: `usual`, or more where someone uploads a file.

    `headers` are named as in WSGI, without HTTP_. `size` is the body's, 0 where it is not known yet.
    Raises `NoRoom`.
    """
    if method != "POST" or path not in UPLOAD_PATHS or 0 < size < usual or not _is_signed_in(headers):
        return usual
    # On its way a body lies on the disk twice for a moment.
    check_disk(size, copies=2)
    return int(settings.CONFIG.upload_max_bytes) + _FORM_BYTES


def _is_signed_in(headers: Mapping[str, str]) -> bool:
    scheme, _, token = headers.get("AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer":
        return user_of_token(token.strip()) is not None
    request = HttpRequest()
    key = parse_cookie(headers.get("COOKIE", "")).get(settings.SESSION_COOKIE_NAME)
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    return get_user(request).is_active
