"""The drop folder: what counts as whole, what is passed over, and that nothing is ever overwritten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from joulebook.cli.imports.watch import DropFolder


@pytest.fixture
def folder(tmp_path: Path) -> DropFolder:
    return DropFolder(tmp_path, settle=5)


def names(files: list[Path]) -> list[str]:
    return [file.name for file in files]


def test_a_file_is_whole_once_it_has_not_changed_for_a_while(folder: DropFolder) -> None:
    file = folder.path / "a.csv"
    file.write_text("t,p\n")
    assert folder.complete_files(100) == []
    assert folder.complete_files(104.9) == []
    assert folder.complete_files(105) == [file]


def test_a_file_that_grows_waits_from_its_last_change_on(folder: DropFolder) -> None:
    file = folder.path / "a.csv"
    file.write_text("t,p\n")
    folder.complete_files(100)
    file.write_text("t,p\n1,2\n")
    assert folder.complete_files(104) == []
    assert folder.complete_files(108) == []
    assert folder.complete_files(109) == [file]


def test_a_file_that_is_overwritten_with_as_many_bytes_waits_again(folder: DropFolder) -> None:
    file = folder.path / "a.csv"
    file.write_text("1")
    folder.complete_files(100)
    file.write_text("2")
    os.utime(file, ns=(1, 1))
    assert folder.complete_files(105) == []


def test_a_name_that_is_taken_by_another_file_begins_anew(folder: DropFolder) -> None:
    file = folder.path / "a.csv"
    file.write_text("1")
    folder.complete_files(100)
    file.unlink()
    folder.complete_files(102)
    assert folder.names == set()
    file.write_text("1")
    assert folder.complete_files(106) == []


@pytest.mark.parametrize("name", [".a.csv", "a.csv.part", "A.TMP", "~$a.xlsx", "a.csv.crdownload"])
def test_what_is_not_finished_is_passed_over(folder: DropFolder, name: str) -> None:
    (folder.path / name).write_text("1")
    folder.complete_files(100)
    assert folder.complete_files(200) == []
    assert folder.names == set()


def test_folders_links_and_pipes_are_passed_over(
    folder: DropFolder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "secret"
    elsewhere.write_text("1")
    (folder.path / "link.csv").symlink_to(elsewhere)
    (folder.path / "folder.csv").mkdir()
    os.mkfifo(folder.path / "pipe.csv")
    folder.complete_files(100)
    assert folder.complete_files(200) == []


def test_the_oldest_file_comes_first(folder: DropFolder) -> None:
    for at, name in enumerate(["c.csv", "a.csv", "b.csv"]):
        (folder.path / name).write_text("1")
        os.utime(folder.path / name, (1000 + at // 2, 1000 + at // 2))
    folder.complete_files(100)
    assert names(folder.complete_files(105)) == ["a.csv", "c.csv", "b.csv"]


def test_files_of_one_name_are_numbered_with_their_reports(folder: DropFolder) -> None:
    places = []
    for content in ("one", "two", "three"):
        file = folder.path / "a.csv"
        file.write_text(content)
        places.append(folder.move_away(file, f'"{content}"', is_imported=True))
    assert names(places) == ["a.csv", "a-2.csv", "a-3.csv"]
    assert [place.read_text() for place in places] == ["one", "two", "three"]
    there = folder.path / "imported"
    assert (there / "a-2.csv.report.json").read_text() == '"two"\n'
    assert len(list(there.iterdir())) == 6


def test_nothing_that_is_there_is_overwritten_not_even_a_report(folder: DropFolder) -> None:
    there = folder.path / "refused"
    there.mkdir()
    (there / "a.csv.report.json").write_text("somebody's")
    (there / "a-2.csv").write_text("somebody's")
    file = folder.path / "a.csv"
    file.write_text("mine")
    assert folder.move_away(file, "{}", is_imported=False).name == "a-3.csv"
    assert (there / "a.csv.report.json").read_text() == (there / "a-2.csv").read_text() == "somebody's"


def test_a_file_that_has_gone_leaves_nothing_of_itself(folder: DropFolder) -> None:
    with pytest.raises(FileNotFoundError):
        folder.move_away(folder.path / "gone.csv", "{}", is_imported=True)
    assert list((folder.path / "imported").iterdir()) == []
