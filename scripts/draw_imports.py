"""Draws the imports between packages into `docs/architecture.md`, as Mermaid diagrams.

An arrow implied by longer paths is left out. With `--check` it writes nothing, and fails if a drawing is
out of date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import grimp

PAGE = Path(__file__).parent.parent / "docs" / "architecture.md"
DRAWING = re.compile(r"(<!-- imports of (\S+) -->\n).*?(<!-- end of imports -->)", re.DOTALL)

Arrows = dict[str, set[str]]


def main() -> None:
    """Bring the page's drawings up to date, or check that they are."""
    page = PAGE.read_text("utf-8")
    drawn = DRAWING.sub(lambda found: f"{found[1]}{draw(found[2])}{found[3]}", page)
    if "--check" in sys.argv[1:]:
        sys.exit(
            "the drawings in docs/architecture.md are out of date; run `make drawings`"
            if drawn != page
            else 0
        )
    PAGE.write_text(drawn, "utf-8")


def draw(package: str) -> str:
    """Return the imports between a package's children as a fenced Mermaid diagram."""
    arrows = reduce_arrows(find_arrows(package))
    lines = [
        f"    {importer} --> {imported}"
        for importer in sorted(arrows)
        for imported in sorted(arrows[importer])
    ]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```", ""])


def find_arrows(package: str) -> Arrows:
    """Return which children of a package import which, by their short names; migrations are left out."""
    graph = grimp.build_graph(package.split(".")[0], exclude_type_checking_imports=True)
    children = sorted(graph.find_children(package))
    for child in children:
        graph.squash_module(child)
    names = {child: child.rpartition(".")[2] for child in children}
    return {
        names[child]: {
            names[each] for each in graph.find_modules_directly_imported_by(child) if each in names
        }
        for child in children
    }


def reduce_arrows(arrows: Arrows) -> Arrows:
    """Return the arrows without those that longer paths imply. There must be no circle."""
    reached = {name: _reach(arrows, name) for name in arrows}
    return {
        name: {each for each in found if not any(each in reached[other] for other in found - {each})}
        for name, found in arrows.items()
    }


def _reach(arrows: Arrows, start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for each in arrows.get(waiting.pop(), set()) - found:
            found.add(each)
            waiting.append(each)
    return found


if __name__ == "__main__":
    main()
