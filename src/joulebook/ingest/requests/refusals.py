"""How a request is refused: a status, a code, a message, and when to send it again."""

from __future__ import annotations

import logging
import random

import msgspec

from joulebook.logs import request_id
from joulebook.telemetry.errors import TelemetryError

log = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]

_encode = msgspec.json.Encoder().encode


class Refusal(Exception):
    """The answer to a request that is refused as a whole."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after


def refusal_of(exc: Exception) -> Refusal:
    """Return the refusal for a request that failed with `exc`; log an error of our own."""
    if isinstance(exc, Refusal):
        return exc
    if isinstance(exc, TelemetryError):
        return Refusal(503, "unavailable", f"not stored, send it again: {exc}")
    # Not 4xx: a sender drops its data then, and must not for an error of ours.
    log.error("a request could not be answered", exc_info=exc)
    return Refusal(503, "internal", "not stored, send it again")


def retry_seconds() -> int:
    """Return seconds for `Retry-After`, spread so that a thousand devices do not return at once."""
    return random.randint(1, 5)  # noqa: S311


def refusal_as_json(refusal: Refusal) -> tuple[Headers, bytes]:
    """Return the headers and the JSON body of a refusal."""
    answer = {"code": refusal.code, "message": str(refusal)}
    if refusal.status >= 500:
        answer["request_id"] = request_id.get()
    body = _encode(answer) + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    elif refusal.retry_after or refusal.status == 503:
        headers.append((b"retry-after", b"%d" % (refusal.retry_after or retry_seconds())))
    return headers, body
