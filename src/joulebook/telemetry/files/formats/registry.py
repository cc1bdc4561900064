"""All foreign formats, and which of them a file has."""

from __future__ import annotations

from joulebook.telemetry.files.formats.annotated_csv import ANNOTATED_CSV
from joulebook.telemetry.files.formats.columnar import ARROW_FILE, ARROW_STREAM, PARQUET
from joulebook.telemetry.files.formats.format import Format
from joulebook.telemetry.files.formats.green_button import GREEN_BUTTON
from joulebook.telemetry.files.formats.json_lists import JSON
from joulebook.telemetry.files.formats.line_protocol import LINE_PROTOCOL
from joulebook.telemetry.files.formats.nem import NEM
from joulebook.telemetry.files.formats.prometheus import PROMETHEUS_TEXT, VICTORIA_METRICS

FORMATS: tuple[Format, ...] = (
    PARQUET,
    ARROW_FILE,
    ARROW_STREAM,
    ANNOTATED_CSV,
    GREEN_BUTTON,
    NEM,
    LINE_PROTOCOL,
    PROMETHEUS_TEXT,
    VICTORIA_METRICS,
    JSON,
)
"""The formats recognised by the beginning of a file's content, in the order they are tried: JSON is last, as
others are written in it."""


def find_format(head: bytes) -> Format | None:
    """Return the format of a file whose unpacked content begins with `head`, None for a text table."""
    return next((each for each in FORMATS if each.recognises(head)), None)
