"""What `GET /api/history/<device>` takes and answers, for the API's documentation."""

from __future__ import annotations

from typing import Any

from joulebook.web.history.parameters import ALL, DEFAULT_MAX_POINTS, DEFAULT_RANGE, MOST_POINTS, RANGES


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


_INSTANT = {"type": "string", "format": "date-time"}
_NUMBERS = {"type": "array", "items": {"type": ["number", "null"]}}
_ANSWER = {
    "type": "object",
    "properties": {
        "device": {"type": "string"},
        "start": _INSTANT,
        "end": _INSTANT,
        "tz": {"type": "string"},
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
                    "unit": {"type": "string"},
                    "kind": {"type": "string"},
                    "mean": _NUMBERS,
                    "min": _NUMBERS,
                    "max": _NUMBERS,
                    "count": {"type": "array", "items": {"type": "integer"}},
                    "value": {**_NUMBERS, "description": "in place of the four others where raw"},
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
    ],
    # Numbers as keys, as django-ninja has them: its own 200 and "200" would both be written.
    "responses": {
        200: {"description": "the points", "content": {"application/json": {"schema": _ANSWER}}},
        400: _problem("a parameter cannot be used; `parameter` names it"),
        401: {"description": "not signed in, and no token that is in force"},
        403: _problem("no device of yours has this id"),
        503: _problem("the readings' database is away"),
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
        401: {"description": "not signed in, and no token that is in force"},
        403: _problem("no device of yours has this id"),
    },
}
