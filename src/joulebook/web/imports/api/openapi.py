"""What the API of imports takes, and what it refuses, for the API's description."""

from __future__ import annotations

from typing import Any

from joulebook.telemetry.files.builtin import BUILTIN
from joulebook.web.imports.api.parameters import (
    DEFAULT_LIMIT,
    HIGHEST_NUMBER,
    MOST_LISTED,
    REPEATABLE,
    WORDS,
)
from joulebook.web.imports.models import Import

PARAMETERS = {
    "device": "the device whose readings they are, one of your own; required",
    "name": "what you call the file; without it, the name in the form",
    "profile": "a saved profile of yours, or a built-in one; without it, the file is guessed",
    "delimiter": "character between cells, or a word: tab, blanks; /PATTERN/; widths: 10,8,8",
    "encoding": "such as utf-8, cp1252, latin-1, utf-16",
    "header_line": "line with the columns' names; 0: there is none",
    "time_column": "column of the time; again for a second one",
    "time_format": "how times are written, such as %d/%m/%Y %H:%M:%S; again for a further one",
    "tz": "zone of times without offset; else the device's",
    "na": "what stands for no value, beside nothing; repeatable",
    "decimal": "decimal mark: . or ,",
    "thousands": "mark between thousands; empty: there is none",
    "map": "COLUMN=METRIC[:UNIT] names the metric of a column, COLUMN= leaves it out; repeatable",
    "layout": "wide, long (a key a row) or across (hours across)",
    "key_column": "column that says what a row measures; repeatable; empty: there is none",
    "time_marks": "start or end of an interval",
    "doubled_hour": "which pass of a doubled hour: by the order of the rows, the first or the second",
    "missing_hour": "reject or shift times that the clocks skipped",
    "sheet": "sheet of a workbook; else the first with two rows or more",
    "strict": "1: store nothing where a row or cell cannot be read",
    "on_conflict": "keep or replace a stored value where the file has another",
    "force": "1: also where the same file was imported before",
    "dry_run": "1: store nothing and keep nothing, answer what would be stored",
}
"""Each parameter of an import, and what it says."""

_PROBLEM = {"schema": {"type": "object", "description": "RFC 9457 problem details"}}
_TEXTS = {
    400: "a parameter cannot be used (`parameter` names it), or the file cannot be read",
    401: "not signed in, and no token that is in force",
    403: "no device of yours has this id, or no import of yours this number; or the CSRF token is missing",
    404: "there is no profile of this name, or what should be a number is none",
    409: "not possible now; or imported already, then `import` says which it was",
    413: "larger than a file may be, or swelling to more than a file of readings does",
    422: "the file leaves something open: `questions`, with answers as parameters",
    503: "the readings' database is unavailable, or too many files are being looked at",
    507: "the disk has no room for the file",
}


def _refusals(*statuses: int) -> dict[int, Any]:
    return {
        status: {"description": _TEXTS[status], "content": {"application/problem+json": _PROBLEM}}
        for status in statuses
    }


def _parameter(name: str, description: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if name in WORDS:
        schema["enum"] = list(WORDS[name])
    if name == "header_line":
        schema = {"type": "integer", "minimum": 0}
    if name in REPEATABLE:
        schema = {"type": "array", "items": schema}
    if name == "profile":
        description += f" ({', '.join(BUILTIN)})"
    return {
        "name": name,
        "in": "query",
        "required": name == "device",
        "description": description,
        "schema": schema,
    }


_BINARY = {"type": "string", "format": "binary"}

POST: dict[str, Any] = {
    "parameters": [_parameter(name, text) for name, text in PARAMETERS.items()],
    "requestBody": {
        "required": True,
        "description": "the file as it is, whatever its type; or a form with the part `file`, whose fields "
        "may be parameters",
        "content": {
            "application/octet-stream": {"schema": _BINARY},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": _BINARY}, "required": ["file"]}
            },
        },
    },
    "responses": _refusals(400, 401, 403, 409, 413, 422, 503, 507),
}
LIST: dict[str, Any] = {
    "parameters": [
        _parameter("device", "only imports for this device") | {"required": False},
        {
            "name": "state",
            "in": "query",
            "required": False,
            "description": "only imports in this state; repeatable",
            "schema": {"type": "array", "items": {"type": "string", "enum": Import.State.values}},
        },
        {
            "name": "before",
            "in": "query",
            "required": False,
            "description": "only imports with smaller numbers",
            "schema": {"type": "integer", "minimum": 1, "maximum": HIGHEST_NUMBER},
        },
        {
            "name": "limit",
            "in": "query",
            "required": False,
            "description": "at most so many",
            "schema": {"type": "integer", "default": DEFAULT_LIMIT, "minimum": 1, "maximum": MOST_LISTED},
        },
    ],
    "responses": _refusals(400, 401, 403),
}
GET: dict[str, Any] = {"responses": _refusals(401, 403, 404, 503)}
DELETE: dict[str, Any] = {"responses": _refusals(401, 403, 404, 409)}
CANCEL: dict[str, Any] = {"responses": _refusals(401, 403, 404, 409)}
REJECTED: dict[str, Any] = {
    "responses": {
        200: {"description": "the list", "content": {"text/csv": {"schema": {"type": "string"}}}},
        **_refusals(401, 403, 404, 503),
    }
}
_PROFILE = {
    "application/json": {
        "schema": {
            "type": "object",
            "description": "as `joulebook import --save-profile` writes it",
        }
    }
}
LIST_PROFILES: dict[str, Any] = {"responses": _refusals(401)}
GET_PROFILE: dict[str, Any] = {
    "responses": {
        200: {"description": "the profile; of a built-in one, what it answers", "content": _PROFILE},
        **_refusals(401, 404),
    }
}
PUT_PROFILE: dict[str, Any] = {
    "requestBody": {"required": True, "content": _PROFILE},
    "responses": {
        200: {"description": "saved in place of the one before", "content": _PROFILE},
        201: {"description": "saved", "content": _PROFILE},
        **_refusals(400, 401, 403, 409, 413),
    },
}
DELETE_PROFILE: dict[str, Any] = {"responses": _refusals(401, 403, 404, 409)}
