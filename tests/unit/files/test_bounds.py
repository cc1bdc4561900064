"""What a small file or profile can cost: it is refused, or takes little memory and time."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from joulebook.telemetry.files.budget import check_budget, limited_work
from joulebook.telemetry.files.errors import (
    FileTooLarge,
    ReadingAbandoned,
    TooMuchWork,
    UnreadableFile,
    UnusableProfile,
)
from joulebook.telemetry.files.guess.columns import column_names
from joulebook.telemetry.files.guess.layout import guess_layout
from joulebook.telemetry.files.parser import MOST_CELLS, parse_file
from joulebook.telemetry.files.profile import MOST_COLUMNS, MOST_NAMINGS, ImportProfile, ValueColumn
from joulebook.telemetry.files.read_ahead import read_ahead
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.source import FileSource

from .workbooks import write_workbook

NOW = 2_000_000_000_000_000
PROFILE: dict[str, Any] = {
    "time_columns": ["time"],
    "time_formats": ["%Y-%m-%d %H:%M"],
    "values": [{"column": "power", "metric": "power"}],
}


def profile(**entries: Any) -> ImportProfile:
    return ImportProfile.from_json({**PROFILE, **entries})


def naming(count: int, column: str = "power") -> list[dict[str, Any]]:
    return [{"column": column, "metric": f"m{number}"} for number in range(count)]


def test_a_profile_that_names_a_column_thousands_of_times_is_refused_at_once() -> None:
    began = time.process_time()
    with pytest.raises(UnusableProfile, match="names 'power' 4,000 times; name it 4 times at most"):
        profile(values=naming(4000))
    with pytest.raises(UnusableProfile, match="has 50,000 values, and a row at most 4,096 cells"):
        profile(values=naming(50_000))
    assert time.process_time() - began < 5


def test_a_column_may_be_stored_a_few_times() -> None:
    assert len(profile(values=naming(MOST_NAMINGS)).values) == MOST_NAMINGS


def test_a_wide_profile_has_no_more_values_than_a_row_has_cells() -> None:
    many = [{"column": f"c{number}", "metric": f"m{number}"} for number in range(MOST_COLUMNS + 1)]
    with pytest.raises(UnusableProfile, match="4,097 values, and a row at most 4,096 cells"):
        profile(values=many)


def test_a_long_profile_names_each_series_once() -> None:
    series = [{"column": "value", "metric": f"m{number}", "key": ["a"]} for number in range(2)]
    with pytest.raises(UnusableProfile, match="names 'value a' 2 times; name it once"):
        profile(layout="long", key_columns=["key"], values=series)


def test_an_hour_across_is_named_once() -> None:
    hours = [{"column": "01:00", "minutes": 60}] * 4000
    with pytest.raises(UnusableProfile, match="names '01:00' 4,000 times; name it once"):
        profile(layout="across", hour_columns=hours, values=[{"column": "", "metric": "m"}])


@pytest.mark.parametrize(
    ("entry", "items"),
    [
        ("time_columns", ["time"] * 7),
        ("time_formats", ["%Y-%m-%d"] * 21),
        ("na_values", ["x"] * 1001),
        ("affixes", ["W"] * 201),
        ("skip_prefixes", ["#"] * 101),
        ("key_columns", ["k"] * 17),
        ("widths", [1] * 4097),
        ("values", [{"column": "power", "metric": "m", "key": ["k"] * 17}]),
    ],
)
def test_each_list_of_a_profile_is_bounded(entry: str, items: list[Any]) -> None:
    with pytest.raises(UnusableProfile, match=r"has [0-9,]+ items, at most [0-9,]+ are read"):
        profile(**{entry: items})


def test_a_header_of_equal_names_takes_no_square_of_their_number() -> None:
    began = time.process_time()
    names = column_names(["a"] * MOST_COLUMNS)
    assert (names[0], names[1], names[-1], len(set(names))) == ("a", "a_2", "a_4096", MOST_COLUMNS)
    assert time.process_time() - began < 5  # it took three minutes


def test_short_lines_below_a_wide_header_make_no_large_table(tmp_path: Path) -> None:
    width = 2000
    columns = ["time", *(f"c{number}" for number in range(width - 1))]
    path = tmp_path / "short.csv"
    path.write_bytes(",".join(columns).encode() + b"\n" + b"2026-03-01 12:00,1\n" * 20_000)
    wide = ImportProfile(
        time_columns=("time",), time_formats=("%Y-%m-%d %H:%M",), values=(ValueColumn("c0", "m"),)
    )
    blocks = list(parse_file(FileSource(path), wide, columns, now=NOW))
    assert sum(block.rows_imported for block in blocks) == 20_000
    assert max(block.rows_imported for block in blocks) * width <= MOST_CELLS


def test_the_guess_looks_at_a_bounded_number_of_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"time," + b",".join(b"c%d" % number for number in range(400)) + b"\n"
    head += b"2026-03-01 12:00" + b",1" * 400 + b"\n" + b"2026-03-01 12:01,1\n" * 50_000
    seen: list[int] = []
    from joulebook.telemetry.files.guess import layout

    usual = layout.settle_numbers
    monkeypatch.setattr(
        layout, "settle_numbers", lambda sample: (seen.append(sample.cells.height), usual(sample))[1]
    )
    guess_layout(head, is_whole=True, given=Given(delimiter=","), device_tz="UTC")
    assert 2 < seen[0] <= 1_000_000 // 400 + 2


class TestTheBudget:
    def test_without_one_reading_has_no_end(self) -> None:
        check_budget()

    def test_it_ends_work_whose_time_is_spent(self) -> None:
        with limited_work(0.05), pytest.raises(TooMuchWork, match=r"more than 0.05 seconds"):
            while True:
                check_budget()

    def test_it_ends_work_that_nobody_waits_for(self) -> None:
        with limited_work(600, is_wanted=lambda: False), pytest.raises(ReadingAbandoned):
            check_budget()

    def test_it_holds_in_the_thread_that_reads_ahead_and_between_blocks(self, tmp_path: Path) -> None:
        path = tmp_path / "long.csv"
        path.write_bytes(b"time,power\n" + b"2026-03-01 12:00,1\n" * 400_000)
        asked: list[None] = []

        def is_wanted() -> bool:
            asked.append(None)
            return len(asked) < 5

        read = 0
        with limited_work(600, is_wanted=is_wanted), pytest.raises(ReadingAbandoned):
            for block in read_ahead(parse_file(FileSource(path), profile(), ["time", "power"], now=NOW)):
                read += block.rows_imported
        assert read < 400_000
        assert len(asked) <= 6

    def test_it_ends_with_its_block(self) -> None:
        with limited_work(0):
            pass
        check_budget()

    def test_quotes_that_never_close_are_looked_at_under_it(self, tmp_path: Path) -> None:
        path = tmp_path / "quotes.csv"
        path.write_bytes(b"time,power\n" + b'2026-03-01 12:00,"\n' * 60_000)
        with limited_work(0.2), pytest.raises(TooMuchWork):
            for _ in parse_file(FileSource(path), profile(), ["time", "power"], now=NOW):
                pass


def write_shared(path: Path, *, texts: str, cells: int, mark: str = 't="s"') -> Path:
    """Write a workbook whose cells all show the first of its shared texts."""
    rows = "".join(f'<row r="{n}"><c r="A{n}" {mark}><v>0</v></c></row>' for n in range(1, cells + 1))
    write_workbook(path, {"a": f"<worksheet><sheetData>{rows}</sheetData></worksheet>"})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", f"<sst>{texts}</sst>")
    return path


@pytest.mark.parametrize("mark", ['t="s"', "t='s'", "t  =\n's'"])
def test_one_long_text_in_many_cells_of_a_workbook_is_refused(tmp_path: Path, mark: str) -> None:
    texts = f"<si><t>{'x' * 1_100_000}</t></si><si><t>y</t></si>"
    path = write_shared(tmp_path / "evil.xlsx", texts=texts, cells=600, mark=mark)
    assert path.stat().st_size < 50_000
    with pytest.raises(FileTooLarge, match="in 600 cells, which may be more than fits into memory"):
        FileSource(path).head(100)


def test_texts_that_are_no_longer_than_people_write_are_no_reason(tmp_path: Path) -> None:
    texts = "<si><t>" + "x" * 1000 + "</t></si>" + "<si><t>ok</t></si>" * 50_000
    path = write_shared(tmp_path / "usual.xlsx", texts=texts, cells=2000)
    try:
        FileSource(path).head(100)
    except FileTooLarge:
        pytest.fail("a usual workbook was refused for its size")
    except UnreadableFile:
        pass  # Its parts are not linked, which only the reader minds.


def test_an_archive_that_lists_its_members_in_megabytes_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(11_000):
            archive.writestr(f"{number:05d}{'n' * 1000}", b"")
    with pytest.raises(UnreadableFile, match=r"lists its members in [0-9,]+ bytes"):
        FileSource(path)
