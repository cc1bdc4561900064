"""Workbooks (.xlsx): checked for what would blow up, then read by rows as lines of CSV.

Line n of the text is row n of the sheet, so that a report's line numbers are those that people see.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from python_calamine import CalamineSheet, CalamineWorkbook

from joulebook.telemetry.files.archive import opened, read_member
from joulebook.telemetry.files.errors import FileTooLarge, UnreadableFile

MOST_INFLATED = 256 << 20
"""Bytes that all parts of a workbook may have together, unpacked."""

MOST_CELLS = 20_000_000
"""Cells in the rectangle that a sheet's cells span, filled or not."""

_ROWS_A_CHUNK = 2000
_OVERLAP = 200
_FORBIDDEN = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_PLACE = re.compile(rb'<(?:c|row)\b[^<>]{0,150}?\br="([A-Za-z]{0,3})([0-9]{1,7})"')
_LINE_BREAKS = re.compile(r"[\r\n\x0b\x0c\x85\u2028\u2029]+")


def workbook_chunks(path: Path, sheet: str) -> Iterator[bytes]:
    """Yield a sheet as UTF-8 CSV; `sheet` is empty for the first that has two rows or more.

    Raises `UnreadableFile` for a workbook that is damaged, or holds what no workbook needs, and
    `FileTooLarge` for one that is larger than any person's.
    """
    _check(path)
    rows = _rows(path, sheet)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for number, row in enumerate(rows, 1):
        cells = [_text(cell) for cell in row]
        writer.writerow(cells) if any(cells) else out.write("\n")
        if number % _ROWS_A_CHUNK == 0:
            yield out.getvalue().encode("utf-8", "replace")
            out.seek(0)
            out.truncate()
    if text := out.getvalue():
        yield text.encode("utf-8", "replace")


def sheet_names(path: Path) -> tuple[str, ...]:
    """Return the names of a workbook's sheets in their order; raises what `workbook_chunks` does."""
    _check(path)
    with _reader(path), CalamineWorkbook.from_path(path) as book:
        return tuple(book.sheet_names)


def _check(path: Path) -> None:
    """Unpack every part once, without keeping it, and refuse what would blow up in a reader."""
    inflated = 0
    with opened(path) as archive:
        for member in archive.infolist():
            is_xml = member.filename.lower().endswith((".xml", ".rels", ".vml"))
            bounds = _Bounds(path)
            rest = b""
            for chunk in read_member(archive, member):
                inflated += len(chunk)
                if inflated > MOST_INFLATED:
                    raise FileTooLarge(
                        f"{path} unpacks to more than {MOST_INFLATED >> 20} MB; "
                        "save the sheet as CSV and import that"
                    )
                if is_xml:
                    text = rest + chunk
                    _check_text(text, path)
                    if "worksheets/" in member.filename:
                        bounds.add(text)
                    rest = text[-_OVERLAP:]


def _check_text(text: bytes, path: Path) -> None:
    if _FORBIDDEN.search(text) or b"\0" in text:
        raise UnreadableFile(
            f"{path} declares entities of its own, which no workbook needs; "
            "save the sheet as CSV and import that"
        )


class _Bounds:
    """The rectangle that a sheet's cells span: a reader makes room for all of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._columns = self._rows = 1

    def add(self, text: bytes) -> None:
        """Take in the cells of a piece of the sheet's XML; raises `FileTooLarge`."""
        for letters, digits in _PLACE.findall(text):
            self._rows = max(self._rows, int(digits))
            number = 0
            for letter in letters.upper():
                number = number * 26 + letter - 64
            self._columns = max(self._columns, number)
        if self._rows * self._columns > MOST_CELLS:
            raise FileTooLarge(
                f"{self._path} has a sheet of {self._rows:,} rows by {self._columns:,} columns; "
                f"at most {MOST_CELLS:,} cells are read: save the sheet as CSV and import that"
            )


def _rows(path: Path, sheet: str) -> Iterator[Sequence[Any]]:
    with _reader(path), CalamineWorkbook.from_path(path) as book:
        chosen = _sheet(book, sheet, path)
        for _ in range((chosen.start or (0, 0))[0]):
            yield ()
        # Rows come without the empty columns before the first that is filled; nobody misses them.
        yield from chosen.iter_rows()


@contextmanager
def _reader(path: Path) -> Iterator[None]:
    """Tell what goes wrong in the reader as `UnreadableFile`."""
    try:
        yield
    except (UnreadableFile, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as exc:
        # The reader is written in Rust; when it panics, that is no Exception.
        if not isinstance(exc, Exception) and type(exc).__name__ != "PanicException":
            raise
        raise UnreadableFile(f"{path} cannot be read as a workbook: {str(exc)[:200]}") from exc


def _sheet(book: CalamineWorkbook, name: str, path: Path) -> CalamineSheet:
    if name:
        if name not in book.sheet_names:
            raise UnreadableFile(
                f"{path} has no sheet {name!r}; it has {', '.join(map(repr, book.sheet_names[:20]))}"
            )
        return book.get_sheet_by_name(name)
    first = None
    for candidate in book.sheet_names:
        sheet = book.get_sheet_by_name(candidate)
        if first is None:
            first = sheet
        if sheet.height > 1:
            return sheet
    if first is None:
        raise UnreadableFile(f"{path} has no sheet; is it a workbook?")
    return first


def _text(cell: Any) -> str:
    """Return a cell as text that the parser reads back as the same number or instant."""
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
    """Return an instant to the millisecond: days as fractions of a number are not finer than that."""
    rounded = moment + timedelta(microseconds=500)
    whole = rounded.replace(microsecond=rounded.microsecond // 1000 * 1000)
    return whole.isoformat(" ", "milliseconds" if whole.microsecond else "seconds")
