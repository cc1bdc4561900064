"""The table that a run prints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Row(NamedTuple):
    """One measured line."""

    what: str
    figure: str
    ratio: str
    remark: str


def print_rows(title: str, rows: Iterable[Row]) -> None:
    """Print measured lines under a title."""
    table = Table("what", "figure", "ratio", "remark", title=title, title_justify="left", box=None)
    for row in rows:
        table.add_row(*row)
    Console(width=120).print(table)
