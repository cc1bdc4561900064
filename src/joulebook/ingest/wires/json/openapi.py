"""The OpenAPI documentation of `POST /api/readings`."""

from __future__ import annotations

from typing import Any

_PACKET: dict[str, Any] = {
    "type": "object",
    "description": (
        "Every field but `timestamp`, `device_id` and `units` is a metric. Objects nest: `battery.voltage`. "
        "Numbers and text are readings, true and false are 1 and 0; a list of numbers is a metric for each, "
        "`phase.1`; a list of texts is a set of flags. Nulls and other lists are named in `ignored`."
    ),
    "properties": {
        "timestamp": {
            "description": "RFC 3339, or a number with ?precision=; absent: a field with the well-known name "
            "of a time, such as `ts`, or else the time of arrival. A metric if ?time_field= names another "
            "field, or none",
        },
        "device_id": {
            "description": "text, a device of the token's; needed by a gateway. A metric if ?device_field= "
            "names another field, or none"
        },
        "units": {
            "description": 'units of metrics by name: `{"power": "kW"}`; a field like others if it is not an '
            "object of texts"
        },
    },
    "additionalProperties": True,
    "example": {"timestamp": "2026-11-21T09:30:00Z", "power": 1240.5, "battery": {"voltage": 53.2}},
}
_ANSWER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "accepted": {"type": "integer", "description": "new readings, committed"},
        "duplicate": {"type": "integer", "description": "readings stored before with the same value"},
        "rejected": {
            "type": "array",
            "description": "readings refused for good, the first 100",
            "items": {
                "type": "object",
                "properties": {
                    "index": {"type": "integer", "description": "position of the packet in the body"},
                    "metric": {"type": ["string", "null"], "description": "null: the whole packet"},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
        "rejected_total": {"type": "integer"},
        "replaced": {
            "type": "integer",
            "description": "with on_conflict=replace: readings that replaced another value",
        },
        "ignored": {
            "type": "array",
            "items": {"type": "string"},
            "description": "fields that cannot be a reading",
        },
    },
}
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_OPERATION: dict[str, Any] = {
    "tags": ["readings"],
    "summary": "Store readings",
    "operationId": "store_readings",
    "security": [{"device token": []}],
    "parameters": [
        {
            "name": "precision",
            "in": "query",
            "description": "unit of numbers in `timestamp`",
            "schema": {"type": "string", "enum": ["s", "ms", "us", "ns"]},
        },
        {
            "name": "on_conflict",
            "in": "query",
            "description": "whether to keep or replace another value stored for the same time",
            "schema": {"type": "string", "enum": ["keep", "replace"], "default": "keep"},
        },
        {
            "name": "atomic",
            "in": "query",
            "description": "1: as soon as anything is rejected, nothing is stored",
            "schema": {"type": "string", "enum": ["0", "1"], "default": "0"},
        },
        *(
            {"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}}
            for name, meaning in (
                ("time_field", "field with the packet's time; empty: the time of arrival"),
                ("device_field", "field with the device's id; empty: the token's own device"),
                ("values", "field with the object of the readings; empty: the whole packet"),
            )
        ),
    ],
    "requestBody": {
        "required": True,
        "description": "One packet, an array of packets, or one packet a line; gzip and zstd are inflated.",
        "content": {
            "application/json": {"schema": {"oneOf": [_PACKET, {"type": "array", "items": _PACKET}]}},
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    },
    "responses": {
        "200": _answer("every reading is stored, or was stored before", _ANSWER),
        "400": _answer("the body cannot be read; nothing was stored", _PROBLEM),
        "401": _answer("no valid token", _PROBLEM),
        "413": _answer("too many bytes or readings; split the request", _PROBLEM),
        "422": _answer("some readings were refused for good; all others are stored", _ANSWER),
        "429": _answer("the token is above its rate: send it again after `Retry-After` seconds", _PROBLEM),
        "503": _answer("not acknowledged: send it again after `Retry-After` seconds", _PROBLEM),
    },
}

PATHS: dict[str, Any] = {"/api/readings": {"post": _OPERATION}}
