"""Errors of the API as RFC 9457 problem details, those of addresses and methods that it has not included."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import msgspec
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import URLPattern, URLResolver, re_path
from ninja import NinjaAPI

from joulebook.logs import request_id

_encode = msgspec.json.Encoder().encode

_View = Callable[..., HttpResponseBase]


def problem(status: int, title: str, detail: str, **more: object) -> HttpResponse:
    """Return an error as RFC 9457 problem details."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    if status >= 500:
        body["request_id"] = request_id.get()
    return HttpResponse(_encode(body), status=status, content_type="application/problem+json")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer for a fault of ours: a problem below `/api/`, else a page; the log has the request by its id."""
    if request.path_info.startswith("/api/"):
        return problem(500, "Internal Server Error", "the fault is on Joulebook's side and has been logged")
    return HttpResponse(render_to_string("500.html", {"request_id": request_id.get()}), status=500)


class ProblemAPI(NinjaAPI):
    """An API all of whose errors are problem details, whatever address below its own is asked for."""

    @property
    def urls(self) -> tuple[list[URLResolver | URLPattern], str, str]:
        """Return its addresses for Django, the last of which is every other one."""
        patterns, app, namespace = super().urls
        told = [_told(pattern) if isinstance(pattern, URLPattern) else pattern for pattern in patterns]
        return [*told, re_path("", _no_such_address)], app, namespace


def _told(pattern: URLPattern) -> URLPattern:
    """Return the address with a method that it does not know refused in the API's own way."""
    return URLPattern(
        pattern.pattern, _with_told_methods(pattern.callback), pattern.default_args, pattern.name
    )


def _with_told_methods(view: _View) -> _View:
    @wraps(view)
    def asked(request: HttpRequest, *words: object, **named: object) -> HttpResponseBase:
        response = view(request, *words, **named)
        if response.status_code != 405:
            return response
        detail = f"this address does not know {request.method}; use {response['Allow']}"
        told = problem(405, "Method Not Allowed", detail)
        told["Allow"] = response["Allow"]
        return told

    return asked


def _no_such_address(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    return problem(404, "Not Found", "the API has no such address; /api/docs lists all that it has")


_no_such_address.csrf_exempt = True  # type: ignore[attr-defined]  # it changes nothing
