"""Words of the pages for states, problem codes, and reading settings in messages of the core."""

from __future__ import annotations

from joulebook.telemetry.files.errors import FileError, plain_name
from joulebook.telemetry.files.settings import SETTING_OF
from joulebook.web.imports.models import Import

STATES = {
    Import.State.DRAFT: "waiting for you",
    Import.State.QUEUED: "waiting for its turn",
    Import.State.RUNNING: "running",
    Import.State.DONE: "imported",
    Import.State.REFUSED: "refused, nothing stored",
    Import.State.FAILED: "stopped by an error",
    Import.State.CANCELLED: "stopped",
    Import.State.UNDOING: "being undone",
    Import.State.UNDONE: "undone",
}
"""Words for the states of an import."""

PROBLEMS = {
    "time_missing": "no time",
    "time_malformed": "a time not matching the formats",
    "time_nonexistent": "a time skipped by the clock change",
    "time_past": "too long ago to be kept",
    "time_future": "in the future",
    "key_missing": "no metric in the row",
    "key_limit": "too many different kinds of rows, or no name for a metric",
    "other_table": "part of another table",
    "header_repeated": "a repeated header",
    "too_many_cells": "more cells than columns",
    "unsplittable": "unclosed quotes",
    "encoding": "no text in this encoding",
    "nul_byte": "bytes that are not text",
    "line_too_long": "a line of more than 128 KiB",
    "line_cut_off": "a line cut off",
    "value_type": "not a number",
    "value_not_finite": "infinite or out of range",
    "value_unit": "in a unit that cannot be converted",
    "conflict": "another value is stored for this time, and was kept",
    "repeated": "another value for this time is in the file before",
    "metric_limit": "no room for another metric of this device",
    "file_left_out": "a file left out",
    "holds_text": "a number, but the readings of this metric are text",
}
"""Reasons for not storing a row or cell, by their code in reports and lists."""


def problem_words(code: str) -> str:
    """Return the words for a problem code."""
    return PROBLEMS.get(code, code.replace("_", " "))


def on_page(problem: str | Exception, *, name: str = "") -> str:
    """Return a message with reading settings named as on a draft's page.

    It begins with a capital letter, unless it begins with the file's `name`.
    """
    words = problem.said(_setting_words) if isinstance(problem, FileError) else str(problem)
    return words if name and words.startswith(name) else words[:1].upper() + words[1:]


def _setting_words(setting: str, value: str) -> str:
    declared = SETTING_OF.get(setting)
    return f"“{declared.label}” {value}".rstrip() if declared else plain_name(setting, value)
