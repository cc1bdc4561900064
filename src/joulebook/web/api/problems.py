"""Errors of the API as RFC 9457 problem details, and their part of the API's description."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

from joulebook.logs import request_id
from joulebook.web.api.answers import encode

DATABASE_RETRY_SECONDS = 5
"""The wait before the next try of a request for a database without an answer."""

_NO_TEXTS: Mapping[int, str] = MappingProxyType({})
_TEXTS = {
    400: "a parameter cannot be used; `parameter` names it",
    401: "not signed in, and no active token",
    403: "no device of yours has this id",
    503: "the readings' database is unavailable",
}
_SCHEMA = {
    "type": "object",
    "description": "RFC 9457 problem details",
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "parameter": {"type": "string"},
    },
}


def problem(status: int, title: str, detail: str, **more: object) -> HttpResponse:
    """Return an error as RFC 9457 problem details."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    if status >= 500:
        body["request_id"] = request_id.get()
    return HttpResponse(encode(body), status=status, content_type="application/problem+json")


def unavailable(title: str, detail: str, *, retry_seconds: int) -> HttpResponse:
    """Return 503 as problem details with a `Retry-After`."""
    response = problem(503, title, detail)
    response["Retry-After"] = str(retry_seconds)
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500: a problem below `/api/`, elsewhere a page. The log has the request by its id."""
    if request.path_info.startswith("/api/"):
        return problem(500, "Internal Server Error", "the fault is on Joulebook's side and has been logged")
    return HttpResponse(render_to_string("500.html", {"request_id": request_id.get()}), status=500)


def documented_problems(*statuses: int, texts: Mapping[int, str] = _NO_TEXTS) -> dict[str, Any]:
    """Return an operation's `openapi_extra` describing its errors. `texts` go before the usual ones."""
    content = {"application/problem+json": {"schema": _SCHEMA}}
    described = {**_TEXTS, **texts}
    # The keys are numbers as in ninja's own part: "200" beside 200 would make two entries.
    return {"responses": {code: {"description": described[code], "content": content} for code in statuses}}
