"""Zip archives and workbooks: read as what they hold, and refused where they would blow up."""

from __future__ import annotations

import gzip
import hashlib
import io
import tracemalloc
import zipfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from joulebook.telemetry.files.errors import FileTooLarge, UnreadableFile
from joulebook.telemetry.files.formats import workbook
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.source import FileSource

from .settled import settled_layout
from .workbooks import sheet_xml, write_workbook

NOW = 1_900_000_000_000_000
CSV = b"time,P\n" + b"".join(b"2024-01-13 00:%02d,%d.5\n" % (i, i) for i in range(60))
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
START = datetime(2024, 1, 13)


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def content(path: Path, *, sheet: str = "") -> bytes:
    return b"".join(FileSource(path, sheet=sheet).chunks())


def test_an_archive_with_one_file_is_read_as_that_file_and_hashed_as_it_is_stored(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "a.zip", {"folder/": b"", "folder/../../x.csv": CSV, "__MACOSX/._x.csv": b"junk"}
    )
    source = FileSource(path)
    assert b"".join(source.chunks()) == CSV
    assert source.head(10) == CSV[:10]
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert source.bytes_read == source.size
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip"]


def test_an_archive_without_files_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="holds no file"):
        content(zipped(tmp_path / "none.zip", {"folder/": b""}))


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.csv": CSV * 100})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UnreadableFile, match=r"a\.zip cannot be unpacked"):
        content(path)
    broken = bytearray(zipped(tmp_path / "b.zip", {"a.csv": CSV * 100}).read_bytes())
    broken[60] ^= 0xFF
    (tmp_path / "b.zip").write_bytes(bytes(broken))
    with pytest.raises(UnreadableFile, match=r"b\.zip cannot be unpacked"):
        content(tmp_path / "b.zip")


def bomb(megabytes: int) -> bytes:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as file:
        for _ in range(megabytes):
            file.write(bytes(1 << 20))
    return packed.getvalue()


@pytest.mark.parametrize("kind", ["gzip", "zip"])
def test_a_small_file_that_swells_beyond_any_files_measure_is_refused_in_flat_memory(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "bomb"
    if kind == "gzip":
        path.write_bytes(bomb(200))
    else:
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("a.csv", "w") as member,
        ):
            for _ in range(200):
                member.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(FileTooLarge, match="swells to more than 64 MB"):
        for _ in FileSource(path).chunks():
            pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20


def rows(count: int) -> list[list[object]]:
    return [
        [START + timedelta(minutes=15 * n), n * 0.1, None if n % 7 == 0 else 10_000 + n] for n in range(count)
    ]


def test_a_workbook_is_read_by_rows_with_the_numbers_and_times_that_its_cells_hold(tmp_path: Path) -> None:
    table = [["Station 7"], [], ["Zeit", "Leistung [kW]", "Zähler"], *rows(200), ["Summe", 1990.0]]
    path = write_workbook(tmp_path / "a.xlsx", {"Info": sheet_xml([["read me"]]), "Daten": sheet_xml(table)})
    source = FileSource(path)
    layout = settled_layout(source.head(1 << 20), is_whole=True, given=Given(), device_tz="UTC")
    assert (layout.profile.header_line, layout.profile.first_data_line) == (3, 4)
    (block,) = parse_file(source, layout.profile, layout.columns, now=NOW)
    power = block.value[block.column == 0]
    assert power.tolist() == [n * 0.1 for n in range(200)]
    first = int(START.timestamp() - datetime(1970, 1, 1).timestamp()) * 1_000_000
    assert block.time[block.column == 0].tolist() == [first + n * 900_000_000 for n in range(200)]
    assert (block.cells[1].readable, block.cells[1].na.total()) == (171, 29)
    assert [(p.line, p.code) for p in block.problems] == [(204, "time_malformed")]


def test_a_sheet_can_be_named_and_a_wrong_name_lists_those_there_are(tmp_path: Path) -> None:
    path = write_workbook(
        tmp_path / "a.xlsx", {"One": sheet_xml([["a"], ["b"]]), "Two": sheet_xml([["c"], ["d,e\nf"]])}
    )
    assert content(path) == b"a\nb\n"
    assert content(path, sheet="Two") == b'c\n"d,e f"\n'
    with pytest.raises(UnreadableFile, match="has no sheet 'Three'; it has 'One', 'Two'"):
        content(path, sheet="Three")


@pytest.mark.parametrize(
    "declared",
    [
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;">]>',
        "<!doctype html>",
    ],
)
def test_a_workbook_that_declares_entities_is_refused(tmp_path: Path, declared: str) -> None:
    xml = sheet_xml(rows(3)).replace("<worksheet", f"{declared}<worksheet", 1)
    with pytest.raises(UnreadableFile, match="declares entities of its own"):
        content(write_workbook(tmp_path / "a.xlsx", {"S": xml}))
    with pytest.raises(UnreadableFile, match="declares entities of its own"):
        wide = sheet_xml(rows(3)).replace("<sheetData>", "<sheetData>" + " " * (1 << 20) + declared, 1)
        content(write_workbook(tmp_path / "b.xlsx", {"S": wide}))


def test_a_workbook_that_spans_too_many_cells_is_refused(tmp_path: Path) -> None:
    far = sheet_xml([["a"], ["b"]]).replace(
        "</sheetData>", '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    )
    with pytest.raises(FileTooLarge, match=r"1,048,576 rows by 16,384 columns"):
        content(write_workbook(tmp_path / "far.xlsx", {"S": far}))


@pytest.mark.parametrize("megabytes", [8, pytest.param(256, marks=pytest.mark.slow)])
def test_a_workbook_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, megabytes: int
) -> None:
    assert workbook.MOST_INFLATED == 256 << 20
    monkeypatch.setattr(workbook, "MOST_INFLATED", megabytes << 20)
    for surplus in (-1, 1):
        path = write_workbook(tmp_path / f"{surplus}.xlsx", {"S": sheet_xml([["a"], ["b"]])})
        with (
            zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
            archive.open("xl/big.xml", "w") as member,
        ):
            for _ in range(megabytes + surplus):
                member.write(b"<x/>".ljust(1 << 20))
        if surplus < 0:
            assert content(path) == b"a\nb\n"
            continue
        with pytest.raises(FileTooLarge, match=f"unpacks to more than {megabytes} MB"):
            content(path)


@pytest.mark.parametrize(
    "cells",
    [
        "<row r='60000'><c r='XFD60000'><v>1</v></c></row>",
        '<row r="60000"><c r = "XFD60000"><v>1</v></c></row>',
        '<row r="60000"><c x="' + "y" * 400 + '" r="XFD60000"><v>1</v></c></row>',
        '<row r="60000"><c x="<" r="XFD60000"><v>1</v></c></row>',
        f'<row r="60000"><x:c xmlns:x="{MAIN}" r="XFD60000"><v>1</v></x:c></row>',
        '<row r="1048570"/><row>' + "<c><v>1</v></c>" * 300 + "</row>",
        '<row r="60000"><c ' + " " * (5 << 20) + 'r="XFD60000"><v>1</v></c></row>',
    ],
)
@pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/s.bin"])
def test_a_sheet_spans_what_it_spans_however_its_places_are_written(
    tmp_path: Path, cells: str, part: str
) -> None:
    path = write_workbook(
        tmp_path / "far.xlsx",
        {"S": sheet_xml([["a"], ["b"]]).replace("</sheetData>", f"{cells}</sheetData>")},
    )
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[part] = members.pop("xl/worksheets/sheet1.xml")
    links = "xl/_rels/workbook.xml.rels"
    members[links] = members[links].replace(b"worksheets/sheet1.xml", part.removeprefix("xl/").encode())
    # A reader that is asked for its rows makes room for billions of cells, and the process ends.
    with pytest.raises(UnreadableFile, match=r"cells are read|holds no tags"):
        content(zipped(path, members))


def test_rows_and_cells_that_name_no_place_follow_on_those_before(tmp_path: Path) -> None:
    rows = "".join(f"<row><c><v>{n}</v></c><c><v>{n * 2}</v></c></row>" for n in range(5000))
    sheet = sheet_xml([]).replace("<sheetData></sheetData>", f"<sheetData>{rows}</sheetData>")
    text = content(write_workbook(tmp_path / "plain.xlsx", {"S": sheet})).decode()
    assert text.splitlines()[-1] == "4999,9998"


def test_a_workbook_that_other_programs_would_take_for_something_else_is_refused(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "two.xlsx", {"S": sheet_xml([["a"], ["b"]])})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("content.xml", "<x/>")
    with pytest.raises(UnreadableFile, match="save the sheet as CSV"):
        content(path)


def test_a_workbook_that_is_none_inside_is_named(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.xlsx", {"xl/workbook.xml": b"<workbook", "[Content_Types].xml": b"nothing"})
    with pytest.raises(UnreadableFile, match=r"a\.xlsx cannot be read as a workbook"):
        content(path)
