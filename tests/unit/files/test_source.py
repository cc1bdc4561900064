"""Files as chunks of bytes: gzip in a stream, damage, and what is no text."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
from pathlib import Path

import pytest

from joulebook.telemetry.files.errors import UnreadableFile
from joulebook.telemetry.files.source import CHUNK_BYTES, FileSource

TEXT = b"".join(b"2024-01-01 00:%02d,%d.5\n" % (i % 60, i) for i in range(60_000))


def write(folder: Path, data: bytes, name: str = "readings.csv") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_a_plain_file_comes_out_as_it_is(tmp_path: Path) -> None:
    source = FileSource(write(tmp_path, TEXT))
    assert b"".join(source.chunks()) == TEXT
    assert source.bytes_read == source.size == len(TEXT)
    assert source.sha256 == hashlib.sha256(TEXT).hexdigest()


def test_gzip_is_told_by_its_content_and_hashed_as_it_is_stored(tmp_path: Path) -> None:
    stored = gzip.compress(TEXT)
    source = FileSource(write(tmp_path, stored, "no-ending"))
    assert b"".join(source.chunks()) == TEXT
    assert source.sha256 == hashlib.sha256(stored).hexdigest()
    assert source.bytes_read == len(stored)


def test_gzip_members_one_after_the_other_are_one_file_and_zeros_behind_them_are_padding(
    tmp_path: Path,
) -> None:
    stored = gzip.compress(TEXT[:1000]) + gzip.compress(b"") + gzip.compress(TEXT[1000:]) + bytes(700)
    assert b"".join(FileSource(write(tmp_path, stored)).chunks()) == TEXT


def test_a_gzip_stream_that_ends_early_yields_what_there_is_and_then_says_so(tmp_path: Path) -> None:
    stored = gzip.compress(TEXT)
    chunks = FileSource(write(tmp_path, stored[: len(stored) // 2])).chunks()
    got = b""
    with pytest.raises(UnreadableFile, match="cut off"):
        for chunk in chunks:
            got += chunk
    assert len(got) > 1000
    assert TEXT.startswith(got)


def test_a_damaged_gzip_stream_names_the_file(tmp_path: Path) -> None:
    stored = bytearray(gzip.compress(TEXT))
    stored[len(stored) // 2] ^= 0xFF
    path = write(tmp_path, bytes(stored))
    with pytest.raises(UnreadableFile, match=r"readings\.csv is damaged|readings\.csv is cut off"):
        for _ in FileSource(path).chunks():
            pass


def test_what_a_small_file_swells_to_is_never_held_whole(tmp_path: Path) -> None:
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb") as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    sizes = [len(chunk) for chunk in FileSource(write(tmp_path, bomb.getvalue())).chunks()]
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= CHUNK_BYTES


def test_the_head_is_the_beginning_even_where_damage_follows(tmp_path: Path) -> None:
    stored = gzip.compress(TEXT)
    assert FileSource(write(tmp_path, stored)).head(100) == TEXT[:100]
    assert TEXT.startswith(FileSource(write(tmp_path, stored[:-100])).head(len(TEXT)))
    with pytest.raises(UnreadableFile):
        FileSource(write(tmp_path, stored[:5])).head(100)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 and more", "cannot be unpacked.*fetch it again"),
        (b"\x28\xb5\x2f\xfd rest", "zstd"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_what_is_no_text_is_named_with_its_remedy(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UnreadableFile, match=message):
        FileSource(write(tmp_path, content))


def test_a_name_is_made_harmless_for_people(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"r\xe9\x1b[31m.csv")
    path.write_bytes(b"x")
    assert FileSource(path).name == "r\\xe9\\x1b[31m.csv"


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"there is no file .*nope"):
        FileSource(tmp_path / "nope")
    with pytest.raises(UnreadableFile, match="is a folder"):
        FileSource(tmp_path)
    with pytest.raises(UnreadableFile, match="no regular file"):
        FileSource(Path("/dev/null"))
    with pytest.raises(UnreadableFile, match="cannot be opened"):
        FileSource(tmp_path / ("x" * 300))
