"""Requests by htmx: parts of a page, which must not become the sign-in page."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse

HTMX = "HX-Request"

View = Callable[[HttpRequest, int], HttpResponse]


def part_login_required(view: View) -> View:
    """Ask who is not signed in to do so; a page that only wanted a part of it is loaded anew for that."""
    guarded = login_required(view)

    @wraps(view)
    def seen(request: HttpRequest, number: int) -> HttpResponse:
        if HTMX in request.headers and not request.user.is_authenticated:
            return HttpResponse(headers={"HX-Refresh": "true"})
        return guarded(request, number)

    return seen
