"""Rows collected as UTF-8 CSV until they are enough for a chunk."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from joulebook.telemetry.files.budget import check_budget

_CHUNK_CHARACTERS = 1 << 20


class CsvChunks:
    """Collects rows: a format takes them when they are a full chunk, and at the end."""

    def __init__(self, first_line: str = "") -> None:
        """Begin with a line as it is, such as a header."""
        self._out = io.StringIO()
        self._csv = csv.writer(self._out, lineterminator="\n")
        self._out.write(first_line)

    def write(self, cells: Iterable[object]) -> None:
        """Add a row."""
        self._csv.writerow(cells)

    def write_blank(self) -> None:
        """Add an empty line."""
        self._out.write("\n")

    @property
    def is_full(self) -> bool:
        """Whether the rows are enough for a chunk."""
        return self._out.tell() > _CHUNK_CHARACTERS

    def taken(self) -> bytes:
        """Return the rows not yet returned."""
        check_budget()
        text = self._out.getvalue()
        self._out.seek(0)
        self._out.truncate()
        return text.encode("utf-8", "replace")
