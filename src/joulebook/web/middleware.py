"""Two middlewares: a page for an unavailable database, and headers against shared caches."""

from __future__ import annotations

from collections.abc import Callable

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers

from joulebook.logs import request_id
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.web.api.problems import DATABASE_RETRY_SECONDS

Handler = Callable[[HttpRequest], HttpResponse]


class DatabaseUnavailableMiddleware:
    """Answers a page with 503 and `Retry-After` if its database is unavailable."""

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the page for an unavailable database, None for other exceptions."""
        if not isinstance(exception, OperationalError | DatabaseUnavailable):
            return None
        response = render(request, "503.html", {"request_id": request_id.get()}, status=503)
        response["Retry-After"] = str(DATABASE_RETRY_SECONDS)
        return response


class PrivateAnswersMiddleware:
    """Marks every answer as one user's own, except for public ones.

    Without another rule an answer is not stored at all: after signing out the browser's back button shows
    nothing.
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
