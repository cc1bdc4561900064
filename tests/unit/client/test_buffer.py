"""The buffer keeps order and bounds, and what it took is there after a crash."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from joulebook.client import BufferFull, BufferUnusable, ClientClosed
from joulebook.client.buffer import FILE, Buffer

ALL = {"most": 1_000, "most_bytes": 1_000_000}


def bodies(buffer: Buffer) -> list[bytes]:
    waiting = buffer.oldest(**ALL)
    return waiting.bodies if waiting else []


def test_packets_come_out_in_their_order_within_the_bounds_of_a_request(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path, room=1_000, drop_oldest=False)
    buffer.append([b"aaaa", b"bbbb", b"cccc"])
    waiting = buffer.oldest(most=2, most_bytes=100)
    assert waiting is not None
    assert waiting.bodies == [b"aaaa", b"bbbb"]
    only = buffer.oldest(most=3, most_bytes=1)
    assert only is not None
    assert only.bodies == [b"aaaa"], "one at least, however large"
    buffer.settle(waiting)
    assert bodies(buffer) == [b"cccc"]
    assert (buffer.count, buffer.size) == (1, 4)
    buffer.close()


def test_without_room_nothing_is_taken_and_nothing_lost(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path, room=10, drop_oldest=False)
    buffer.append([b"aaaa", b"bbbb"])
    with pytest.raises(BufferFull, match="2 packets with 8 bytes wait"):
        buffer.append([b"c", b"dddd"], bookmark="later")
    assert bodies(buffer) == [b"aaaa", b"bbbb"]
    assert buffer.bookmark() is None
    assert (buffer.count, buffer.size, buffer.dropped) == (2, 8, 0)
    buffer.close()


def test_where_the_oldest_may_go_the_newest_are_kept(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path, room=10, drop_oldest=True)
    buffer.append([b"aaaa", b"bbbb"])
    sending = buffer.oldest(most=2, most_bytes=100)
    assert sending is not None
    buffer.append([b"cccc"])
    assert bodies(buffer) == [b"bbbb", b"cccc"]
    assert (buffer.count, buffer.size, buffer.dropped) == (2, 8, 1)
    buffer.settle(sending)  # the answer for what was on its way when the oldest had to go
    assert bodies(buffer) == [b"cccc"]
    assert (buffer.count, buffer.size) == (1, 4)
    with pytest.raises(BufferFull):
        buffer.append([b"x" * 11])
    buffer.close()


def test_an_emptied_buffer_gives_no_number_twice(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path, room=10, drop_oldest=False)
    buffer.append([b"a"])
    first = buffer.oldest(**ALL)
    assert first is not None
    buffer.settle(first)
    buffer.append([b"b"])
    buffer.settle(first)
    assert bodies(buffer) == [b"b"]
    buffer.close()


def test_packets_and_bookmark_outlive_the_process_together(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path / "a", room=100, drop_oldest=False)
    buffer.append([b"a", b"bb"], bookmark="line 2")
    shutil.copytree(tmp_path / "a", tmp_path / "b")  # what kill -9 would leave at this moment
    buffer.close()
    again = Buffer(tmp_path / "b", room=100, drop_oldest=False)
    assert bodies(again) == [b"a", b"bb"]
    assert again.bookmark() == "line 2"
    assert (again.count, again.size) == (2, 3)
    again.close()


def test_a_smaller_room_than_before_loses_nothing(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path, room=100, drop_oldest=False)
    buffer.append([b"aaaa", b"bbbb"])
    buffer.close()
    again = Buffer(tmp_path, room=5, drop_oldest=False)
    again.append([], bookmark="x")
    with pytest.raises(BufferFull):
        again.append([b"c"])
    assert bodies(again) == [b"aaaa", b"bbbb"]
    again.close()


def test_kill_9_releases_the_buffer_and_a_living_process_holds_it(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from joulebook.client.buffer import Buffer\n"
        f"b = Buffer(Path({str(tmp_path)!r}), room=100, drop_oldest=False); b.append([b'a'])\n"
        "print('open', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        with pytest.raises(BufferUnusable, match="another process uses it"):
            Buffer(tmp_path, room=100, drop_oldest=False)
        process.kill()
    buffer = Buffer(tmp_path, room=100, drop_oldest=False)
    assert bodies(buffer) == [b"a"]
    buffer.close()


def test_a_file_that_is_no_buffer_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database" * 100)
    with pytest.raises(BufferUnusable, match="move the folder away"):
        Buffer(tmp_path, room=100, drop_oldest=False)
    assert (tmp_path / FILE).read_bytes() == b"not a database" * 100


def test_a_buffer_of_a_later_version_is_not_touched(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA user_version = 7")
    db.close()
    with pytest.raises(BufferUnusable, match="format 7"):
        Buffer(tmp_path, room=100, drop_oldest=False)


def test_only_the_owner_can_look_into_a_new_buffer(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        buffer = Buffer(tmp_path / "new", room=100, drop_oldest=False)
    finally:
        os.umask(old)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    buffer.close()


def test_a_closed_buffer_says_so(tmp_path: Path) -> None:
    buffer = Buffer(tmp_path, room=100, drop_oldest=False)
    buffer.close()
    buffer.close()
    with pytest.raises(ClientClosed):
        buffer.append([b"a"])
