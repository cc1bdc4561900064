"""What `GET /api/export/<device>` takes and answers, for the API's documentation."""

from __future__ import annotations

from typing import Any

from joulebook.telemetry.export.formats import FORMATS
from joulebook.telemetry.export.frames import LAYOUTS
from joulebook.web.history.export_parameters import DEFAULT_EXPORT_RANGE, DEFAULT_FORMAT, DEFAULT_LAYOUT
from joulebook.web.history.openapi import HISTORY_OPERATION
from joulebook.web.history.parameters import ALL, RANGES

_OF_HISTORY = {parameter["name"]: parameter for parameter in HISTORY_OPERATION["parameters"]}


def _choice(name: str, description: str, words: list[str], default: str) -> dict[str, Any]:
    schema = {"type": "string", "enum": words, "default": default}
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


EXPORT_OPERATION: dict[str, Any] = {
    "parameters": [
        _OF_HISTORY["metric"],
        _OF_HISTORY["start"],
        _OF_HISTORY["end"],
        _choice("range", "instead of start and end, ending now", [*RANGES, ALL], DEFAULT_EXPORT_RANGE),
        _choice("format", "of the file", list(FORMATS), DEFAULT_FORMAT),
        _choice("layout", "wide: a column a metric; long: a row a reading", list(LAYOUTS), DEFAULT_LAYOUT),
        {**_OF_HISTORY["tz"], "description": "IANA time zone of a CSV file's times; default: UTC"},
        _choice("gzip", "1: a CSV file that is packed itself", ["0", "1"], "0"),
    ],
    "responses": {
        200: {
            "description": "the file, in one snapshot; whole only if the answer ends in order",
            "content": {each.media_type: {"schema": {"type": "string"}} for each in FORMATS.values()},
        },
        **{status: answer for status, answer in HISTORY_OPERATION["responses"].items() if status != 200},
    },
}
