"""The reference of exports says what the code does: parameters, formats and limits."""

from __future__ import annotations

import re

from joulebook.serving.guard import Deadlines
from joulebook.telemetry.export.formats import FORMATS
from joulebook.telemetry.export.frames import LAYOUTS
from joulebook.telemetry.export.reading import BLOCK_READINGS
from joulebook.telemetry.history.points import ALL, RANGES
from joulebook.web.history.export.api import EXPORTS_AT_ONCE, EXPORTS_OF_ONE_PERSON
from joulebook.web.urls import api

from ...docs_pages import REPOSITORY, rows, unwrapped

PAGE = (REPOSITORY / "docs" / "reference" / "export.md").read_text()


def words(cell: str) -> list[str]:
    return re.findall(r"`([\w.-]+)`", cell)


def test_the_parameters_are_those_of_the_source() -> None:
    table = {
        name: row for row in rows(PAGE, "Parameters") for name in words(f"`{row[0]}`".replace("``", "`"))
    }
    operation = api.get_openapi_schema(path_prefix="/api/")["paths"]["/api/export/{device_id}"]["get"]
    described = {each["name"]: each["schema"] for each in operation["parameters"] if each["in"] == "query"}
    assert set(table) == set(described)
    assert words(table["range"][2])[:-1] == list(RANGES)
    assert words(table["range"][2])[-1] == ALL
    assert words(f"`{table['format'][2]}`".replace("``", "`")) == list(FORMATS)
    assert words(f"`{table['layout'][2]}`".replace("``", "`")) == list(LAYOUTS)
    for name in ("range", "format", "layout", "gzip"):
        assert table[name][1] == described[name]["default"], name


def test_the_formats_are_those_of_the_source() -> None:
    section = PAGE.split("## Answer")[1]
    assert [[name, each.media_type] for name, each in FORMATS.items()] == [
        row[:2] for row in rows(f"# Answer{section.split('In CSV the header')[0]}", "Answer")
    ]


def test_the_limits_are_those_of_the_source() -> None:
    page = unwrapped(PAGE)
    assert f"some {BLOCK_READINGS:,} readings" in page
    assert f"nothing for {Deadlines().answer} seconds" in page
    assert (EXPORTS_OF_ONE_PERSON, EXPORTS_AT_ONCE) == (4, 8)
    assert "four of yours, or eight in all" in page
