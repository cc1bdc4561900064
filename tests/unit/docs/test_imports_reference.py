"""The page of imports says what the API takes, answers and refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from joulebook.telemetry.files.settings import SETTINGS
from joulebook.web.imports.api.answers import WholeImportAnswer
from joulebook.web.imports.api.parameters import DEFAULT_LIMIT, MOST_LISTED, PARAMETERS
from joulebook.web.imports.models import Import
from joulebook.web.urls import api

from ...docs_pages import REPOSITORY, rows, unwrapped

PAGE = (REPOSITORY / "docs" / "reference" / "imports.md").read_text()
SETTINGS_PAGE = (REPOSITORY / "docs" / "reference" / "import-settings.md").read_text()


@pytest.fixture(scope="module")
def operations() -> dict[tuple[str, str], dict[str, object]]:
    import joulebook.web.urls  # noqa: F401 - adds the addresses

    return {
        (method, path): operation
        for path, described in api.get_openapi_schema()["paths"].items()
        for method, operation in described.items()
        if path.startswith("/api/import")
    }


def test_every_address_is_on_the_page_and_no_other(operations: dict[tuple[str, str], object]) -> None:
    documented = re.findall(r"^\| `([A-Z]+) (/api/import\S*)` \|", PAGE, re.MULTILINE)
    assert {(method.lower(), path) for method, path in documented} == set(operations)


def test_every_parameter_is_on_the_pages_and_no_other() -> None:
    own = [row[0] for row in rows(PAGE, "Uploading a file")]
    assert {*own, *(row[1] for row in rows(SETTINGS_PAGE, "Settings of an import"))} == set(PARAMETERS)


def test_the_table_of_settings_is_their_declaration() -> None:
    documented = [
        [cell.replace("`", "") for cell in row] for row in rows(SETTINGS_PAGE, "Settings of an import")
    ]
    assert documented == [[each.option, each.name, each.help] for each in SETTINGS]


def test_the_page_of_settings_says_how_often_each_may_be_given_and_what_a_profile_decides() -> None:
    text = unwrapped(SETTINGS_PAGE)
    for each in SETTINGS:
        assert (f"{each.most:,} times (`{each.name}`)" in text) == (each.most > 1)
    decided = re.findall(r"`(\w+)`", text.partition("A saved profile decides")[2])
    assert decided == [each.name for each in SETTINGS if each.is_fixed]


def test_every_refusal_is_on_the_page(
    operations: dict[tuple[str, str], dict[str, dict[int, object]]],
) -> None:
    refused = {
        int(status) for each in operations.values() for status in each["responses"] if int(status) >= 400
    }
    assert {int(row[0]) for row in rows(PAGE, "Errors")} == refused


def fields(table: list[list[str]]) -> Iterator[str]:
    for row in table:
        yield from re.findall(r"\w+", row[0])


def test_every_field_of_an_import_is_on_the_page() -> None:
    assert set(fields(rows(PAGE, "An import"))) - {"field"} == set(WholeImportAnswer.model_fields)
    for state in Import.State.values:
        assert f"`{state}`" in PAGE


def test_the_limits_of_the_list_are_those_of_the_source() -> None:
    assert f"`limit` (1 to {MOST_LISTED}, {DEFAULT_LIMIT} by default)" in unwrapped(PAGE)
