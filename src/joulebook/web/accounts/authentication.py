"""How a request to the API is authenticated: by a user's token, or by the session of a page."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja.security import HttpBearer, SessionAuth

from joulebook.web.accounts.operations import user_of_token


class UserTokenAuth(HttpBearer):
    """`Authorization: Bearer <user token>`, for scripts."""

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        """Return the token's user, who is then the request's, or None."""
        user = user_of_token(token)
        if user is not None:
            request.user = user
        return user


class SignedInAuth(SessionAuth):
    """The session's cookie, for pages. Reading changes nothing, so it needs no CSRF token."""

    def __init__(self) -> None:
        super().__init__(csrf=False)
