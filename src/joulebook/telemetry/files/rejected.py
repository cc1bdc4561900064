"""Writes every rejected row and cell of a file as CSV, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from typing import TextIO

from joulebook.telemetry.csv_format import guarded
from joulebook.telemetry.files.table import Problem

FIELDS = ("line", "column", "code", "text", "row", "file")
_NUMBER = re.compile(r"[+-][0-9.,]*(?:[eE][+-]?[0-9]+)?")


class RejectedWriter:
    """Writes problems to an open text file (`newline=""`), the header first.

    `file` is empty for an import of one file. For a rejected row `column` is empty and `row` is the line
    from the file. Text that a spreadsheet would take for a formula gets a `'` before it; numbers are
    unchanged.
    """

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file)
        self._writer.writerow(FIELDS)
        self.count = 0
        """Rows written so far, without the header."""

    def add(self, problems: Sequence[Problem]) -> None:
        """Write some problems."""
        self.count += len(problems)
        for p in problems:
            texts = [plain_text(text) for text in (p.column or "", p.text, p.row, p.file)]
            self._writer.writerow([p.line or "", texts[0], p.code, *texts[1:]])


def plain_text(cell: str) -> str:
    """Return a cell protected from being taken for a formula."""
    return cell if _NUMBER.fullmatch(cell) else guarded(cell)
