"""The client's rule: the meaning of a status, and of `Retry-After`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from joulebook.client.sender import judge, retry_after_seconds

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("12", 12.0),
        ("999999999", 3600.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, now=NOW) == seconds


def test_every_status_has_one_meaning() -> None:
    meanings = {status: judge(status).name for status in (200, 204, 307, 400, 401, 413, 422, 429, 500, 503)}
    assert meanings == {
        200: "STORED",
        204: "STORED",
        307: "NOT_ALLOWED",
        400: "BAD",
        401: "NOT_ALLOWED",
        413: "TOO_LARGE",
        422: "BAD",
        429: "LATER",
        500: "LATER",
        503: "LATER",
    }
