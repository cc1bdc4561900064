"""The agent's lines: as they come from a pipe, and from a file through everything that happens to log files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.cli import agent
from joulebook.cli.agent import FollowedFile, StandardInput, UnableToFollow


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "_LINGER", 0.05)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "meter.ndjson"


def lines_of(source: FollowedFile, *, polls: int = 6) -> list[bytes]:
    """Return all that comes now, also what follows a rotation."""
    found: list[bytes] = []
    quiet = 0
    while quiet < polls:
        lines = [line for line in source.read(wait=False) if line]
        quiet = 0 if lines else quiet + 1
        found += lines
        if not lines:
            time.sleep(0.02)
    return found


def test_a_file_that_is_not_there_yet_is_waited_for(file: Path) -> None:
    source = FollowedFile(file, None)
    assert lines_of(source) == []
    file.write_bytes(b"a\nb\n")
    assert lines_of(source) == [b"a", b"b"]


def test_a_line_is_read_when_it_is_complete(file: Path) -> None:
    file.write_bytes(b"a\nhal")
    source = FollowedFile(file, None)
    assert lines_of(source) == [b"a"]
    with file.open("ab") as out:
        out.write(b"f\n")
    assert lines_of(source) == [b"half"]


def test_reading_goes_on_at_the_bookmark(file: Path) -> None:
    file.write_bytes(b"a\nb\n")
    source = FollowedFile(file, None)
    assert lines_of(source) == [b"a", b"b"]
    with file.open("ab") as out:
        out.write(b"c\n")
    again = FollowedFile(file, source.bookmark)
    assert lines_of(again) == [b"c"]
    assert again.remark == ""


def test_a_file_that_was_moved_away_is_read_to_its_end_first(file: Path) -> None:
    file.write_bytes(b"a\n")
    source = FollowedFile(file, None)
    assert lines_of(source) == [b"a"]
    with file.open("ab") as late:
        file.rename(file.with_name("meter.ndjson.1"))
        file.write_bytes(b"c\n")
        source.read(wait=False)  # notices the new file, and still reads the old one
        late.write(b"b\nlast without end")
    assert lines_of(source) == [b"b", b"last without end", b"c"]


def test_a_rotation_while_nobody_read_is_bridged(file: Path) -> None:
    file.write_bytes(b"a\nb\n")
    source = FollowedFile(file, None)
    assert lines_of(source) == [b"a", b"b"]
    with file.open("ab") as out:
        out.write(b"c\n")
    file.rename(file.with_name("meter.ndjson-20261121"))
    file.write_bytes(b"d\n")
    again = FollowedFile(file, source.bookmark)
    assert lines_of(again) == [b"c", b"d"]


def test_where_the_old_file_is_gone_the_new_one_is_read_from_its_beginning_and_it_is_told(file: Path) -> None:
    file.write_bytes(b"a\n")
    source = FollowedFile(file, None)
    lines_of(source)
    file.write_bytes(b"another\nfile\n")  # the same inode, as after a deletion it may well be
    again = FollowedFile(file, source.bookmark)
    assert "is gone" in again.remark
    assert lines_of(again) == [b"another", b"file"]


def test_a_file_that_is_emptied_is_read_from_its_beginning(file: Path) -> None:
    file.write_bytes(b"a\nb\n")
    source = FollowedFile(file, None)
    assert lines_of(source) == [b"a", b"b"]
    os.truncate(file, 0)
    assert lines_of(source) == []
    with file.open("ab") as out:
        out.write(b"c\n")
    assert lines_of(source) == [b"c"]


def test_a_line_without_end_does_not_fill_the_memory(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "_CHUNK", 64)
    file.write_bytes(b"x" * 200 + b"\nshort\n")
    assert lines_of(FollowedFile(file, None))[-1] == b"short"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnableToFollow, match="no regular file"):
        FollowedFile(tmp_path, None)


@given(st.lists(st.binary(max_size=30), max_size=8))
def test_what_a_pipe_brings_in_pieces_are_the_lines_that_were_written(pieces: list[bytes]) -> None:
    reading, writing = os.pipe()
    source = StandardInput(reading)
    found: list[bytes] = []
    for piece in pieces:
        os.write(writing, piece)
        found += source.read(wait=False)
    os.close(writing)
    while not source.ended:
        found += source.read()
    os.close(reading)
    assert [line for line in found if line] == [line for line in b"".join(pieces).split(b"\n") if line]
