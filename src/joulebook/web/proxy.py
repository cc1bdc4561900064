"""The client of each request behind trusted proxies, the refusal of foreign hosts, and the probes.

`ProxyMiddleware` runs before every other middleware using the client's address, scheme or host. The server
passes on headers and the connection's own address unchanged.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.db import DatabaseError, connections
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from joulebook.config import Config
from joulebook.serving.addresses import client_address, is_trusted

log = logging.getLogger(__name__)

_FOR, _PROTO, _HOST = "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST"
_SECONDS_BETWEEN_LINES = 60.0
_LONGEST_NAME = 80

Handler = Callable[[HttpRequest], HttpResponse]


@require_safe
def livez(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    """Answer 200 as long as the process runs."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    """Answer 200 if both databases answer, else 503 with the name of the other one."""
    for alias in ("default", "telemetry"):
        try:
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT 1")
        except DatabaseError:
            return JsonResponse(
                {"status": "unavailable", "message": f"the database {alias} does not answer"}, status=503
            )
    return JsonResponse({"status": "ok"})


PROBES: Mapping[str, Handler] = {"/livez": livez, "/readyz": readyz}
"""Whether the process is alive, and whether it can answer.

Orchestrators request these by plain HTTP and by an address of their own: they are for any host.
"""


class ProxyMiddleware:
    """Puts the client in the place of a trusted proxy, and refuses requests for foreign hosts."""

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response
        self._foreign_hosts = _LineEachMinute()
        self._unknown_proxies = _LineEachMinute()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on, or answer it here."""
        self._set_client(request.META, settings.CONFIG)
        if (probe := PROBES.get(request.path_info)) is not None:
            return probe(request)
        try:
            request.get_host()
        except DisallowedHost:
            return self._refuse_host(request)
        return self._get_response(request)

    def _set_client(self, meta: dict[str, Any], config: Config) -> None:
        """Set the request's address and host to the client's, and drop untrusted headers."""
        peer = meta.get("REMOTE_ADDR", "")
        forwarded_for, host = meta.pop(_FOR, None), meta.pop(_HOST, None)
        if is_trusted(peer, config.trusted_proxies):
            meta["REMOTE_ADDR"] = client_address(peer, forwarded_for, config.trusted_proxies)
            if host:
                meta["HTTP_HOST"] = host.rpartition(",")[2].strip()
            return
        if config.secure and not config.names_proxies:
            # A client pretending TLS gets cookies it cannot send: harmless.
            if forwarded_for is not None and self._unknown_proxies.is_due():
                log.warning(
                    "%s sends X-Forwarded-For, which is not believed: all its clients share the limits of "
                    "one. If it is your proxy, name it in JOULEBOOK_TRUSTED_PROXIES",
                    peer,
                )
        else:
            meta.pop(_PROTO, None)

    def _refuse_host(self, request: HttpRequest) -> HttpResponse:
        if self._foreign_hosts.is_due():
            log.warning(
                "%d request(s) for hosts that are not ours refused, the last for %r; "
                "JOULEBOOK_WEB_URL and JOULEBOOK_ALLOWED_HOSTS name ours",
                self._foreign_hosts.take_count(),
                request.META.get("HTTP_HOST", "")[:_LONGEST_NAME],
            )
        return HttpResponse(
            "Joulebook does not answer to this name. Its administrator can set JOULEBOOK_WEB_URL to the "
            "address that browsers use, or add the name to JOULEBOOK_ALLOWED_HOSTS.\n",
            status=400,
            content_type="text/plain; charset=utf-8",
        )


class _LineEachMinute:
    """Allows one log line a minute, with the number of events since the line before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._next = 0.0

    def is_due(self) -> bool:
        """Count an event, and return whether to write a line."""
        with self._lock:
            self._count += 1
            now = time.monotonic()
            if now < self._next:
                return False
            self._next = now + _SECONDS_BETWEEN_LINES
            return True

    def take_count(self) -> int:
        """Return the number of events since the last line, and reset it."""
        with self._lock:
            count, self._count = self._count, 0
            return count
