"""Reads the documentation's pages: their fenced blocks, links and headings.

The convention. A block of `sh` is run by the tests, in its page's order and in one shell; `sh by-hand`
is not (it starts a service, or needs another machine). A block of `json` after a run block is what
that prints; so is one of `text` with nothing between the two, on standard output or standard error, `…`
standing for anything. A block with a file's name, such as
`python send.py`, is that file, in the folder where the page's commands run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
PAGES = sorted(
    [
        *(REPOSITORY / file for file in ("README.md", "CHANGELOG.md", "SECURITY.md")),
        *(REPOSITORY / "docs").rglob("*.md"),
    ]
)

_FENCE = re.compile(r"^(`{3,})([^\n`]*)\n(.*?)^\1[ ]*$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the rest of its first line, what it holds, and where it begins.

    `is_next` says that nothing but blank lines lies between it and the block before.
    """

    language: str
    note: str
    text: str
    line: int
    is_next: bool

    @property
    def is_run(self) -> bool:
        """Whether the tests run it."""
        return self.language == "sh" and not self.note

    @property
    def is_output(self) -> bool:
        """Whether it shows what the block before it prints, if that is run."""
        return not self.note and (self.language == "json" or (self.language == "text" and self.is_next))

    @property
    def is_file(self) -> bool:
        """Whether it is a file that the page's commands use."""
        return bool(self.note) and self.language != "sh"


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    found: list[Block] = []
    end = 0
    for match in _FENCE.finditer(text):
        language, _, note = match[2].strip().partition(" ")
        line = text.count("\n", 0, match.start()) + 1
        is_next = bool(found) and not text[end : match.start()].strip()
        found.append(Block(language, note.strip(), match[3], line, is_next))
        end = match.end()
    return found


def prose(text: str) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", text)


def unwrapped(text: str) -> str:
    """Return a text in one line: a sentence of a page can be found wherever its lines end."""
    return " ".join(text.split())


def links(text: str) -> list[str]:
    """Return the targets of a page's links."""
    return _LINK.findall(prose(text))


def anchors(text: str) -> set[str]:
    """Return the names under which a page's headings can be linked to, as GitHub makes them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        for heading in _HEADING.findall(prose(text))
    }


def name(page: Path) -> str:
    """Return a page's path for people."""
    return str(page.relative_to(REPOSITORY))


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its head; code marks are taken off."""
    section = re.split(rf"^#+ {re.escape(heading)}$", text, maxsplit=1, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [[cell.strip("`") if cell.count("`") == 2 else cell for cell in row] for row in cells[2:]]
