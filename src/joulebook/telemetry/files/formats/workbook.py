"""Workbooks (.xlsx): checked for content made to exhaust memory, then read by rows as lines of CSV.

Line n of the text is row n of the sheet: a report's line numbers are those of the spreadsheet.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from python_calamine import CalamineWorkbook

from joulebook.telemetry.files.archive import opened, read_member
from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import FileTooLarge, UnreadableFile
from joulebook.telemetry.files.formats.format import Content, Format

MOST_INFLATED = 256 << 20
"""Most bytes of all parts of a workbook together, unpacked."""

MOST_CELLS = 20_000_000
"""Most cells in the rectangle spanned by a sheet's cells, filled or not."""

MOST_TEXT = 512 << 20
"""Most characters in all cells with shared texts, if each had the longest shared text.

A workbook stores a shared text once for many cells, but a reader holds a copy for each.
"""

_ROWS_A_CHUNK = 2000
_CHUNK_CHARACTERS = 1 << 20
_OVERLAP = 200
_XML_STARTS = (b"<", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_FORBIDDEN = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_MARKS = re.compile(rb"<(?:[^\s<>/]*:)?(c|row)(?=[\s/>])|[\s\"']r\s*=\s*[\"']\s*([A-Za-z]{0,8})([0-9]{0,10})")
"""The beginning of a row or a cell, or the address of one, in any valid spelling."""

_SHARED = re.compile(rb"<(?:[^\s<>/]{1,40}:)?(?P<text>si)(?=[\s/>])|[\s\"']t\s*=\s*[\"']\s*s\s*[\"']")
"""The beginning of a shared text, or a cell with one, in any valid spelling."""

_LONGEST_TAG = 4 << 20
_OTHER_FORMATS = frozenset({"content.xml", "mimetype", "xl/workbook.bin"})
_LINE_BREAKS = re.compile(r"[\r\n\x0b\x0c\x85\u2028\u2029]+")


def _convert(content: Content) -> Iterator[bytes]:
    """Yield a sheet as UTF-8 CSV, unless one is chosen the first with two rows or more.

    Raises `UnreadableFile` for a damaged workbook or one with suspicious content, and `FileTooLarge` for
    one larger than any workbook of readings.
    """
    _check(content.path, content.name)
    rows = _rows(content.path, content.part, content.name)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, row in enumerate(rows, 1):
        cells = [_text(cell) for cell in row]
        writer.writerow(cells) if any(cells) else out.write("\n")
        if number % _ROWS_A_CHUNK == 0 or out.tell() > _CHUNK_CHARACTERS:
            check_budget()
            yield out.getvalue().encode("utf-8", "replace")
            out.seek(0)
            out.truncate()
    if text := out.getvalue():
        yield text.encode("utf-8", "replace")


def _sheet_names(content: Content) -> tuple[str, ...]:
    """Return the names of a workbook's sheets in their order; the errors are those of `_convert`."""
    _check(content.path, content.name)
    with _reader(content.name), CalamineWorkbook.from_path(content.path) as book:
        return tuple(book.sheet_names)


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


def _rows(path: Path, sheet: str, name: str) -> Iterator[Sequence[Any]]:
    with _reader(name), CalamineWorkbook.from_path(path) as book:
        if sheet and sheet not in book.sheet_names:
            raise UnreadableFile(
                f"{name} has no sheet {sheet!r}; it has {', '.join(map(repr, book.sheet_names[:20]))}",
                setting="sheet",
            )
        # Without a name it is the first sheet with more than one row, or else the first of all.
        chosen = None
        for each in [sheet] if sheet else book.sheet_names:
            found = book.get_sheet_by_name(each)
            chosen = found if chosen is None or found.height > 1 else chosen
            if found.height > 1:
                break
        if chosen is None:
            raise UnreadableFile(f"{name} has no sheet; is it a workbook?")
        for _ in range((chosen.start or (0, 0))[0]):
            yield ()
        # Rows come without the empty columns before the first filled one.
        yield from chosen.iter_rows()


@contextmanager
def _reader(name: str) -> Iterator[None]:
    """Raise `UnreadableFile` for errors of the reader."""
    try:
        yield
    except (UnreadableFile, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as exc:
        # The reader is written in Rust; its panic is no Exception.
        if not isinstance(exc, Exception) and type(exc).__name__ != "PanicException":
            raise
        raise UnreadableFile(f"{name} cannot be read as a workbook: {str(exc)[:200]}") from exc


def _text(cell: Any) -> str:
    """Return a cell as text; the parser reads it back as the same number or instant."""
    match cell:
        case bool():
            return "TRUE" if cell else "FALSE"
        case str():
            return _LINE_BREAKS.sub(" ", cell).replace("\0", "")
        case float():
            return repr(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
        case datetime():
            return _instant(cell)
        case date():
            return cell.isoformat()
        case time():
            return _instant(datetime.combine(date(2000, 1, 1), cell)).split(" ")[1]
        case timedelta():
            seconds = round(cell.total_seconds())
            return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return str(cell)


def _instant(moment: datetime) -> str:
    """Return an instant to the millisecond: the resolution of days stored as a number."""
    rounded = moment + timedelta(microseconds=500)
    whole = rounded.replace(microsecond=rounded.microsecond // 1000 * 1000)
    return whole.isoformat(" ", "milliseconds" if whole.microsecond else "seconds")


WORKBOOK = Format("an Excel workbook", lambda _head: False, _convert, _sheet_names, needs_file=True)
"""Recognised by the members of its zip archive, not by its first bytes."""
