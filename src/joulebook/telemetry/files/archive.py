"""Zip archives: one member with text, or a workbook; what is more, or hides something, is refused."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from joulebook.telemetry.files.errors import UnreadableFile
from joulebook.telemetry.files.inflation import guarded
from joulebook.telemetry.files.table import shown

CHUNK_BYTES = 1 << 20
MOST_MEMBERS = 10_000

_WORKBOOK = "xl/workbook.xml"
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive; raises `UnreadableFile` where it cannot be read, on the way too."""
    try:
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > MOST_MEMBERS:
                raise UnreadableFile(
                    f"{path} has more than {MOST_MEMBERS:,} members; pack the one file that counts"
                )
            yield archive
    except _DAMAGE as exc:
        raise UnreadableFile(
            f"{path} cannot be unpacked ({exc}); fetch it again, or unpack it yourself"
        ) from exc


def is_workbook(path: Path) -> bool:
    """Return whether an archive is an .xlsx workbook; raises `UnreadableFile`."""
    with opened(path) as archive:
        return _WORKBOOK in archive.namelist()


def member_chunks(path: Path) -> Iterator[bytes]:
    """Yield the content of an archive's only file; raises `UnreadableFile` where it has none, or several."""
    with opened(path) as archive:
        files = [
            member
            for member in archive.infolist()
            if not member.is_dir() and not member.filename.startswith("__MACOSX/")
        ]
        if len(files) != 1:
            names = ", ".join(shown(member.filename)[:60] for member in files[:5])
            raise UnreadableFile(
                f"{path} holds {len(files)} files ({names}{', …' if len(files) > 5 else ''}); "
                "an archive with one file can be imported: unpack it and import them one by one"
            )
        yield from guarded(read_member(archive, files[0]), stored=path.stat().st_size, name=str(path))


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield a member in chunks; raises `UnreadableFile` where it is encrypted."""
    if member.flag_bits & 0x1:
        raise UnreadableFile(
            f"{shown(member.filename)} is encrypted; unpack it with its password and import that"
        )
    with archive.open(member) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
