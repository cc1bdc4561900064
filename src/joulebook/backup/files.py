"""The files of a backup: compressed streams, each with the checksum of the bytes on the disk.

A part is one zstd frame. Its SHA-256 goes into the manifest, so a copy can be checked without a database,
and without unpacking.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import zstandard

from joulebook.backup.errors import DamagedBackup

BLOCK_BYTES = 1 << 20
_LEVEL = 3


@dataclass(frozen=True)
class Part:
    """One file of a backup: its path within the folder, its bytes on the disk, and their SHA-256."""

    file: str
    size: int
    sha256: str


class PartWriter:
    """Writes one part. Leave the block after `finish`; a part without it is incomplete."""

    def __init__(self, folder: Path, file: str) -> None:
        """Create the file, readable by its owner alone. The file must not exist."""
        self._name = file
        path = folder / file
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        # The frame carries a checksum of the content as well: damage in memory is found on unpacking.
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
        self._digest = hashlib.sha256()
        self._size = 0

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        """Append some bytes of content."""
        self._put(self._compressor.compress(data))

    def finish(self) -> Part:
        """Complete the file, on the disk also after a power failure."""
        self._put(self._compressor.flush())
        os.fsync(self._file.fileno())
        return Part(self._name, self._size, self._digest.hexdigest())

    def _put(self, packed: bytes) -> None:
        self._digest.update(packed)
        self._size += len(packed)
        rest = memoryview(packed)
        while rest:
            rest = rest[self._file.write(rest) :]


def read_part(
    folder: Path, part: Part, *, progress: Callable[[int], None] = lambda _: None
) -> Iterator[bytes]:
    """Yield the content of a part in blocks, none of them empty; `progress` gets the bytes read of the file.

    Raises `DamagedBackup` if the file has changed since it was written, at the latest after the last block.
    """
    digest = hashlib.sha256()
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    try:
        with (folder / part.file).open("rb") as file:
            while packed := file.read(BLOCK_BYTES // 4):
                digest.update(packed)
                if block := decompressor.decompress(packed):
                    yield block
                progress(len(packed))
    except zstandard.ZstdError as exc:
        raise DamagedBackup(f"{folder / part.file} is damaged: {exc}") from exc
    except FileNotFoundError as exc:
        raise DamagedBackup(f"{folder / part.file} is missing") from exc
    if digest.hexdigest() != part.sha256:
        raise DamagedBackup(f"{folder / part.file} is damaged: its SHA-256 is not that of the manifest")


def check_part(folder: Path, part: Part, *, progress: Callable[[int], None] = lambda _: None) -> None:
    """Compare a part's size and SHA-256 with the manifest's. Raises `DamagedBackup`."""
    digest = hashlib.sha256()
    size = 0
    try:
        with (folder / part.file).open("rb") as file:
            while packed := file.read(BLOCK_BYTES):
                digest.update(packed)
                size += len(packed)
                progress(len(packed))
    except FileNotFoundError as exc:
        raise DamagedBackup(f"{folder / part.file} is missing") from exc
    if size != part.size:
        raise DamagedBackup(f"{folder / part.file} has {size:,} bytes in place of {part.size:,}")
    if digest.hexdigest() != part.sha256:
        raise DamagedBackup(f"{folder / part.file} is damaged: its SHA-256 is not that of the manifest")


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on the disk: names of new files, and renames."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
