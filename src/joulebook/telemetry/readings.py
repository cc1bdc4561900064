"""The rules of readings: a reading must meet them before it may be written.

A reading is one finite number of one series (a device's metric) at one instant. Instants are whole
microseconds since 1970-01-01T00:00:00Z, as `int`, everywhere in the core: PostgreSQL's resolution.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta

MICROSECONDS = 1_000_000
"""Microseconds in a second."""

MINUTE = 60 * MICROSECONDS
HOUR = 60 * MINUTE
DAY = 24 * HOUR

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

OLDEST = 0
"""No reading is older than 1970-01-01T00:00:00Z: it bounds the number of chunks."""

FUTURE_ALLOWANCE = 600 * MICROSECONDS
"""How far a sender's clock may run ahead of ours: ten minutes."""

LARGEST_VALUE = 1e100
"""No reading is larger than this, either way: the sum of any number of readings stays finite."""

METRIC_NAME_LENGTH = 200
DEVICE_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


def to_microseconds(instant: datetime) -> int:
    """Return an aware `datetime` as microseconds since 1970 UTC."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def from_microseconds(time: int) -> datetime:
    """Return microseconds since 1970 UTC as a `datetime` in UTC."""
    return EPOCH + timedelta(microseconds=time)


def device_id_problem(device_id: str) -> str | None:
    """Return the problem with a device id, or None.

    Ids are plain ASCII: two different ids never look alike in a URL or on a page.
    """
    if DEVICE_ID_PATTERN.fullmatch(device_id):
        return None
    return (
        f"device id {device_id[:80]!r} must be 1 to 64 of the characters A-Z a-z 0-9 . _ : - "
        "and begin with a letter or a digit"
    )


def metric_name_problem(metric: str) -> str | None:
    """Return the problem with a metric's name, or None.

    A name is 1 to 200 printable characters without blanks at its ends; PostgreSQL's text cannot hold
    U+0000, and control characters or lone surrogates cannot be shown on a page.
    """
    if not metric:
        return "a metric's name must not be empty"
    if len(metric) > METRIC_NAME_LENGTH:
        return f"a metric's name has at most {METRIC_NAME_LENGTH} characters, this one has {len(metric)}"
    if metric.isascii() and metric.isprintable() and metric[0] != " " and metric[-1] != " ":
        return None
    if metric != metric.strip():
        return f"metric name {metric[:80]!r} must not begin or end with a blank"
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in metric):
        return f"metric name {metric[:80]!r} holds a control character"
    return None
