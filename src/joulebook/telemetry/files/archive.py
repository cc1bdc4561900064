"""Zip archives with one text file, or a workbook; others, and those made to exhaust memory, are refused."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import FileTooLarge, UnreadableFile
from joulebook.telemetry.files.table import shown

FREE_BYTES = 64 << 20
"""Bytes that every file may unpack to, even a very small one."""

MOST_TIMES = 300
"""Beyond `FREE_BYTES` a file may unpack to this many times its size; readings with times hardly reach 50."""


def guarded(chunks: Iterator[bytes], *, stored: int, name: str) -> Iterator[bytes]:
    """Yield the unpacked chunks of `stored` bytes; raises `FileTooLarge` before they become too many."""
    limit = max(FREE_BYTES, MOST_TIMES * stored)
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

_WORKBOOK = "xl/workbook.xml"
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


@contextmanager
def opened(path: Path, *, name: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive, called `name` in messages; raises `UnreadableFile`, also while it is read."""
    try:
        _check_directory(path, name=name)
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > MOST_MEMBERS:
                raise UnreadableFile(
                    f"{name} has more than {MOST_MEMBERS:,} members; pack the one file that counts"
                )
            yield archive
    except _DAMAGE as exc:
        raise UnreadableFile(
            f"{name} cannot be unpacked ({exc}); fetch it again, or unpack it yourself"
        ) from exc


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


def files_below(folder: Path) -> list[Path]:
    """Return the files in a folder and the folders below it, in the order of their names."""
    found = []
    for each in folder.rglob("*"):
        if each.is_file() and not each.is_symlink():
            found.append(each)
        if len(found) > MOST_MEMBERS:
            raise UnreadableFile(f"{folder} holds more than {MOST_MEMBERS:,} files; name one file of it")
    return sorted(found)


def is_workbook(path: Path, *, name: str) -> bool:
    """Return whether an archive is an .xlsx workbook; raises `UnreadableFile`."""
    with opened(path, name=name) as archive:
        return _WORKBOOK in archive.namelist()


def member_chunks(path: Path, *, name: str) -> Iterator[bytes]:
    """Yield the content of an archive's only file; raises `UnreadableFile` if it has none, or several."""
    with opened(path, name=name) as archive:
        files = [
            member
            for member in archive.infolist()
            if not member.is_dir() and not member.filename.startswith("__MACOSX/")
        ]
        if len(files) != 1:
            names = ", ".join(shown(member.filename)[:60] for member in files[:5])
            raise UnreadableFile(
                f"{name} holds {len(files)} files ({names}{', …' if len(files) > 5 else ''}); "
                "an archive with one file can be imported: unpack it and import them one by one"
            )
        yield from guarded(read_member(archive, files[0]), stored=path.stat().st_size, name=name)


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield a member in chunks; raises `UnreadableFile` if it is encrypted."""
    if member.flag_bits & 0x1:
        raise UnreadableFile(
            f"{shown(member.filename)} is encrypted; unpack it with its password and import that"
        )
    with archive.open(member) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
