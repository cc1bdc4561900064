"""Zip archives: a workbook, or one or more files; those made to exhaust memory are refused."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import FileTooLarge, UnreadableFile
from joulebook.telemetry.files.table import shown

FREE_BYTES = 64 << 20
"""Bytes that every file may unpack to, even a very small one."""

MOST_TIMES = 300
"""Beyond `FREE_BYTES` a file may unpack to this many times its size; readings with times hardly reach 50."""


def guarded(chunks: Iterator[bytes], *, stored: int, name: str, free: int = FREE_BYTES) -> Iterator[bytes]:
    """Yield the unpacked chunks of `stored` bytes; raises `FileTooLarge` before they become too many."""
    limit = max(free, MOST_TIMES * stored)
    inflated = 0
    for chunk in chunks:
        check_budget()
        inflated += len(chunk)
        if inflated > limit:
            raise FileTooLarge(
                f"{name} swells to more than {limit >> 20} MB from {stored:,} bytes, which no file of "
                "readings does; unpack it, look what it holds, and import that"
            )
        yield chunk


CHUNK_BYTES = 1 << 20
MOST_MEMBERS = 10_000

_END, _LOCATOR = b"PK\x05\x06", b"PK\x06\x07"
_LOCATOR_BYTES, _LARGE_END_BYTES = 20, 56
_END_BYTES = (1 << 16) + 22 + _LOCATOR_BYTES + _LARGE_END_BYTES
_MEMBER_BYTES = 1024
"""More than the usual size of an entry in the list of members: 46 bytes, a name, and some extra."""

_NOTES = frozenset({"Thumbs.db", "desktop.ini"})
_WORKBOOK = "xl/workbook.xml"
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


@contextmanager
def opened(path: Path, *, name: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive, called `name` in messages; raises `UnreadableFile`, also while it is read."""
    try:
        _check_directory(path, name=name)
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > MOST_MEMBERS:
                raise UnreadableFile(f"{name} has more than {MOST_MEMBERS:,} members; pack fewer files")
            yield archive
    except DAMAGE as exc:
        raise unpackable(name, exc) from exc


def unpackable(name: str, fault: Exception) -> UnreadableFile:
    """Return the error for damage found by unpacking."""
    return UnreadableFile(f"{name} cannot be unpacked ({fault}); fetch it again, or unpack it yourself")


def _check_directory(path: Path, *, name: str) -> None:
    """Raise `UnreadableFile` if the list of members is far too long.

    zipfile reads all of it into memory before we can count. Source: APPNOTE.TXT, 4.3.14 to 4.3.16.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END_BYTES))
        tail = file.read()
    declared = 0
    at = tail.find(_END)
    while at >= 0:
        declared = max(declared, int.from_bytes(tail[at + 12 : at + 16], "little") % 0xFFFFFFFF)
        record = at - _LOCATOR_BYTES - _LARGE_END_BYTES
        if record >= 0 and tail.startswith(_LOCATOR, at - _LOCATOR_BYTES):
            declared = max(declared, int.from_bytes(tail[record + 40 : record + 48], "little"))
        at = tail.find(_END, at + 1)
    if declared > MOST_MEMBERS * _MEMBER_BYTES:
        raise UnreadableFile(f"{name} lists its members in {declared:,} bytes; pack the one file that counts")


def is_workbook(path: Path, *, name: str) -> bool:
    """Return whether an archive is an .xlsx workbook; raises `UnreadableFile`."""
    with opened(path, name=name) as archive:
        return _WORKBOOK in archive.namelist()


def is_kept_by_system(name: str) -> bool:
    """Return whether a file of this name is no content, but a system's or program's note beside it."""
    *folders, last = name.split("/")
    return last.startswith((".", "~$")) or last in _NOTES or "__MACOSX" in folders


def archived_files(archive: zipfile.ZipFile, *, name: str) -> dict[str, zipfile.ZipInfo]:
    """Return the files of an archive by a name for people, in their order; raises `FileTooLarge`.

    The archive states the size of each, and unpacks to no more than that.
    """
    files: dict[str, zipfile.ZipInfo] = {}
    listed = [each for each in archive.infolist() if not each.is_dir()]
    for each in sorted(listed, key=lambda each: each.filename):
        if not is_kept_by_system(each.filename):
            called = shown(each.filename)
            files[called if called not in files else f"{called} ({len(files)})"] = each
    stored = sum(each.compress_size for each in files.values())
    limit = max(FREE_BYTES, MOST_TIMES * stored)
    if len(files) > 1 and sum(each.file_size for each in files.values()) > limit:
        raise FileTooLarge(
            f"{name} swells to more than {limit >> 20} MB from {stored:,} bytes, which no files of "
            "readings do; unpack it, look what it holds, and import that"
        )
    return files


def member_chunks(path: Path, *, name: str) -> Iterator[bytes]:
    """Yield the content of an archive's only file; raises `UnreadableFile` if it has none."""
    with opened(path, name=name) as archive:
        files = list(archived_files(archive, name=name).values())
        if not files:
            raise UnreadableFile(f"{name} holds no file; there is nothing to import")
        yield from guarded(read_member(archive, files[0]), stored=path.stat().st_size, name=name)


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield a member in chunks; raises `UnreadableFile` if it is encrypted."""
    with open_member(archive, member) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """Open a member; raises `UnreadableFile` if it is encrypted."""
    if member.flag_bits & 0x1:
        raise UnreadableFile(
            f"{shown(member.filename)} is encrypted; unpack it with its password and import that"
        )
    return archive.open(member)
