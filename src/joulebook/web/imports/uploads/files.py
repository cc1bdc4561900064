"""The files that people upload, kept under names of ours until they are imported."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

_WRITING = ".part"
_LOOKED_EVERY = 16 << 20
"""Bytes of an upload after which the disk is looked at again."""

_GIB = 1 << 30


class UploadTooLarge(Exception):
    """The file has more bytes than one may have; the message says how many."""


class NoRoom(Exception):
    """The disk has no room for the file; the message says how much there is."""


@dataclass(frozen=True)
class Upload:
    """A file that was received whole: the name of ours, its size in bytes and its SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


def uploads_folder() -> Path:
    """Return the folder of the uploads, which only we may enter; it is made where it is missing."""
    folder: Path = settings.CONFIG.home / "uploads"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def check_disk(size: int = 0, *, copies: int = 1) -> None:
    """Raise `NoRoom` where a file of so many bytes would leave less of the disk than is reserved."""
    disk = shutil.disk_usage(uploads_folder())
    reserve = settings.CONFIG.disk_reserve
    if reserve is None:
        reserve = min(max(disk.total // 20, _GIB), 10 * _GIB)
    room = max(disk.free - reserve, 0) // copies
    if size > room or not room:
        told = f"the file has {size:,} bytes, and " if size else ""
        raise NoRoom(f"{told}the disk has room for {room:,}; who runs this server can make some")


def upload_path(name: str) -> Path:
    """Return where the upload of this name of ours lies. Raises ValueError for a name that is not ours."""
    return uploads_folder() / str(uuid.UUID(name))


def remove_upload(name: str) -> None:
    """Remove the upload of this name; it may be gone already, or have none."""
    if name:
        upload_path(name).unlink(missing_ok=True)


def remove_strays(known: set[str], *, before: float) -> int:
    """Remove files that no import knows and that nobody has written to since `before` (a POSIX time)."""
    removed = 0
    for path in uploads_folder().iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.name not in known and path.stat().st_mtime < before:
                path.unlink()
                removed += 1
    return removed


class UploadWriter:
    """Takes in the bytes of one upload. What is not finished leaves nothing behind."""

    def __init__(self) -> None:
        """Begin a file. Raises `NoRoom`."""
        check_disk()
        self.name = str(uuid.uuid4())
        self._path = upload_path(self.name)
        self._part = self._path.with_name(self.name + _WRITING)
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        # The worker, where it is another user, reads by the folder's group.
        os.fchmod(descriptor, 0o600 | (self._part.parent.stat().st_mode & stat.S_IRGRP))
        self._file: BinaryIO = os.fdopen(descriptor, "wb")
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, chunk: bytes) -> None:
        """Append some bytes. Raises `UploadTooLarge`, and `NoRoom` where the disk has filled up meanwhile."""
        before = self._size
        self._size += len(chunk)
        check_upload_size(self._size)
        if before // _LOOKED_EVERY != self._size // _LOOKED_EVERY:
            check_disk()
        self._digest.update(chunk)
        self._file.write(chunk)

    def finish(self) -> Upload:
        """Keep the file, on disk also after a power failure, and say what was received."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.rename(self._path)
        return Upload(self.name, self._size, self._digest.hexdigest())

    def abandon(self) -> None:
        """Remove what was received; harmless after `finish`."""
        self._file.close()
        self._part.unlink(missing_ok=True)


@contextlib.contextmanager
def receiving() -> Iterator[UploadWriter]:
    """Give a writer for one upload, which is abandoned unless it was finished."""
    writer = UploadWriter()
    try:
        yield writer
    finally:
        writer.abandon()


def check_upload_size(size: int) -> None:
    """Raise `UploadTooLarge` where a file has more bytes than JOULEBOOK_UPLOAD_MAX_BYTES."""
    most = settings.CONFIG.upload_max_bytes
    if size > most:
        raise UploadTooLarge(
            f"the file has more than {most:,} bytes; compress it with gzip, cut it in parts, "
            "or raise JOULEBOOK_UPLOAD_MAX_BYTES"
        )
