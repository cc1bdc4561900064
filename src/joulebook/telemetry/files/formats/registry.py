"""All foreign formats, and which of them a file has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from joulebook.telemetry.files.formats.annotated_csv import ANNOTATED_CSV, convert_tables
from joulebook.telemetry.files.formats.columnar import ARROW_FILE, ARROW_STREAM, PARQUET
from joulebook.telemetry.files.formats.emoncms import EMONCMS
from joulebook.telemetry.files.formats.format import Content, Format
from joulebook.telemetry.files.formats.green_button import GREEN_BUTTON
from joulebook.telemetry.files.formats.home_assistant import (
    HOME_ASSISTANT_ENERGY,
    HOME_ASSISTANT_HISTORY,
    HOME_ASSISTANT_STATISTICS,
)
from joulebook.telemetry.files.formats.home_assistant_database import HOME_ASSISTANT_DATABASE
from joulebook.telemetry.files.formats.influx_shell import INFLUX_SHELL, convert_rows
from joulebook.telemetry.files.formats.json_lists import JSON
from joulebook.telemetry.files.formats.line_protocol import LINE_PROTOCOL, convert_lines
from joulebook.telemetry.files.formats.named_series import SeriesNames
from joulebook.telemetry.files.formats.nem import NEM
from joulebook.telemetry.files.formats.old_workbook import OLD_WORKBOOK
from joulebook.telemetry.files.formats.prometheus import (
    PROMETHEUS_TEXT,
    VICTORIA_METRICS,
    convert_json,
    convert_text,
)

FORMATS: tuple[Format, ...] = (
    OLD_WORKBOOK,
    PARQUET,
    ARROW_FILE,
    ARROW_STREAM,
    ANNOTATED_CSV,
    INFLUX_SHELL,
    GREEN_BUTTON,
    NEM,
    HOME_ASSISTANT_DATABASE,
    HOME_ASSISTANT_ENERGY,
    HOME_ASSISTANT_HISTORY,
    HOME_ASSISTANT_STATISTICS,
    EMONCMS,
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


def find_format_of_set(names: Sequence[str]) -> Format | None:
    """Return the format of a folder or zip archive with files of these names, None for separate files."""
    return next((each for each in FORMATS if each.is_set(names)), None)


CONVERTERS: Mapping[str, Callable[[Content, SeriesNames], Iterator[bytes]]] = {
    ANNOTATED_CSV.name: convert_tables,
    INFLUX_SHELL.name: convert_rows,
    LINE_PROTOCOL.name: convert_lines,
    VICTORIA_METRICS.name: convert_json,
    PROMETHEUS_TEXT.name: convert_text,
}
"""The conversions of other time-series databases by the format's name; they also return the series."""
