"""Workbooks (.xlsx): checked for content made to exhaust memory before they are read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from joulebook.telemetry.files.archive import opened, read_member
from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import FileTooLarge, UnreadableFile
from joulebook.telemetry.files.formats.format import Content, Format
from joulebook.telemetry.files.formats.sheets import sheet_chunks, sheet_names

MOST_INFLATED = 256 << 20
"""Most bytes of all parts of a workbook together, unpacked."""

MOST_CELLS = 20_000_000
"""Most cells in the rectangle spanned by a sheet's cells, filled or not."""

MOST_TEXT = 512 << 20
"""Most characters in all cells with shared texts, if each had the longest shared text.

A workbook stores a shared text once for many cells, but a reader holds a copy for each.
"""

_OVERLAP = 200
_XML_STARTS = (b"<", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_FORBIDDEN = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_MARKS = re.compile(rb"<(?:[^\s<>/]*:)?(c|row)(?=[\s/>])|[\s\"']r\s*=\s*[\"']\s*([A-Za-z]{0,8})([0-9]{0,10})")
"""The beginning of a row or a cell, or the address of one, in any valid spelling."""

_SHARED = re.compile(rb"<(?:[^\s<>/]{1,40}:)?(?P<text>si)(?=[\s/>])|[\s\"']t\s*=\s*[\"']\s*s\s*[\"']")
"""The beginning of a shared text, or a cell with one, in any valid spelling."""

_LONGEST_TAG = 4 << 20
_OTHER_FORMATS = frozenset({"content.xml", "mimetype", "xl/workbook.bin"})


def _convert(content: Content) -> Iterator[bytes]:
    """Yield a sheet as CSV; the errors are those of `sheet_chunks`, and `FileTooLarge`."""
    _check(content.path, content.name)
    yield from sheet_chunks(content.path, content.part, content.name)


def _sheet_names(content: Content) -> tuple[str, ...]:
    """Return the names of a workbook's sheets in their order; the errors are those of `_convert`."""
    _check(content.path, content.name)
    return sheet_names(content.path, content.name)


def _check(path: Path, name: str) -> None:
    """Unpack every part once, without keeping it, and refuse content that would exhaust a reader's memory."""
    inflated = 0
    shared = _SharedTexts(name)
    with opened(path, name=name) as archive:
        # The reader would also try other formats, without the checks here.
        if _OTHER_FORMATS & {member.filename.lower() for member in archive.infolist()}:
            raise UnreadableFile(
                f"{name} is not an .xlsx workbook alone; save the sheet as CSV and import that"
            )
        for member in archive.infolist():
            # Any part may be a sheet, under any name.
            bounds = _Bounds(name)
            shared.begin_part()
            is_xml = member.filename.lower().endswith((".xml", ".rels", ".vml"))
            rest = b""
            for at, chunk in enumerate(read_member(archive, member)):
                check_budget()
                inflated += len(chunk)
                if inflated > MOST_INFLATED:
                    raise FileTooLarge(
                        f"{name} unpacks to more than {MOST_INFLATED >> 20} MB; "
                        "save the sheet as CSV and import that"
                    )
                is_xml = is_xml or (at == 0 and chunk.lstrip().startswith(_XML_STARTS))
                if is_xml:
                    text = rest + chunk
                    if _FORBIDDEN.search(text) or b"\0" in text:
                        raise UnreadableFile(
                            f"{name} declares entities of its own, which no workbook needs; "
                            "save the sheet as CSV and import that"
                        )
                    rest = chunk[-_OVERLAP:]
                bounds.add(chunk)
                shared.add(chunk)
            bounds.end()
            shared.end_part()


class _Bounds:
    """The largest possible rectangle of a sheet's cells: a reader allocates all of it.

    Cells and rows without an address follow the one before. An address counts even if it is unclear what
    it belongs to.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._row = self._column = 0
        self._rows = self._columns = 1
        self._open = b""

    def add(self, chunk: bytes) -> None:
        """Add a piece of a part; raises `FileTooLarge`, and `UnreadableFile` for an endless tag."""
        text = self._open + chunk
        cut = text.rfind(b"<")
        # Pictures are long, without tags.
        self._open = b"" if cut < 0 else text[cut:]
        if len(self._open) > _LONGEST_TAG:
            raise UnreadableFile(f"{self._name} holds no tags of a workbook; save the sheet as CSV instead")
        self._take(text[: len(text) - len(self._open)])

    def end(self) -> None:
        """Add the rest; raises `FileTooLarge`."""
        self._take(self._open)

    def _take(self, text: bytes) -> None:
        for kind, letters, digits in _MARKS.findall(text):
            if kind == b"row":
                self._row, self._column = self._row + 1, 0
            elif kind:
                self._column += 1
            else:
                self._row = max(self._row, int(digits or 0))
                self._column = max(self._column, _number(letters))
            self._rows = max(self._rows, self._row)
            self._columns = max(self._columns, self._column)
        if self._rows * self._columns > MOST_CELLS:
            raise FileTooLarge(
                f"{self._name} has a sheet of {self._rows:,} rows by {self._columns:,} columns; "
                f"at most {MOST_CELLS:,} cells are read: save the sheet as CSV and import that"
            )


class _SharedTexts:
    """The most text in all cells together: the longest shared text in each cell with a shared text."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._longest = self._cells = 0
        self.begin_part()

    def begin_part(self) -> None:
        """Begin another part of the workbook."""
        self._tail = b""
        self._offset = 0
        self._begin: int | None = None

    def add(self, chunk: bytes) -> None:
        """Add a piece of a part; raises `FileTooLarge`."""
        text = self._tail + chunk
        # A mark at the very end may continue in the next piece, and is found there.
        self._take(text, until=max(0, len(text) - _OVERLAP))

    def end_part(self) -> None:
        """Add the end of a part; raises `FileTooLarge`."""
        self._take(self._tail, until=len(self._tail))
        self._end_text(self._offset)

    def _take(self, text: bytes, *, until: int) -> None:
        for match in _SHARED.finditer(text):
            if match.start() >= until:
                break
            if match["text"]:
                self._end_text(self._offset + match.start())
                self._begin = self._offset + match.start()
            else:
                self._cells += 1
        self._tail = text[until:]
        self._offset += until
        self._check()

    def _end_text(self, end: int) -> None:
        if self._begin is not None:
            self._longest = max(self._longest, end - self._begin)
            self._check()

    def _check(self) -> None:
        if self._longest * self._cells > MOST_TEXT:
            raise FileTooLarge(
                f"{self._name} shows texts of up to {self._longest:,} characters in {self._cells:,} cells, "
                "which may be more than fits into memory; save the sheet as CSV and import that"
            )


@lru_cache(maxsize=20_000)
def _number(letters: bytes) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - 64
    return number


WORKBOOK = Format("an Excel workbook", lambda _head: False, _convert, _sheet_names, needs_file=True)
"""Recognised by the members of its zip archive, not by its first bytes."""
