"""Authentication of API requests: by a user's token, or by a page's session. Both can ask a gate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest
from ninja.security import HttpBearer, SessionAuth
from ninja.security.base import AuthBase

from joulebook.web.accounts.operations import user_of_token

Gate = Callable[[HttpRequest], object]
"""Checks a signed-in request and returns its object, such as a device. Raises `HttpError` to refuse it.

Ninja authenticates before it looks at parameters and body: the refused sender learns nothing about them.
The gate's result is the request's `auth`.
"""


class SignedInRequest(HttpRequest):
    """The type of a request past `login_required` or the API's authentication."""

    user: User


class UserTokenAuth(HttpBearer):
    """`Authorization: Bearer <user token>`, for scripts."""

    def __init__(self, gate: Gate | None = None) -> None:
        super().__init__()
        self._gate = gate

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        """Return the user or the gate's result, None for an unknown token. The user becomes the request's."""
        user = user_of_token(token)
        if user is None:
            return None
        request.user = user
        return user if self._gate is None else self._gate(request)


class SignedInAuth(SessionAuth):
    """The session's cookie, for pages. A change also needs the CSRF token."""

    def __init__(self, gate: Gate | None = None, *, changes: bool = False) -> None:
        super().__init__(csrf=changes)
        self._gate = gate

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:
        """Return the user or the gate's result, None without a session."""
        user = super().authenticate(request, key)
        return self._gate(request) if user is not None and self._gate is not None else user


def authentication(gate: Gate | None = None, *, changes: bool = False) -> list[AuthBase]:
    """Return the ways to authenticate; `changes` if the request changes something."""
    return [UserTokenAuth(gate), SignedInAuth(gate, changes=changes)]
