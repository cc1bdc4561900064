"""The client's rule: the meaning of ingest's answer for a batch, and the pause before the next try."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any
from urllib.parse import urlsplit

import httpx

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_LONGEST_RETRY_AFTER = 3_600.0


class Verdict(Enum):
    """The meaning of an answer for its batch."""

    STORED = auto()
    """2xx: ingest has stored the batch."""
    BAD = auto()
    """400: nothing is stored. 422: the good readings are stored. Bad ones are never accepted."""
    TOO_LARGE = auto()
    """413: send the batch in halves."""
    NOT_ALLOWED = auto()
    """401, 403, and answers of other servers: keep the batch, and report the problem to the user."""
    LATER = auto()
    """429, 5xx and no answer at all: send the same batch again after a pause."""


def judge(status: int) -> Verdict:
    """Return the meaning of an HTTP status for a batch."""
    if 200 <= status < 300:
        return Verdict.STORED
    if status in {400, 422}:
        return Verdict.BAD
    if status == 413:
        return Verdict.TOO_LARGE
    if status == 429 or status >= 500:
        return Verdict.LATER
    return Verdict.NOT_ALLOWED


def endpoint_of(url: str) -> str:
    """Return the address to send packets to; `url` is ingest's, with or without the endpoint's path."""
    return url if urlsplit(url).path.rstrip("/") else f"{url.rstrip('/')}/api/readings"


def is_this_machine(url: str) -> bool:
    """Return whether the address is this machine's own: then requests bypass the environment's proxies."""
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}


def pause_after(failures: int, retry_after: str | None) -> float:
    """Return the seconds to wait after `failures` in a row, at random in a narrow range.

    They are those of the answer's `Retry-After` header; without it they grow with each failure, up to 30. The
    random part keeps a thousand devices from retrying in the same instant.
    """
    asked = retry_after_seconds(retry_after, now=datetime.now(UTC))
    if asked is not None:
        return asked + random.uniform(0.0, 0.2)  # noqa: S311 - spreads, and hides nothing
    pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures - 1, 20))
    return pause * random.uniform(0.5, 1.0)  # noqa: S311


def retry_after_seconds(value: str | None, *, now: datetime) -> float | None:
    """Return the seconds of a `Retry-After` in seconds or as a date, at most an hour; None without one."""
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _LONGEST_RETRY_AFTER)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(0.0, (until - now).total_seconds()), _LONGEST_RETRY_AFTER)


def json_object(answer: httpx.Response) -> dict[str, Any]:
    """Return the answer's JSON object; an empty one for other content."""
    try:
        content = answer.json()
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def count_from(value: object) -> int:
    """Return the value of a field with a count; 0 if it is not a whole number."""
    return value if isinstance(value, int) else 0


def reason(answer: httpx.Response) -> str:
    """Return the status and text of an answer in one short line without control characters."""
    text = " ".join("".join(c if c.isprintable() else " " for c in answer.text[:2_000]).split())
    return f"{answer.status_code} {text[:200]}".strip()
