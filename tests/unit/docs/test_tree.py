"""The architecture names paths of this tree, and the glossary terms of this product."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from joulebook.page_assets import PACKAGE

from ...docs_pages import REPOSITORY, blocks, prose, rows

ARCHITECTURE = (REPOSITORY / "docs" / "architecture.md").read_text()
CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text()
GLOSSARY = (REPOSITORY / "docs" / "glossary.md").read_text()
TERMS = rows(GLOSSARY, "Glossary")

PATH = re.compile(r"(?<![\w./-])[\w-]+(?:/[\w.-]+)*(?:/|\.(?:py|sql|toml|md))(?![\w/])")
FOLDER = re.compile(r"(?:benchmarks|deploy|docs|scripts|src|tests)/[\w./-]+")


def named_in_text() -> set[str]:
    """Return the paths in code marks: names of files, names with a slash at the end, and folders of the repository."""
    marked = re.findall(r"`([^`\n]+)`", prose(ARCHITECTURE))
    return {word for word in marked if PATH.fullmatch(word) or FOLDER.fullmatch(word)}


def named_in_the_list_of_packages() -> Iterator[str]:
    """Yield the paths of the list of packages; a path in the text beside an entry is one below this entry."""
    (listing,) = [block.text for block in blocks(ARCHITECTURE) if block.text.startswith("src/joulebook/\n")]
    entry = ""
    for line in listing.splitlines()[1:]:
        first, *others = PATH.findall(line) or [""]
        if re.match(r"  \S", line):
            entry = first
            yield entry
        elif first:
            others.insert(0, first)
        yield from (f"{entry}{path}" for path in others)


def test_every_path_in_the_text_of_the_architecture_exists() -> None:
    named = named_in_text()
    assert len(named) > 20
    assert {
        path for path in named if not any((root / path).exists() for root in (PACKAGE, REPOSITORY))
    } == set()


def test_every_path_in_the_list_of_packages_exists() -> None:
    named = set(named_in_the_list_of_packages())
    assert len(named) > 12
    assert {path for path in named if not (PACKAGE / path).exists()} == set()


def test_every_path_that_contributing_names_exists() -> None:
    named = {
        path
        for path in re.findall(r"`([\w./-]+/[\w.-]+\.\w+)`", CONTRIBUTING)
        if not re.search("[A-Z]{3}", path)
    }
    assert len(named) > 8
    roots = (PACKAGE, PACKAGE / "web", REPOSITORY)
    assert {path for path in named if not any((root / path).exists() for root in roots)} == set()


@pytest.mark.parametrize(("term", "meaning"), TERMS, ids=[term for term, _ in TERMS])
def test_the_glossary_describes_what_is_built(term: str, meaning: str) -> None:
    assert not re.search(
        r"\bnot (yet )?(built|implemented)\b|\bplanned\b|\bfor now\b", meaning, re.IGNORECASE
    )


def test_the_glossary_has_each_term_once_and_in_order() -> None:
    terms = [term.lower() for term, _ in TERMS]
    assert len(terms) > 30
    assert terms == sorted(set(terms))


def test_the_drawings_of_imports_are_those_of_the_source() -> None:
    command = [sys.executable, REPOSITORY / "scripts" / "draw_imports.py", "--check"]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stderr == ""
