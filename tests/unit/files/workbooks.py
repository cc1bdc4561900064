"""Writes small workbooks, new and old, part by part: tests can also write ones that no program would."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

_TYPES = """<?xml version="1.0" encoding="UTF-8"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="xml" ContentType="application/xml"/>
<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>
</Types>"""
_RELS = """<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"""
_STYLES = """<?xml version="1.0"?><styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">
<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="22" applyNumberFormat="1"/></cellXfs></styleSheet>"""
_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_LINKS = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'

Cell = str | float | datetime | None


def sheet_xml(rows: Sequence[Sequence[Cell]]) -> str:
    """Return the XML of a sheet; None is an empty cell."""
    lines = []
    for number, row in enumerate(rows, 1):
        cells = "".join(
            _cell(f"{_letters(at)}{number}", cell) for at, cell in enumerate(row) if cell is not None
        )
        if cells:
            lines.append(f'<row r="{number}">{cells}</row>')
    return f'<?xml version="1.0"?><worksheet {_MAIN}><sheetData>{"".join(lines)}</sheetData></worksheet>'


def write_workbook(path: Path, sheets: dict[str, str]) -> Path:
    """Write a workbook of sheets given as XML."""
    names = list(sheets)
    entries = "".join(
        f'<sheet name="{name}" sheetId="{at}" r:id="rId{at}"/>' for at, name in enumerate(names, 1)
    )
    links = "".join(
        f'<Relationship Id="rId{at}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" '
        f'Target="worksheets/sheet{at}.xml"/>'
        for at in range(1, len(names) + 1)
    )
    links += (
        '<Relationship Id="rId99" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" '
        'Target="styles.xml"/>'
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", _TYPES)
        archive.writestr("_rels/.rels", _RELS)
        archive.writestr(
            "xl/workbook.xml",
            f'<?xml version="1.0"?><workbook {_MAIN} {_LINKS}><sheets>{entries}</sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f"{links}</Relationships>",
        )
        archive.writestr("xl/styles.xml", _STYLES)
        for at, name in enumerate(names, 1):
            archive.writestr(f"xl/worksheets/sheet{at}.xml", sheets[name])
    return path


def _cell(place: str, cell: Cell) -> str:
    if isinstance(cell, datetime):
        days = (cell - datetime(1899, 12, 30)).total_seconds() / 86_400
        return f'<c r="{place}" s="1"><v>{days!r}</v></c>'
    if isinstance(cell, str):
        text = cell.replace("&", "&amp;").replace("<", "&lt;")
        return f'<c r="{place}" t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'
    return f'<c r="{place}"><v>{cell!r}</v></c>'


def _letters(at: int) -> str:
    letters = ""
    at += 1
    while at:
        at, rest = divmod(at - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def write_old_workbook(
    path: Path,
    sheets: dict[str, Sequence[Sequence[Cell]]],
    *,
    is_1904: bool = False,
    shared: Sequence[str] = (),
) -> Path:
    """Write a workbook in the format of Excel 97 (.xls): BIFF8 records in a compound file.

    `shared` are texts before those of the cells.
    """
    texts = list(
        dict.fromkeys(
            [
                *shared,
                *(cell for rows in sheets.values() for row in rows for cell in row if isinstance(cell, str)),
            ]
        )
    )
    places: list[int] = []
    bodies = [_old_sheet(rows, texts, is_1904=is_1904) for rows in sheets.values()]
    for _ in range(2):  # The first round finds out how long the part before the sheets is.
        names = [
            _record(0x85, struct.pack("<IBBBB", place, 0, 0, len(name), 1) + name.encode("utf-16-le"))
            for place, name in zip(places or [0] * len(sheets), sheets, strict=True)
        ]
        strings = b"".join(struct.pack("<HB", len(text), 1) + text.encode("utf-16-le") for text in texts)
        first = b"".join(
            [
                _record(0x809, struct.pack("<HHHHII", 0x600, 5, 0xDBB, 0x7CC, 4, 4)),
                _record(0x42, struct.pack("<H", 1200)),
                _record(0x22, struct.pack("<H", is_1904)),
                *(_record(0xE0, struct.pack("<HH16x", 0, number)) for number in (0, 22)),
                *names,
                _record(0xFC, struct.pack("<II", len(texts), len(texts)) + strings),
                _record(0x0A, b""),
            ]
        )
        places = [len(first) + sum(map(len, bodies[:at])) for at in range(len(bodies))]
    path.write_bytes(_compound_file("Workbook", first + b"".join(bodies)))
    return path


def _old_sheet(rows: Sequence[Sequence[Cell]], texts: Sequence[str], *, is_1904: bool) -> bytes:
    width = max(map(len, rows), default=0)
    records = [
        _record(0x809, struct.pack("<HHHHII", 0x600, 0x10, 0xDBB, 0x7CC, 4, 4)),
        _record(0x200, struct.pack("<IIHHH", 0, len(rows), 0, width, 0)),
    ]
    for number, row in enumerate(rows):
        for at, cell in enumerate(row):
            if isinstance(cell, str):
                records.append(_record(0xFD, struct.pack("<HHHI", number, at, 0, texts.index(cell))))
            elif isinstance(cell, datetime):
                epoch = datetime(1904, 1, 1) if is_1904 else datetime(1899, 12, 30)
                days = (cell - epoch).total_seconds() / 86_400
                records.append(_record(0x203, struct.pack("<HHHd", number, at, 1, days)))
            elif cell is not None:
                records.append(_record(0x203, struct.pack("<HHHd", number, at, 0, cell)))
    return b"".join([*records, _record(0x0A, b"")])


def _record(kind: int, data: bytes) -> bytes:
    return struct.pack("<HH", kind, len(data)) + data


def _compound_file(name: str, stream: bytes) -> bytes:
    stream = stream.ljust(max(4096, -len(stream) % 512 + len(stream)), b"\0")
    sectors = len(stream) // 512
    tables = 1
    while tables * 128 < tables + 1 + sectors:
        tables += 1
    chain = [*range(tables + 2, tables + 1 + sectors), 0xFFFFFFFE]
    table = [*[0xFFFFFFFD] * tables, 0xFFFFFFFE, *chain]
    table += [0xFFFFFFFF] * (tables * 128 - len(table))
    head = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    head += struct.pack("<IIIIIIIII", 0, tables, tables, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    head += struct.pack("<109I", *range(tables), *[0xFFFFFFFF] * (109 - tables))
    entries = [("Root Entry", 5, 1, 0xFFFFFFFE, 0), (name, 2, 0xFFFFFFFF, tables + 1, len(stream))]
    folder = b"".join(
        each.encode("utf-16-le").ljust(64, b"\0")
        + struct.pack("<HBBIII36xIQ", 2 * len(each) + 2, kind, 1, 0xFFFFFFFF, 0xFFFFFFFF, child, start, size)
        for each, kind, child, start, size in entries
    )
    return head + struct.pack(f"<{len(table)}I", *table) + folder.ljust(512, b"\0") + stream
