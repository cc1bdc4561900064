"""Packets on their way into the buffer: as JSON text, each with the time of its measurement."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, SupportsFloat

from joulebook.client.errors import UnusablePacket

LARGEST = 256 * 1024
"""Bytes of the largest packet."""


def encode(packet: Mapping[str, Any], *, now: datetime) -> bytes:
    """Return a packet as one line of JSON, with `now` as its `timestamp` if it has none.

    The time is fixed here, once: a packet sent again is then the same reading, and ingest stores it once.
    Numbers of other libraries become JSON's numbers, times become RFC 3339. Raises `UnusablePacket`.
    """
    if not isinstance(packet, Mapping):
        raise UnusablePacket(f"a packet is a mapping, not {type(packet).__name__}")
    stamped = {str(name): value for name, value in packet.items()}
    if "timestamp" not in stamped:
        stamped["timestamp"] = now
    try:
        text = json.dumps(stamped, default=_plain, ensure_ascii=False, separators=(",", ":")).encode()
    except UnusablePacket:
        raise
    except (TypeError, ValueError, RecursionError, OverflowError) as exc:
        raise UnusablePacket(f"the packet cannot be written as JSON: {exc}") from exc
    if len(text) > LARGEST:
        raise UnusablePacket(f"the packet has {len(text):,} bytes as JSON, at most {LARGEST:,} are taken")
    return text


def _plain(value: object) -> object:
    """Return a JSON value for a value of another type."""
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise UnusablePacket(f"the time {value} has no zone; use datetime.now(UTC), or .astimezone()")
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, SupportsFloat):  # NumPy's numbers, Decimal, Fraction
        return float(value)
    raise UnusablePacket(f"a field is {type(value).__name__}; use numbers, true, false, text or mappings")
