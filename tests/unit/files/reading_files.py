"""Reads a file in a test as an import would, from its bytes to readings."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from joulebook.telemetry.files.guess.chosen import choose_layout
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.source import FileSource

NOW = 1_900_000_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Series(NamedTuple):
    """What a metric became, and its values by instant (ISO 8601 UTC, as short as it can be)."""

    unit: str
    kind: str
    values: dict[str, float]


class ReadFile(NamedTuple):
    """A file's series by metric, its problems (line, code, text), and how it was read."""

    series: dict[str, Series]
    problems: list[tuple[int, str, str]]
    lines: list[int]
    layout: FileLayout


def read_file(
    path: Path, given: Given | None = None, *, sheet: str = "", device_tz: str = "Europe/Berlin"
) -> ReadFile:
    """Return everything that a file holds; raises `FileError`."""
    source = FileSource(path)
    layout = choose_layout(
        source, replace(given or Given(), sheet=sheet or None), profile=None, device_tz=device_tz
    )
    layout.require_answers()
    series: dict[str, Series] = {}
    problems: list[tuple[int, str, str]] = []
    lines: list[int] = []
    for block in parse_file(source, layout.profile, layout.columns, now=NOW):
        values = (*layout.profile.values, *block.added)
        cells = zip(block.column.tolist(), block.time.tolist(), block.value.tolist(), strict=True)
        for at, time, value in cells:
            of = series.setdefault(values[at].metric, Series(values[at].unit, values[at].kind, {}))
            of.values[_said(time)] = value
        problems += [(problem.line, problem.code, problem.text) for problem in block.problems]
        lines += block.line.tolist()
    assert source.sha256
    return ReadFile(series, problems, lines, layout)


def _said(time: int) -> str:
    return (_EPOCH + timedelta(microseconds=time)).isoformat(" ").removesuffix("+00:00").removesuffix(":00")
