"""`/livez` and `/readyz`: whether the process is alive, and whether it can answer."""

from __future__ import annotations

from django.db import DatabaseError, connections
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe


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
