"""What `GET /api/history/<device>` takes and answers, for the API's documentation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from joulebook.telemetry.export.formats import FORMATS
from joulebook.telemetry.history.points import ALL, RANGES
from joulebook.telemetry.kinds.kinds import KINDS
from joulebook.web.history.parameters import DEFAULT_MAX_POINTS, DEFAULT_RANGE, JSON, MOST_POINTS


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


_INSTANT = {"type": "string", "format": "date-time"}
_NUMBERS = {"type": "array", "items": {"type": ["number", "null"]}}
_OFFSETS = {
    "type": "array",
    "items": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
    "description": (
        "how the zone's clock goes over the years of the range: from each instant (seconds since 1970 UTC) "
        "on, how many seconds it is ahead of UTC"
    ),
}
_ANSWER = {
    "type": "object",
    "properties": {
        "device": {"type": "string"},
        "start": _INSTANT,
        "end": _INSTANT,
        "tz": {"type": "string"},
        "offsets": _OFFSETS,
        "resolution": {"type": "string", "description": "raw, 1s, 5s … 5m … 1h … 1d …"},
        "source": {"type": "string", "description": "the stored table that was read"},
        "points": {"type": "integer"},
        "time": {"type": "array", "items": {"type": "number"}, "description": "seconds since 1970 UTC"},
        "series": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "metric": {"type": "string"},
                    "name": {"type": "string", "description": "what people call it"},
                    "unit": {"type": "string"},
                    "kind": {"type": "string", "enum": list(KINDS)},
                    "mean": _NUMBERS,
                    "min": _NUMBERS,
                    "max": _NUMBERS,
                    "count": {"type": "array", "items": {"type": "integer"}},
                    "coverage": {
                        **_NUMBERS,
                        "description": "share of the bucket that readings cover, 0 to 1",
                    },
                    "increase": {
                        **_NUMBERS,
                        "description": "counters: how far it rose in the bucket, or since the reading before",
                    },
                    "unallocated": {
                        **_NUMBERS,
                        "description": "counters: how far it rose in a silence across the bucket's begin",
                    },
                    "resets": {"type": "array", "items": {"type": "integer"}, "description": "counters"},
                    "states": {
                        "type": "array",
                        "description": "states: the share of the covered time that it was each value",
                        "items": {
                            "type": "object",
                            "properties": {"value": {"type": "number"}, "share": _NUMBERS},
                        },
                    },
                    "value": {**_NUMBERS, "description": "in place of all others where raw"},
                },
            },
        },
    },
}
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem details",
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "parameter": {"type": "string"},
    },
}


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/problem+json": {"schema": _PROBLEM}}}


_REFUSALS: dict[int, Any] = {
    400: _problem("a parameter cannot be used; `parameter` names it"),
    401: {"description": "not signed in, and no token that is in force"},
    403: _problem("no device of yours has this id"),
    503: _problem("the readings' database is unavailable"),
}

HISTORY_OPERATION: dict[str, Any] = {
    "parameters": [
        _parameter(
            "metric",
            "may be repeated; none: all of the device",
            {"type": "array", "items": {"type": "string"}},
        ),
        _parameter("start", "RFC 3339; the range is half-open", _INSTANT),
        _parameter("end", "RFC 3339; default: now", _INSTANT),
        _parameter(
            "range",
            f"instead of start and end, ending now; default {DEFAULT_RANGE}",
            {"type": "string", "enum": [*RANGES, ALL]},
        ),
        _parameter(
            "max_points",
            "the finest resolution with at most so many points is chosen",
            {"type": "integer", "default": DEFAULT_MAX_POINTS, "maximum": MOST_POINTS},
        ),
        _parameter("tz", "IANA time zone of buckets; default: the device's", {"type": "string"}),
        _parameter("unit", "unit of all values; default: each metric's own", {"type": "string"}),
        _parameter("format", "JSON, or the points as a file", {"type": "string", "enum": [JSON, *FORMATS]}),
    ],
    # Numbers as keys, as django-ninja has them: its own 200 and "200" would both be written.
    "responses": {
        200: {"description": "the points", "content": {"application/json": {"schema": _ANSWER}}},
        **_REFUSALS,
    },
}

_ENERGY = {
    "type": "object",
    "properties": {
        "device": {"type": "string"},
        "tz": {"type": "string"},
        "offsets": _OFFSETS,
        "per": {"type": "string"},
        "start": _INSTANT,
        "end": _INSTANT,
        "periods": {"type": "integer"},
        "time": {
            "type": "array",
            "items": {"type": "integer"},
            "description": "begin, seconds since 1970 UTC",
        },
        "series": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "metric": {"type": "string"},
                    "name": {"type": "string"},
                    "kind": {"type": "string"},
                    "unit": {"type": "string"},
                    "energy": _NUMBERS,
                    "unallocated": {
                        **_NUMBERS,
                        "description": "what a counter rose by while it was silent across midnight",
                    },
                    "coverage": {**_NUMBERS, "description": "share of the passed time that is known, 0 to 1"},
                    "total": {"type": "number", "description": "the sum of `energy`, to the last digit"},
                    "total_unallocated": {"type": "number"},
                },
            },
        },
    },
}


def energy_operation(periods: Iterable[str], *, default_range: str) -> dict[str, Any]:
    """Return what `GET /api/energy/<device>` takes and answers."""
    return {
        "parameters": [
            _parameter(
                "metric",
                "may be repeated; none: all that have energy",
                {"type": "array", "items": {"type": "string"}},
            ),
            _parameter(
                "per", "the table's rows", {"type": "string", "enum": list(periods), "default": "day"}
            ),
            _parameter("start", "RFC 3339; widened to whole periods", _INSTANT),
            _parameter("end", "RFC 3339; default: now", _INSTANT),
            _parameter(
                "range",
                f"instead of start and end, ending now; default {default_range}",
                {"type": "string", "enum": [*RANGES, ALL]},
            ),
            _parameter("tz", "IANA time zone of days; default: the device's", {"type": "string"}),
            _parameter("unit", "unit of energy; default: kWh where it can be", {"type": "string"}),
        ],
        "responses": {
            200: {"description": "the table", "content": {"application/json": {"schema": _ENERGY}}},
            **_REFUSALS,
        },
    }


_TICKET = {
    "type": "object",
    "properties": {
        "url": {
            "type": "string",
            "description": "a stream of server-sent events; open it with this address alone",
        },
        "expires_at": {**_INSTANT, "description": "when the address, and the stream, end"},
    },
}
LIVE_TICKET_OPERATION: dict[str, Any] = {
    "responses": {
        200: {
            "description": "where to listen",
            "content": {"application/json": {"schema": _TICKET}},
        },
        **{status: _REFUSALS[status] for status in (401, 403)},
    },
}
