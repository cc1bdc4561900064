"""Sheets of workbooks, old or new, as lines of CSV.

It needs no module of arrays or tables, so that a process started for one workbook begins quickly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from python_calamine import CalamineWorkbook

from joulebook.telemetry.files.errors import UnreadableFile
from joulebook.telemetry.files.formats.csv_chunks import CsvChunks

_ROWS_A_CHUNK = 2000
_LINE_BREAKS = re.compile(r"[\r\n\x0b\x0c\x85\u2028\u2029]+")


def sheet_chunks(path: Path, sheet: str, name: str) -> Iterator[bytes]:
    """Yield a sheet as UTF-8 CSV, unless one is chosen the first with two rows or more.

    Line n of the text is row n of the sheet: a report's line numbers are those of the spreadsheet. Messages
    call the workbook `name`. Raises `UnreadableFile` for a damaged workbook, and for one without the sheet.
    """
    rows = _rows(path, sheet, name)
    out = CsvChunks()
    for number, row in enumerate(rows, 1):
        cells = [_text(cell) for cell in row]
        out.write(cells) if any(cells) else out.write_blank()
        if number % _ROWS_A_CHUNK == 0 or out.is_full:
            yield out.taken()
    if rest := out.taken():
        yield rest


def sheet_names(path: Path, name: str) -> tuple[str, ...]:
    """Return the names of a workbook's sheets in their order; the errors are those of `sheet_chunks`."""
    with _reader(name), CalamineWorkbook.from_path(path) as book:
        return tuple(book.sheet_names)


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
