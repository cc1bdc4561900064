"""The OpenAPI documentation of the endpoints for InfluxDB's clients."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from joulebook.ingest.wires.line_protocol.lines import PRECISIONS_V1, PRECISIONS_V2

SECURITY_SCHEMES: dict[str, Any] = {
    "InfluxDB token": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Token ` and then the device's or gateway's token",
    },
    "token as password": {"type": "http", "scheme": "basic", "description": "the user's name has no effect"},
}
_SECURITY: list[dict[str, list[str]]] = [
    {"device token": []},
    {"InfluxDB token": []},
    {"token as password": []},
]
_PROBLEM_V1: dict[str, Any] = {
    "type": "object",
    "properties": {"error": {"type": "string"}},
    "required": ["error"],
}
_PROBLEM_V2: dict[str, Any] = {
    "type": "object",
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
    "required": ["code", "message"],
}
# A stopping service answers every request in the format of the JSON wire.
_UNAVAILABLE: dict[str, Any] = {"anyOf": [_PROBLEM_V1, _PROBLEM_V2]}
_DATABASES: dict[str, Any] = {
    "type": "object",
    "properties": {"results": {"type": "array", "items": {"type": "object"}}},
    "required": ["results"],
}
_HEALTH: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "version": {"type": "string"},
        "status": {"type": "string", "enum": ["pass", "fail"]},
        "message": {"type": "string"},
    },
    "required": ["name", "version", "status"],
}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _write(version: str, precisions: Collection[str], problem: dict[str, Any]) -> dict[str, Any]:
    responses = {
        "204": {"description": "every number is stored, or was stored before"},
        "400": _answer("lines were refused and all others stored; or the body is unreadable", problem),
        "401": _answer("no valid token, or a token in the address", problem),
        "413": _answer("too many bytes, lines or readings; split the request", problem),
        "429": _answer("the token is above its rate: send it again after `Retry-After` seconds", problem),
        "503": _answer("not acknowledged: send it again after `Retry-After` seconds", _UNAVAILABLE),
    }
    if version == "v1":
        del responses["429"]  # v1 clients would drop their data
    return {
        "tags": ["line protocol"],
        "summary": f"Store line protocol, as InfluxDB {version} does",
        "operationId": f"write_{version}",
        "security": _SECURITY,
        "parameters": [
            {
                "name": "precision",
                "in": "query",
                "description": "unit of times; other parameters (`db`, `org`, `bucket`, …) have no effect",
                "schema": {"type": "string", "enum": [*precisions, ""], "default": "ns"},
            }
        ],
        "requestBody": {
            "required": False,
            "description": "Lines such as `power,room=hall value=1240.5`; gzip and zstd are inflated.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        "responses": responses,
    }


PATHS: dict[str, Any] = {
    "/write": {"post": _write("v1", PRECISIONS_V1, _PROBLEM_V1)},
    "/api/v2/write": {"post": _write("v2", PRECISIONS_V2, _PROBLEM_V2)},
    "/query": {
        method: {
            "tags": ["line protocol"],
            "summary": "Answer the statements that clients send before their first write",
            "operationId": f"query_{method}",
            "security": _SECURITY,
            "parameters": [
                {
                    "name": "q",
                    "in": "query",
                    "required": True,
                    "description": "CREATE DATABASE or SHOW DATABASES; anything else is refused",
                    "schema": {"type": "string"},
                    "example": "SHOW DATABASES",
                }
            ],
            "responses": {
                "200": _answer("done, or the list of databases", _DATABASES),
                "400": _answer("another statement", _PROBLEM_V1),
                "401": _answer("no valid token, or a token in the address", _PROBLEM_V1),
                "413": _answer("a form of too many bytes", _PROBLEM_V1),
                "503": _answer("send it again after `Retry-After` seconds", _UNAVAILABLE),
            },
        }
        for method in ("get", "post")
    },
    "/ping": {
        method: {
            "tags": ["line protocol"],
            "summary": "Return the version of InfluxDB that this resembles",
            "operationId": f"ping_{method}",
            "responses": {"204": {"description": "the version is in `X-Influxdb-Version`"}},
        }
        for method in ("get", "head")
    },
    "/health": {
        "get": {
            "tags": ["line protocol"],
            "summary": "Whether readings can be stored now, for InfluxDB's clients",
            "operationId": "health",
            "responses": {"200": _answer("it can", _HEALTH), "503": _answer("not now", _HEALTH)},
        }
    },
}
