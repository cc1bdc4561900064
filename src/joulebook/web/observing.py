"""Gives each request of the web an id for logs and answers, and counts it by route and status."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from joulebook.logs import REQUEST_ID_HEADER, accepted_request_id, new_request_id, request_id
from joulebook.serving.addresses import is_trusted
from joulebook.serving.metrics import RequestMetrics

Handler = Callable[[HttpRequest], HttpResponseBase]

METRICS = RequestMetrics("web")
"""The requests of this process."""

_UNKNOWN = "unknown"
"""The route of addresses that are none of ours: a scanner's paths must not become labels."""


class ObservedRequests:
    """The outermost middleware: an answer counts when it has been sent, also one that is streamed."""

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on; the answer carries its id in `X-Request-ID`."""
        given = request.headers.get(REQUEST_ID_HEADER)
        is_proxy = given and is_trusted(request.META.get("REMOTE_ADDR", ""), settings.CONFIG.trusted_proxies)
        own = (accepted_request_id(given) if is_proxy else None) or new_request_id()
        token = request_id.set(own)
        METRICS.begin()
        began = time.perf_counter()
        try:
            response = self._get_response(request)
        except BaseException:
            # Django answers every error itself, so this is the end of the process, or of the test.
            METRICS.give_up()
            request_id.reset(token)
            raise
        response[REQUEST_ID_HEADER] = own

        def count() -> None:
            METRICS.end(
                _route(request), request.method or "", response.status_code, time.perf_counter() - began
            )
            if request_id.get() == own:  # else the thread is at work on another request already
                request_id.set("")

        response._resource_closers.append(count)  # type: ignore[attr-defined]
        return response


def _route(request: HttpRequest) -> str:
    """Return the template of the request's address."""
    if request.resolver_match is not None:
        return f"/{request.resolver_match.route}"
    if request.path_info.startswith(settings.STATIC_URL):
        return f"{settings.STATIC_URL}{{path}}"
    return request.path_info if request.path_info in _ANSWERED_BY_MIDDLEWARE else _UNKNOWN


_ANSWERED_BY_MIDDLEWARE = frozenset({"/livez", "/readyz", "/metrics"})
