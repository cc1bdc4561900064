"""Keeps answers out of shared caches: each shows what its user may see."""

from __future__ import annotations

from collections.abc import Callable

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers

from joulebook.logs import request_id
from joulebook.telemetry.errors import DatabaseUnavailable

Handler = Callable[[HttpRequest], HttpResponse]


class DatabaseUnavailableMiddleware:
    """Answers with a page saying so if the database of a page is unavailable."""

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the page for an unavailable database; leave other exceptions alone."""
        if not isinstance(exception, OperationalError | DatabaseUnavailable):
            return None
        response = render(request, "503.html", {"request_id": request_id.get()}, status=503)
        response["Retry-After"] = "5"
        return response


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
