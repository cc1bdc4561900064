"""Several files as one import: alike ones share a reading, each keeps its spelling, others are left out."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from joulebook.telemetry.files.errors import FileTooLarge, UnreadableFile
from joulebook.telemetry.files.guess.chosen import choose_layout
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.members import Member, parse_files
from joulebook.telemetry.files.preview import check_file
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import Checkpoint, ParsedBlock

from .many_files import BEGIN, STYLES, Reading, daily_files, in_archive, in_folder
from .workbooks import sheet_xml, write_workbook

NOW = 1_900_000_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Pack = Callable[[Path, Mapping[str, str | bytes]], Path]

both_ways = pytest.mark.parametrize("pack", [in_folder, in_archive], ids=["folder", "archive"])


def layout_of(path: Path, given: Given | None = None) -> tuple[FileSource, FileLayout]:
    source = FileSource(path)
    return source, choose_layout(source, given or Given(), profile=None, device_tz="UTC")


def blocks_of(source: FileSource, layout: FileLayout, **more: Any) -> list[ParsedBlock]:
    return list(parse_files(source, layout.profile, layout.columns, layout.members, now=NOW, **more))


def readings(layout: FileLayout, blocks: list[ParsedBlock]) -> dict[Reading, float]:
    found: dict[Reading, float] = {}
    for block in blocks:
        values = (*layout.profile.values, *block.added)
        for column, time, value in zip(block.column, block.time, block.value, strict=True):
            found[values[column].metric, EPOCH + timedelta(microseconds=int(time))] = float(value)
    return found


def left_out(layout: FileLayout) -> dict[str, str]:
    return {member.name: member.problem for member in layout.members if member.problem}


def test_hundreds_of_daily_files_with_several_date_styles_need_no_answer(tmp_path: Path) -> None:
    files, truth = daily_files(659, rows=4)
    source, layout = layout_of(in_archive(tmp_path / "all.zip", files))
    layout.require_answers()
    assert left_out(layout) == {}
    assert readings(layout, blocks_of(source, layout)) == truth
    assert source.bytes_read == sum(source.members.values())
    assert source.sha256 == source.digest()


@both_ways
def test_a_file_open_by_itself_is_decided_by_those_written_like_it(pack: Pack, tmp_path: Path) -> None:
    files, truth = daily_files(40, styles=STYLES[:1])
    _, alone = layout_of(in_folder(tmp_path / "one", {"a.csv": files["inverter-0002.csv"]}) / "a.csv")
    assert [question.setting for question in alone.questions if question.is_required] == ["time_formats"]
    source, layout = layout_of(pack(tmp_path / "all", files))
    layout.require_answers()
    assert readings(layout, blocks_of(source, layout)) == truth


def test_one_answer_is_for_all_files_written_alike(tmp_path: Path) -> None:
    files, truth = daily_files(9, styles=STYLES[:1])
    source, layout = layout_of(in_archive(tmp_path / "all.zip", files))
    (question,) = [each for each in layout.questions if each.is_required]
    right = next(each for each in question.answers if each.given["time_formats"][0].startswith("%d"))
    source, layout = layout_of(source.path, right.applied_to(Given()))
    layout.require_answers()
    assert readings(layout, blocks_of(source, layout)) == truth


def test_groups_of_files_that_are_open_in_their_own_ways_are_asked_about_together(tmp_path: Path) -> None:
    files, truth = daily_files(9)
    source, layout = layout_of(in_archive(tmp_path / "all.zip", files))
    (question,) = [each for each in layout.questions if each.is_required]
    right = [each for each in question.answers if set(STYLES[:2]) <= set(each.given["time_formats"])]
    assert len(question.answers) == 4
    source, layout = layout_of(source.path, right[0].applied_to(Given()))
    layout.require_answers()
    assert left_out(layout) == {}
    assert readings(layout, blocks_of(source, layout)) == truth


def test_formats_given_for_some_files_leave_those_of_the_others_to_the_guess(tmp_path: Path) -> None:
    files, truth = daily_files(40, styles=(STYLES[0], STYLES[2]))
    source, layout = layout_of(in_archive(tmp_path / "all.zip", files), Given(time_formats=STYLES[:1]))
    assert readings(layout, blocks_of(source, layout)) == truth


def test_no_date_is_guessed_where_the_files_use_both_orders_with_one_mark(tmp_path: Path) -> None:
    files, truth = daily_files(60, rows=2, styles=("%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"))
    source, layout = layout_of(in_archive(tmp_path / "all.zip", files))
    found = readings(layout, blocks_of(source, layout))
    assert found.items() <= truth.items()
    reasons = left_out(layout)
    # Both orders fit the first 12 days of a month, unless day and month are the same.
    two_ways = {f"inverter-{day:04d}.csv" for day in range(60) if (BEGIN + timedelta(days=day)).day <= 12}
    assert set(reasons) == two_ways
    assert all("read in two ways" in reason for reason in reasons.values())


@both_ways
def test_files_of_another_shape_and_damaged_ones_are_named_and_the_others_stand(
    pack: Pack, tmp_path: Path
) -> None:
    files, truth = daily_files(5, styles=STYLES[2:])
    more: dict[str, str | bytes] = {
        **files,
        ".hidden": "x", "Thumbs.db": b"x",
        "README.txt": "These are the files of our roof.\n",
        "below/weather.csv": "Time;Temperature\n01/02/2020 10:00;5\n",
        "empty.csv": "",
        "photo.pdf": b"%PDF-1.4",
        "zz-cut.csv.gz": gzip.compress(files["inverter-0001.csv"].replace("2020", "2021").encode())[:-9],
    }  # fmt: skip
    source, layout = layout_of(pack(tmp_path / "all", more))
    assert list(left_out(layout)) == ["README.txt", "below/weather.csv", "empty.csv", "photo.pdf"]
    assert "Temperature" in left_out(layout)["below/weather.csv"]
    blocks = blocks_of(source, layout)
    assert truth.items() <= readings(layout, blocks).items()
    report = check_file(source, layout.profile, layout.columns, layout.members, now=NOW).as_json()
    assert report["files"] == {"all": 10, "left_out": 5}
    named = {each["file"]: each["text"] for each in report["problems"] if each["code"] == "file_left_out"}
    assert list(named) == [*left_out(layout), "zz-cut.csv.gz"]
    assert "cut off" in named["zz-cut.csv.gz"]
    assert report["problem_count"] == 5


def test_a_problem_is_listed_with_its_file_and_line(tmp_path: Path) -> None:
    files, _ = daily_files(3, styles=STYLES[2:])
    files["inverter-0001.csv"] += "x;y\n"
    source, layout = layout_of(in_archive(tmp_path / "all.zip", files))
    report = check_file(source, layout.profile, layout.columns, layout.members, now=NOW)
    assert [(each.file, each.line) for each in report.problems] == [("inverter-0001.csv", 11)]


def test_reading_continues_from_any_block_in_the_middle(tmp_path: Path) -> None:
    files, truth = daily_files(7, rows=9, styles=STYLES[2:])
    files["inverter-0003.csv"] = "broken"
    truth = {key: value for key, value in truth.items() if (key[1] - BEGIN).days != 3}
    source, layout = layout_of(in_archive(tmp_path / "all.zip", files))
    whole = blocks_of(source, layout, block_readings=6)
    assert readings(layout, whole) == truth
    for at, block in enumerate(whole):
        assert block.checkpoint is not None
        stored = Checkpoint.from_json(block.checkpoint.as_json())
        rest = blocks_of(FileSource(source.path), layout, block_readings=6, checkpoint=stored)
        after = [*readings(layout, rest)]
        assert after == [*readings(layout, whole[at + 1 :])]
        assert sum(bool(each.left_out) for each in rest) == sum(bool(e.left_out) for e in whole[at + 1 :])


def test_keys_of_later_files_become_metrics_of_their_own_once(tmp_path: Path) -> None:
    def long_file(day: int, *keys: str) -> str:
        rows = [f"2020-05-{day:02d} {hour:02d}:00;{key};{hour}\n" for hour in range(8) for key in keys]
        return "time;register;value\n" + "".join(rows)

    files = {
        "1.csv": long_file(1, "import", "export"),
        "2.csv": long_file(2, "export", "reactive"),
        "3.csv": long_file(3, "reactive", "import"),
    }
    source, layout = layout_of(in_archive(tmp_path / "all.zip", files))
    found = readings(layout, blocks_of(source, layout))
    days = {metric: sorted({at.day for name, at in found if name == metric}) for metric, _ in found}
    assert days == {"import": [1, 3], "export": [1, 2], "reactive": [2, 3]}


def test_each_file_has_its_own_marks_in_numbers_and_encoding(tmp_path: Path) -> None:
    rows = [f"2020-05-{{day}} {hour:02d}:00;{{value}}\n" for hour in range(9)]

    def text(day: int, mark: str) -> str:
        lines = [row.format(day=f"{day:02d}", value=f"{hour}{mark}25") for hour, row in enumerate(rows)]
        return "Zeit;Wärme (kWh)\n" + "".join(lines)

    files: dict[str, str | bytes] = {
        "1.csv": text(1, ","),
        "2.csv": text(2, ".").encode("cp1252"),
        "3.csv": text(3, ",").encode("cp1252"),
    }
    source, layout = layout_of(in_archive(tmp_path / "all.zip", files))
    assert left_out(layout) == {}
    found = readings(layout, blocks_of(source, layout))
    assert sorted(found.values()) == sorted([hour + 0.25 for hour in range(9)] * 3)


def test_packed_files_and_workbooks_are_read_within_an_archive(tmp_path: Path) -> None:
    head, *_ = daily_files(3)[0]["inverter-0000.csv"].splitlines()
    book = write_workbook(
        tmp_path / "b.xlsx",
        {"Data": sheet_xml([head.split(";"), *([f"2020-04-01 0{n}:00", n, 1] for n in range(9))])},
    )
    plain = "\n".join([head, *(f"2020-04-02 0{n}:00;{n};1" for n in range(9))]).encode()
    files = {"a.csv": plain, "b.xlsx": book.read_bytes(), "c.csv.gz": gzip.compress(plain)}
    source, layout = layout_of(in_archive(tmp_path / "all.zip", files))
    assert left_out(layout) == {}
    assert len(readings(layout, blocks_of(source, layout))) == 36


def test_files_of_one_sensor_each_are_never_one_metric(tmp_path: Path) -> None:
    def sensor(first: int) -> str:
        return "time,value\n" + "".join(f"2020-05-01 {n:02d}:{first:02d},{first + n}.5\n" for n in range(20))

    files = {"boiler.csv": sensor(1), "roof.csv": sensor(2)}
    _, layout = layout_of(in_archive(tmp_path / "all.zip", files))
    assert list(left_out(layout).values()) == ["it holds other metrics than boiler.csv; import it on its own"]
    again = {"boiler-1.csv": sensor(1), "boiler-2.csv": sensor(2)}
    _, layout = layout_of(in_archive(tmp_path / "again.zip", again))
    assert left_out(layout) == {}


def test_files_that_swell_are_refused(tmp_path: Path) -> None:
    zeros = bytes(20 << 20)
    with pytest.raises(FileTooLarge, match="swells to more than"):
        FileSource(in_archive(tmp_path / "all.zip", {f"{n}.csv": zeros for n in range(5)}))
    files, _ = daily_files(80, rows=4)
    source, _ = layout_of(in_archive(tmp_path / "b.zip", {**files, "z.csv.gz": gzip.compress(zeros * 2)}))
    with pytest.raises(FileTooLarge, match="swells"):
        for _ in source.member("z.csv.gz").chunks():
            pass


def test_a_folder_or_archive_without_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableFile, match="without a file"):
        FileSource(tmp_path / "empty")
    with pytest.raises(UnreadableFile, match="holds no file"):
        FileSource(in_archive(tmp_path / "a.zip", {"__MACOSX/x": b"1"}))


def test_where_no_file_can_be_read_the_first_reason_is_given(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"a\.pdf is a PDF document"):
        layout_of(in_archive(tmp_path / "all.zip", {"a.pdf": b"%PDF-1", "b.pdf": b"%PDF-2"}))


def test_a_file_is_the_same_after_it_was_stored() -> None:
    member = Member("a.csv", {"time_formats": ("%d/%m/%Y",), "header_line": 3, "widths": (3, 4)}, "")
    assert Member.from_json(member.as_json()) == member
    assert Member.from_json(Member("b", problem="damaged").as_json()).problem == "damaged"


def test_the_order_in_which_files_were_packed_does_not_matter(tmp_path: Path) -> None:
    files, truth = daily_files(20)
    names = list(files)
    random.Random(3).shuffle(names)
    source, layout = layout_of(in_archive(tmp_path / "all.zip", {name: files[name] for name in names}))
    blocks = blocks_of(source, layout)
    assert [block.file for block in blocks] == sorted(files)
    assert readings(layout, blocks) == truth
