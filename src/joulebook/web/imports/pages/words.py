"""Imports in people's words: why a row or cell was refused, and what an error means on a page."""

from __future__ import annotations

from joulebook.telemetry.files.errors import FileError, plain_name
from joulebook.web.imports.models import Import

STATES = {
    Import.State.DRAFT: "waits for you",
    Import.State.QUEUED: "waits for its turn",
    Import.State.RUNNING: "running",
    Import.State.DONE: "imported",
    Import.State.REFUSED: "refused, nothing stored",
    Import.State.FAILED: "stopped by an error",
    Import.State.CANCELLED: "stopped",
    Import.State.UNDOING: "being undone",
    Import.State.UNDONE: "undone",
}
"""What became of an import."""

PROBLEMS = {
    "time_missing": "no time",
    "time_malformed": "no time that fits the formats",
    "time_nonexistent": "a time that the clocks skipped",
    "time_past": "too long ago to be kept",
    "time_future": "in the future",
    "key_missing": "nothing says what the row measures",
    "key_limit": "too many different kinds of rows, or no name for a metric",
    "other_table": "part of another table",
    "header_repeated": "the header once more",
    "too_many_cells": "more cells than columns",
    "unsplittable": "quotes that do not close",
    "encoding": "no text in this encoding",
    "nul_byte": "bytes that are no text",
    "line_too_long": "a line of more than 128 KiB",
    "line_cut_off": "a line that ends early",
    "value_type": "not a number",
    "value_not_finite": "infinite or out of range",
    "conflict": "another value is stored for this time, and was kept",
    "metric_limit": "no room for another metric of this device",
}
"""Why a row or a cell is not stored, by the code that reports and lists give."""

_SETTINGS = {
    "delimiter": "“Delimiter”",
    "encoding": "“Encoding”",
    "header_line": "“Header line”",
    "time_columns": "“Columns of the time”",
    "time_formats": "“Time formats”",
    "time_marks": "“Times mark”",
    "tz": "“Time zone”",
    "decimal": "“Decimal mark”",
    "thousands": "“Thousands mark”",
    "na_values": "“Missing values”",
    "layout": "“Layout”",
    "key_columns": "“Columns of the key”",
    "mapping": "the table of columns",
}


def problem_words(code: str) -> str:
    """Return what a code means."""
    return PROBLEMS.get(code, code.replace("_", " "))


def on_page(problem: str | Exception, *, name: str = "") -> str:
    """Return a message with the settings of a file named as on a draft's page.

    It begins with a capital letter, unless it begins with the file's `name`.
    """
    words = problem.said(_setting_words) if isinstance(problem, FileError) else str(problem)
    return words if name and words.startswith(name) else words[:1].upper() + words[1:]


def _setting_words(setting: str, value: str) -> str:
    return f"{_SETTINGS.get(setting, plain_name(setting, ''))} {value}".rstrip()
