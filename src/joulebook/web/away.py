"""Answers 503 instead of a fault when a database does not answer: it is not the page that is broken."""

from __future__ import annotations

from collections.abc import Callable

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from joulebook.logs import request_id
from joulebook.telemetry.errors import DatabaseAway

Handler = Callable[[HttpRequest], HttpResponse]


class DatabaseAwayMiddleware:
    """Turns the error of a page whose database is away into a page that says so and asks to come back."""

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the page for a database that is away; leave other exceptions alone."""
        if not isinstance(exception, OperationalError | DatabaseAway):
            return None
        response = render(request, "503.html", {"request_id": request_id.get()}, status=503)
        response["Retry-After"] = "5"
        return response
