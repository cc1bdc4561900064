"""Keeps answers out of shared caches: each shows what its user may see."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

Handler = Callable[[HttpRequest], HttpResponse]


class PrivateAnswersMiddleware:
    """Marks answers of every kind as one user's own; those that say that they are public stay so.

    An answer that names no other rule is not stored at all, so that nothing can be seen after signing out
    by going back.
    """

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on, and add the headers to its answer."""
        response = self._get_response(request)
        rule = response.get("Cache-Control", "")
        if "public" in rule:
            return response
        if "private" not in rule and "no-store" not in rule:
            response["Cache-Control"] = "private, no-store"
        patch_vary_headers(response, ("Cookie", "Authorization"))
        return response
