"""The how-to page about imports in the browser speaks of what stands on the pages, by the same words."""

from __future__ import annotations

import re

import pytest

from joulebook.telemetry.files.settings import SETTINGS

from ...docs_pages import REPOSITORY

PAGE = (REPOSITORY / "docs/how-to/import-in-the-browser.md").read_text()
TEMPLATES = REPOSITORY / "src/joulebook/web/templates"
WORDS = sorted({" ".join(word.split()) for word in re.findall(r"\*\*([^*]+)\*\*", PAGE)})


@pytest.fixture(scope="module")
def shown() -> str:
    """All text of the templates, as if every branch of them were shown, without marks and tags."""
    pages = "".join(path.read_text() for path in TEMPLATES.rglob("*.html"))
    pages = re.sub(r"{% else %}.*?{% endif %}", "", pages)
    return " ".join(re.sub(r"{[%{].*?[%}]}|<[^>]*>", "", pages).split())


@pytest.mark.parametrize("word", WORDS)
def test_a_name_in_bold_stands_on_a_page(word: str, shown: str) -> None:
    assert word in shown


def test_there_are_names_in_bold() -> None:
    assert len(WORDS) > 12


def test_settings_have_different_names() -> None:
    labels = [setting.label for setting in SETTINGS]
    assert len(labels) == len(set(labels))
