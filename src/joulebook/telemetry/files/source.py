"""The text of a file in chunks: opened, unpacked, converted from a foreign format, counted and hashed."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal

from joulebook.telemetry.files.archive import (
    DAMAGE,
    FREE_BYTES,
    MOST_MEMBERS,
    archived_files,
    guarded,
    is_kept_by_system,
    is_workbook,
    member_chunks,
    open_member,
    opened,
    read_member,
    unpackable,
)
from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import UnreadableFile
from joulebook.telemetry.files.formats.format import RECOGNISED_BY, Content, Format
from joulebook.telemetry.files.formats.registry import find_format, find_format_of_set
from joulebook.telemetry.files.formats.workbook import WORKBOOK
from joulebook.telemetry.files.table import shown

CHUNK_BYTES = 1 << 20
"""Most bytes in one chunk, before and after unpacking: a small file cannot fill the memory."""

_GZIP_MAGIC = b"\x1f\x8b"
_ZIP_MAGIC = b"PK\x03\x04"
_GZIP = 16 + zlib.MAX_WBITS
_UNREADABLE_KINDS = (
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", "unpack it"),
    (b"BZh", "bzip2-compressed", "unpack it"),
    (b"\xfd7zXZ\x00", "xz-compressed", "unpack it"),
    (b"%PDF", "a PDF document", "ask its sender for CSV"),
)


class FileSource:
    """One file on disk, read from its beginning by each call of `chunks`; or several (`members`) as one.

    `name` is for people, and never used as a path; messages show it, or the path if no name was given.
    `size` is in bytes as stored. While `chunks` runs, `bytes_read` grows up to `size`; at its end `sha256`
    is the hexadecimal digest of the stored bytes.
    """

    unpacked: Any = None
    """The temporary file of a file unpacked from an archive; it ends with its source."""

    def __init__(self, path: Path, *, sheet: str = "", name: str = "") -> None:
        """Check that the file can be read; raises `UnreadableFile`.

        `sheet` is the sheet of a workbook, or the list or table of another format, empty for its own choice.
        """
        self.path = path
        self.sheet = sheet
        self.name = name or shown(os.fsencode(path.name))
        self._called = name or str(path)
        self._free = FREE_BYTES
        self.bytes_read = 0
        self.sha256 = ""
        try:
            start = self._begin()
        except FileNotFoundError as exc:
            raise UnreadableFile(f"there is no file {self._called}; check the name and the folder") from exc
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            raise UnreadableFile(f"{self._called} cannot be opened: {reason}") from exc
        if not start and not self._is_folder:
            raise UnreadableFile(f"{self._called} is empty; there is nothing to import")
        for magic, kind, remedy in _UNREADABLE_KINDS:
            if start.startswith(magic):
                raise UnreadableFile(
                    f"{self._called} is {kind}; {remedy} and import that (plain text, gzip, or zip)"
                )
        self._kind = self._find_kind(start)

    def _begin(self) -> bytes:
        """Return the first bytes, and set the size."""
        self._is_folder = self.path.is_dir()
        if self._is_folder:
            self.size = 0
            return b""
        if self.path.exists() and not self.path.is_file():
            raise UnreadableFile(
                f"{self._called} is no regular file, and it is read twice; save it to a file first"
            )
        self.size = self.path.stat().st_size
        with self._open() as file:
            return file.read(16)

    def _find_kind(self, start: bytes) -> Literal["plain", "gzip", "zip", "workbook", "many", "set"]:
        if self._is_folder:
            self._set: FileSet = Folder(self.path, self._called)
            self.size = sum(self._set.sizes.values())
        elif not start.startswith(_ZIP_MAGIC):
            return "gzip" if start.startswith(_GZIP_MAGIC) else "plain"
        elif is_workbook(self.path, name=self._called):
            return "workbook"
        else:
            self._set = Archive(self.path, self._called)
        if find_format_of_set(tuple(self._set.sizes)):
            return "set"
        return "zip" if len(self._set.sizes) == 1 and not self._is_folder else "many"

    def _open(self) -> IO[bytes]:
        return self.path.open("rb")

    def _again(self) -> FileSource:
        """Return another source of the same file, with counts of its own."""
        return FileSource(self.path, sheet=self.sheet, name=self._called)

    @property
    def members(self) -> Mapping[str, int]:
        """The stored bytes by name of the files in a folder or an archive, in order; empty for one file."""
        return self._set.sizes if self._kind == "many" else {}

    def member(self, name: str) -> FileSource:
        """Open one of several files; raises `UnreadableFile`."""
        return self._set.member(name, self.sheet)

    def beginning(self, most: int) -> bytes:
        """Return the first stored bytes; for a folder the names and sizes of its files."""
        if self._is_folder:
            return repr(self._set.sizes).encode()[:most]
        with self._open() as file:
            return file.read(most)

    def digest(self) -> str:
        """Return the hexadecimal SHA-256 of the stored bytes, for a folder of its names and files."""
        if self._is_folder:
            whole = hashlib.sha256()
            for name in self._set.sizes:
                with (self.path / name).open("rb") as member:
                    whole.update(f"{name}\0{hashlib.file_digest(member, 'sha256').hexdigest()}\n".encode())
            return whole.hexdigest()
        with self._open() as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]

    @property
    def is_compressed(self) -> bool:
        """Whether the content is gzip or a zip archive, and may be far larger than `size`."""
        return self._kind in ("gzip", "zip", "many")

    def sheets(self) -> tuple[str, ...]:
        """Return the names of the sheets, lists or tables to choose from; raises `UnreadableFile`."""
        return () if self.format is None else self.format.parts(self.content())

    def notes(self) -> tuple[tuple[str, str, str], ...]:
        """Return the settings to be shown about a foreign format: name, value and reason of each."""
        return () if self.format is None else self.format.notes(self.content())

    @cached_property
    def format(self) -> Format | None:
        """The foreign format of the file, None for a text table; raises `UnreadableFile`."""
        if self._kind == "workbook":
            return WORKBOOK
        if self._kind == "many":
            return None
        if self._kind == "set":
            return find_format_of_set(tuple(self._set.sizes))
        found = find_format(_first_bytes(self._again().content_chunks(), RECOGNISED_BY))
        if found is not None and found.needs_file and self._kind != "plain":
            raise UnreadableFile(f"{self._called} holds {found.name}; unpack it and import that")
        return found

    def chunks(self) -> Iterator[bytes]:
        """Yield the text in chunks; gzip and a zip archive with one member are unpacked.

        A chunk has at most `CHUNK_BYTES`, except those of a foreign format: it is converted to UTF-8 CSV.
        Raises `UnreadableFile` if the file is damaged or ends early, after all readable chunks, and
        `FileTooLarge` if it unpacks to too many bytes.
        """
        if self.format is None:
            yield from self.content_chunks()
            return
        if self.format.needs_file:
            self._hash()
        yield from self.format.convert(self.content())
        if not self.sha256:
            self._hash()  # The conversion had no need of the last bytes.

    def _hash(self) -> None:
        if self._is_folder:
            self.sha256, self.bytes_read = self.digest(), self.size
            return
        for _ in self._stored_chunks():
            pass

    def content(self) -> Content:
        """Return the content before any conversion."""
        return Content(self.path, self.content_chunks, self.sheet, self._called)

    def content_chunks(self) -> Iterator[bytes]:
        """Yield the content before any conversion."""
        stored = self._stored_chunks()
        if self._kind == "gzip":
            yield from guarded(
                _inflate(stored, name=self._called), stored=self.size, name=self._called, free=self._free
            )
        elif self._kind == "zip":
            for _ in stored:
                pass  # The digest is that of the archive as stored.
            yield from member_chunks(self.path, name=self._called)
        else:
            yield from stored

    def head(self, limit: int) -> bytes:
        """Return the first `limit` bytes of the content, or all of it if it is shorter.

        Raises `UnreadableFile` if damage leaves no bytes; `chunks` reports damage behind the head.
        """
        source = self._again()
        if self.format is None:
            return _first_bytes(source.content_chunks(), limit)
        return _first_bytes(self.format.convert(source.content()), limit)

    def further(self, head: bytes, *, pieces: int = 32, piece_bytes: int = 65_536) -> bytes:
        """Return whole lines from all over a plain text file behind its `head`, for a better guess.

        It is empty for a compressed or converted file, and for more than one byte a character: lines
        cannot be found there without reading everything before them.
        """
        rest = self.size - len(head)
        if self._kind != "plain" or self.format is not None or rest <= 0 or b"\0" in head[:4096]:
            return b""
        found = []
        with self._open() as file:
            for number in range(pieces):
                file.seek(len(head) + rest * number // pieces)
                piece = file.read(min(piece_bytes, rest))
                begin, end = piece.find(b"\n") + 1, piece.rfind(b"\n") + 1
                found.append(piece[begin:end] if begin else b"")
        return b"".join(found)

    def _stored_chunks(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        self.bytes_read = 0
        with self._open() as file:
            while chunk := file.read(CHUNK_BYTES):
                check_budget()
                digest.update(chunk)
                self.bytes_read += len(chunk)
                yield chunk
        self.sha256 = digest.hexdigest()


def _first_bytes(chunks: Iterator[bytes], limit: int) -> bytes:
    """Return the first bytes of chunks; raises `UnreadableFile` if damage leaves none."""
    head = b""
    try:
        for chunk in chunks:
            head += chunk
            if len(head) >= limit:
                break
    except UnreadableFile:
        if not head:
            raise
    return head[:limit]


class FileSet(ABC):
    """Several files as one."""

    sizes: dict[str, int]
    """The stored bytes of each by a name for people, in the order of names."""

    @abstractmethod
    def member(self, name: str, sheet: str) -> FileSource:
        """Open a file; raises `UnreadableFile`."""


class Folder(FileSet):
    """The files in a folder and in the folders below it."""

    def __init__(self, path: Path, called: str) -> None:
        """Find the files; raises `UnreadableFile`."""
        self._path = path
        found: dict[str, int] = {}
        for folder, below, names in os.walk(path):
            below[:] = [each for each in below if not each.startswith(".")]
            for each in (Path(folder, name) for name in names):
                name = each.relative_to(path).as_posix()
                if not is_kept_by_system(name) and each.is_file() and not each.is_symlink():
                    found[name] = each.stat().st_size
            if len(found) > MOST_MEMBERS:
                raise UnreadableFile(f"{called} has more than {MOST_MEMBERS:,} files; import fewer at once")
        self.sizes = dict(sorted(found.items()))
        if not found:
            raise UnreadableFile(f"{called} is a folder without a file; there is nothing to import")

    def member(self, name: str, sheet: str) -> FileSource:
        """Open a file; raises `UnreadableFile`."""
        return FileSource(self._path / name, sheet=sheet, name=name)


class Archive(FileSet):
    """The files in a zip archive."""

    def __init__(self, path: Path, called: str) -> None:
        """Find the files; raises `UnreadableFile`."""
        with opened(path, name=called) as archive:
            self._files = archived_files(archive, name=called)
        if not self._files:
            raise UnreadableFile(f"{called} holds no file; there is nothing to import")
        self._path = path
        self._archive: zipfile.ZipFile | None = None
        self.sizes = {name: each.compress_size for name, each in self._files.items()}

    def member(self, name: str, sheet: str) -> FileSource:
        """Open a file, unpacked to the disk where its format needs that; raises `UnreadableFile`."""
        if self._archive is None:
            # It stays open: reading the list of members anew for each takes the square of their number.
            self._archive = zipfile.ZipFile(self._path)
        member = self._files[name]
        try:
            with open_member(self._archive, member) as file:
                start = file.read(RECOGNISED_BY)
            found = find_format(start)
            if not start.startswith(_ZIP_MAGIC) and not (found is not None and found.needs_file):
                return _ArchivedFile(
                    self._archive, member, sheet=sheet, name=name, free=FREE_BYTES // len(self._files)
                )
            unpacked = tempfile.NamedTemporaryFile(prefix="joulebook-")  # noqa: SIM115 - closed with its source
            for chunk in read_member(self._archive, member):
                check_budget()
                unpacked.write(chunk)
            unpacked.flush()
        except DAMAGE as exc:
            raise unpackable(name, exc) from exc
        source = FileSource(Path(unpacked.name), sheet=sheet, name=name)
        source.unpacked = unpacked
        return source


class _ArchivedFile(FileSource):
    """A file read out of a zip archive."""

    def __init__(
        self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, *, sheet: str, name: str, free: int
    ) -> None:
        self._archive, self._member, self._free_bytes = archive, member, free
        super().__init__(Path(member.filename), sheet=sheet, name=name)
        self._free = free

    def _begin(self) -> bytes:
        self._is_folder = False
        self.size = self._member.file_size
        with self._open() as file:
            return file.read(16)

    def _open(self) -> IO[bytes]:
        return open_member(self._archive, self._member)

    def _again(self) -> FileSource:
        return _ArchivedFile(
            self._archive, self._member, sheet=self.sheet, name=self._called, free=self._free_bytes
        )

    def _stored_chunks(self) -> Iterator[bytes]:
        try:
            yield from super()._stored_chunks()
        except DAMAGE as exc:
            raise unpackable(self._called, exc) from exc


def _inflate(stored: Iterator[bytes], *, name: str) -> Iterator[bytes]:
    """Inflate a gzip stream of one or more members; zeros may follow the last, as tapes pad."""
    inflater: zlib._Decompress | None = zlib.decompressobj(_GZIP)
    waiting = b""
    try:
        for chunk in stored:
            waiting += chunk
            while waiting:
                if inflater is None:
                    waiting = waiting.lstrip(b"\0")
                    if not waiting:
                        break
                    inflater = zlib.decompressobj(_GZIP)
                if inflated := inflater.decompress(waiting, CHUNK_BYTES):
                    yield inflated
                waiting = inflater.unconsumed_tail
                if inflater.eof:
                    waiting, inflater = inflater.unused_data, None
    except zlib.error as exc:
        raise UnreadableFile(
            f"{name} is damaged: its gzip stream cannot be inflated further ({exc})"
        ) from exc
    if inflater is not None:
        raise UnreadableFile(f"{name} is cut off: its gzip stream ends early; fetch the file again")
