"""Uploaded files on the disk, under random names, until they are imported."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

_PART_SUFFIX = ".part"
_DISK_CHECK_BYTES = 16 << 20
"""Bytes of an upload between two checks of the free space on the disk."""

_GIB = 1 << 30
_COPIED_BYTES = 1 << 20


class UploadTooLarge(Exception):
    """The file exceeds the limit; the message gives the limit."""


class DiskFull(Exception):
    """The disk has no room for the file; the message gives the bytes left."""


@dataclass(frozen=True)
class Upload:
    """A complete upload: its name on the disk, its size in bytes and its SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


def uploads_folder() -> Path:
    """Return the folder of the uploads, closed to other users; create it if it is missing."""
    folder: Path = settings.CONFIG.home / "uploads"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def check_disk(size: int = 0, *, copies: int = 1) -> None:
    """Raise `DiskFull` if `copies` files of `size` bytes would leave less free space than the reserve."""
    disk = shutil.disk_usage(uploads_folder())
    reserve = settings.CONFIG.disk_reserve
    if reserve is None:
        reserve = min(max(disk.total // 20, _GIB), 10 * _GIB)
    room = max(disk.free - reserve, 0) // copies
    if size > room or not room:
        cause = f"the file has {size:,} bytes, and " if size else ""
        raise DiskFull(
            f"{cause}the disk has room for {room:,}; the administrator of this server can free some"
        )


def upload_path(name: str) -> Path:
    """Return the path of an upload. Raises ValueError for an invalid name."""
    return uploads_folder() / str(uuid.UUID(name))


def remove_upload(name: str) -> None:
    """Remove an upload; do nothing for an empty name or a missing file."""
    if name:
        upload_path(name).unlink(missing_ok=True)


def remove_orphans(known: set[str], *, before: float) -> int:
    """Remove files not in `known` and last written before `before` (a POSIX time); return their number."""
    removed = 0
    for path in uploads_folder().iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.name not in known and path.stat().st_mtime < before:
                path.unlink()
                removed += 1
    return removed


class UploadWriter:
    """Writes one upload to the disk. Without `finish`, no file is left."""

    def __init__(self) -> None:
        """Begin a file. Raises `DiskFull`."""
        check_disk()
        self.name = str(uuid.uuid4())
        self._path = upload_path(self.name)
        self._part = self._path.with_name(self.name + _PART_SUFFIX)
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        # A worker running as another system user may read the file if the folder's group may read the folder.
        os.fchmod(descriptor, 0o600 | (self._part.parent.stat().st_mode & stat.S_IRGRP))
        self._file: BinaryIO = os.fdopen(descriptor, "wb")
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, chunk: bytes) -> int:
        """Append bytes, and return their number.

        Raises `UploadTooLarge`, and `DiskFull` if the disk has filled up meanwhile.
        """
        before = self._size
        self._size += len(chunk)
        check_upload_size(self._size)
        if before // _DISK_CHECK_BYTES != self._size // _DISK_CHECK_BYTES:
            check_disk()
        self._digest.update(chunk)
        return self._file.write(chunk)

    def flush(self) -> None:
        """Do nothing: `finish` writes everything to the disk."""

    def finish(self) -> Upload:
        """Complete the file, safe from a power failure, and return it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.rename(self._path)
        return Upload(self.name, self._size, self._digest.hexdigest())

    def abandon(self) -> None:
        """Remove the received part; do nothing after `finish`."""
        self._file.close()
        self._part.unlink(missing_ok=True)


@contextlib.contextmanager
def upload_writer() -> Iterator[UploadWriter]:
    """Yield a writer for one upload; abandon the upload unless it was finished."""
    writer = UploadWriter()
    try:
        yield writer
    finally:
        writer.abandon()


def pack(uploads: Sequence[tuple[Upload, str]]) -> Upload:
    """Return several uploads with their names as one: a zip archive in their place.

    Raises `UploadTooLarge` and `DiskFull`; then the uploads are unchanged.
    """
    names: dict[str, int] = {}
    with upload_writer() as writer:
        with zipfile.ZipFile(writer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:  # type: ignore[call-overload]
            for upload, name in uploads:
                names[name] = names.get(name, 0) + 1
                called = name if names[name] == 1 else f"{names[name]}-{name}"
                with (
                    upload_path(upload.name).open("rb") as file,
                    archive.open(called, "w", force_zip64=True) as to,
                ):
                    shutil.copyfileobj(file, to, _COPIED_BYTES)
        packed = writer.finish()
    for upload, _ in uploads:
        remove_upload(upload.name)
    return packed


def name_of_several(names: Sequence[str]) -> str:
    """Return a name for several files: that of the first, and the number of the others."""
    first = min(names)
    return first if len(names) == 1 else f"{first} and {len(names) - 1:,} more"


def check_upload_size(size: int) -> None:
    """Raise `UploadTooLarge` for more bytes than JOULEBOOK_UPLOAD_MAX_BYTES."""
    most = settings.CONFIG.upload_max_bytes
    if size > most:
        raise UploadTooLarge(
            f"the file has more than {most:,} bytes; compress it with gzip, cut it in parts, "
            "or raise JOULEBOOK_UPLOAD_MAX_BYTES"
        )
