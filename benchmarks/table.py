"""The tables that a run prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Row(NamedTuple):
    """One measured line."""

    what: str
    figure: str
    ratio: str
    remark: str


class Promise(NamedTuple):
    """One figure that is wanted, and whether this run kept it."""

    what: str
    measured: str
    wanted: str
    kept: bool


class Printer:
    """Prints tables for a terminal, or as Markdown for the documentation."""

    def __init__(self, *, markdown: bool) -> None:
        self._markdown = markdown
        self._console = Console(width=130)

    def rows(self, title: str, rows: Sequence[Row]) -> None:
        """Print measured lines under a title."""
        self._print(title, Row._fields, rows)

    def promises(self, promises: Sequence[Promise]) -> None:
        """Print what was wanted beside what was measured."""
        shown = [(*one[:3], "yes" if one.kept else "NO") for one in promises]
        self._print("Wanted", Promise._fields, shown)

    def _print(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        if self._markdown:
            lines = [head, ["---"] * len(head), *rows]
            print(
                f"## {title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n", flush=True
            )
            return
        table = Table(*head, title=title, title_justify="left", box=None)
        for row in rows:
            table.add_row(*row)
        self._console.print(table)
