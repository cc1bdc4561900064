"""Old Excel workbooks (.xls): dates of both epochs, sheets, and bounded memory."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from joulebook.telemetry.files.errors import FileTooLarge, UnreadableFile
from joulebook.telemetry.files.formats import old_workbook
from joulebook.telemetry.files.source import FileSource

from .reading_files import read_file
from .workbooks import Cell, write_old_workbook

START = datetime(2026, 1, 1)
ROWS: list[list[Cell]] = [
    ["Zeit", "Leistung [kW]", "Zähler"],
    *([START + timedelta(minutes=15 * at), at / 8, 1000.0 + at] for at in range(8)),
]


def lines(path: Path, sheet: str = "") -> list[str]:
    return b"".join(FileSource(path, sheet=sheet).chunks()).decode().splitlines()


@pytest.mark.parametrize("is_1904", [False, True])
def test_rows_keep_their_numbers_and_dates_of_either_epoch(tmp_path: Path, is_1904: bool) -> None:
    path = write_old_workbook(tmp_path / "book.xls", {"Daten": ROWS}, is_1904=is_1904)
    assert lines(path)[:3] == [
        "Zeit,Leistung [kW],Zähler",
        "2026-01-01,0,1000",
        "2026-01-01 00:15:00,0.125,1001",
    ]
    found = read_file(path)
    assert found.series["Leistung [kW]"].unit == "kW"
    assert found.series["Leistung [kW]"].values["2026-01-01 00:45"] == 0.875
    assert len(found.series["Leistung [kW]"].values) == 8
    assert not found.problems
    assert found.lines[0] == 2


def test_a_sheet_is_chosen_by_its_name_else_the_first_with_rows(tmp_path: Path) -> None:
    path = write_old_workbook(
        tmp_path / "book.xls", {"Info": [["Anlage 5"]], "März": ROWS, "April": ROWS[:3]}
    )
    assert FileSource(path).sheets() == ("Info", "März", "April")
    assert (len(lines(path)), len(lines(path, "April"))) == (9, 3)
    with pytest.raises(UnreadableFile, match="has no sheet 'Mai'; it has 'Info', 'März', 'April'") as caught:
        lines(path, "Mai")
    assert caught.value.setting == "sheet"


def test_a_compound_file_without_a_workbook_is_refused_in_words(tmp_path: Path) -> None:
    path = write_old_workbook(tmp_path / "book.xls", {"Daten": ROWS})
    path.write_bytes(path.read_bytes()[:1600])
    with pytest.raises(UnreadableFile, match="cannot be read as a workbook"):
        lines(path)


def test_a_long_text_in_very_many_cells_ends_in_words_and_not_in_all_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells: list[list[Cell]] = [["x" * 4000] * 100 for _ in range(500)]
    path = write_old_workbook(tmp_path / "book.xls", {"Daten": cells})
    assert path.stat().st_size < 1_000_000
    monkeypatch.setattr(old_workbook, "MOST_MEMORY", 100 << 20)
    with pytest.raises(FileTooLarge, match=r"takes more than 100 MB of memory .*save the sheet as CSV"):
        lines(path)


def test_a_reader_that_stops_early_leaves_no_process(tmp_path: Path) -> None:
    cells: list[list[Cell]] = [[float(at), 1.0] for at in range(20_000)]
    source = FileSource(write_old_workbook(tmp_path / "book.xls", {"Daten": cells}))
    assert source.head(100).startswith(b"0,1\n1,1\n")
