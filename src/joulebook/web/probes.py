"""`/livez` and `/readyz`: is the process alive, and can it answer now?"""

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
    """Answer 200 when both databases answer, else 503 with the one that does not."""
    for alias in ("default", "telemetry"):
        try:
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT 1")
        except DatabaseError:
            return JsonResponse(
                {"status": "unavailable", "message": f"the database {alias} does not answer"}, status=503
            )
    return JsonResponse({"status": "ok"})
