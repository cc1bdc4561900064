"""The text of a file in chunks: opened, unpacked, converted from a foreign format, counted and hashed."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

from joulebook.telemetry.files.archive import files_below, guarded, is_workbook, member_chunks, opened
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
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save the sheet as CSV"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", "unpack it"),
    (b"BZh", "bzip2-compressed", "unpack it"),
    (b"\xfd7zXZ\x00", "xz-compressed", "unpack it"),
    (b"PAR1", "a Parquet file", "save it as CSV"),
    (b"%PDF", "a PDF document", "ask its sender for CSV"),
)


class FileSource:
    """One file on disk, read from its beginning by each call of `chunks`.

    `name` is for people, and never used as a path; messages show it, or the path if no name was given.
    `size` is in bytes as stored. While `chunks` runs, `bytes_read` grows up to `size`; at its end `sha256`
    is the hexadecimal digest of the stored bytes.
    """

    def __init__(self, path: Path, *, sheet: str = "", name: str = "") -> None:
        """Check that the file can be read; raises `UnreadableFile`.

        `sheet` is the sheet of a workbook, or the list or table of another format, empty for its own choice.
        """
        self.path = path
        self.sheet = sheet
        self.name = name or shown(os.fsencode(path.name))
        self._called = name or str(path)
        self.bytes_read = 0
        self.sha256 = ""
        try:
            self._of_set = _format_of_set(path, name=self._called)
            if path.is_dir() and self._of_set is None:
                raise UnreadableFile(f"{self._called} is a folder; name one file of it")
            self._paths = files_below(path) if path.is_dir() else [path]
            if path.exists() and not path.is_dir() and not path.is_file():
                raise UnreadableFile(
                    f"{self._called} is no regular file, and it is read twice; save it to a file first"
                )
            with self._paths[0].open("rb") as file:
                start = file.read(16)
            self.size = sum(each.stat().st_size for each in self._paths)
        except FileNotFoundError as exc:
            raise UnreadableFile(f"there is no file {self._called}; check the name and the folder") from exc
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            raise UnreadableFile(f"{self._called} cannot be opened: {reason}") from exc
        if not self.size:
            raise UnreadableFile(f"{self._called} is empty; there is nothing to import")
        for magic, kind, remedy in _UNREADABLE_KINDS:
            if start.startswith(magic):
                raise UnreadableFile(
                    f"{self._called} is {kind}; {remedy} and import that (plain text, gzip, or zip)"
                )
        self._kind = _kind(path, start, name=self._called)

    @property
    def is_compressed(self) -> bool:
        """Whether the content is gzip or a zip archive, and may be far larger than `size`."""
        return self._kind in ("gzip", "zip")

    def sheets(self) -> tuple[str, ...]:
        """Return the names of the sheets, lists or tables to choose from; raises `UnreadableFile`."""
        return () if self.format is None else self.format.parts(self._content())

    def notes(self) -> tuple[tuple[str, str, str], ...]:
        """Return the settings to be shown about a foreign format: name, value and reason of each."""
        return () if self.format is None else self.format.notes(self._content())

    @cached_property
    def format(self) -> Format | None:
        """The foreign format of the file, None for a text table; raises `UnreadableFile`."""
        if self._of_set is not None:
            return self._of_set
        if self._kind == "workbook":
            return WORKBOOK
        found = find_format(_first_bytes(FileSource(self.path, name=self._called)._unpacked(), RECOGNISED_BY))
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
            yield from self._unpacked()
            return
        if self.format.needs_file:
            self._hash()
        yield from self.format.convert(self._content())
        if not self.sha256:
            self._hash()  # The conversion had no need of the last bytes.

    def _hash(self) -> None:
        for _ in self._stored_chunks():
            pass

    def _content(self) -> Content:
        return Content(self.path, self._unpacked, self.sheet, self._called)

    def _unpacked(self) -> Iterator[bytes]:
        """Yield the content before any conversion."""
        stored = self._stored_chunks()
        if self._kind == "gzip":
            yield from guarded(_inflate(stored, name=self._called), stored=self.size, name=self._called)
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
        source = FileSource(self.path, sheet=self.sheet, name=self._called)
        if self.format is None:
            return _first_bytes(source._unpacked(), limit)
        return _first_bytes(self.format.convert(source._content()), limit)

    def further(self, head: bytes, *, pieces: int = 32, piece_bytes: int = 65_536) -> bytes:
        """Return whole lines from all over a plain text file behind its `head`, for a better guess.

        It is empty for a compressed or converted file, and for more than one byte a character: lines
        cannot be found there without reading everything before them.
        """
        rest = self.size - len(head)
        if self._kind != "plain" or self.format is not None or rest <= 0 or b"\0" in head[:4096]:
            return b""
        found = []
        with self.path.open("rb") as file:
            for number in range(pieces):
                file.seek(len(head) + rest * number // pieces)
                piece = file.read(min(piece_bytes, rest))
                begin, end = piece.find(b"\n") + 1, piece.rfind(b"\n") + 1
                found.append(piece[begin:end] if begin else b"")
        return b"".join(found)

    def _stored_chunks(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        self.bytes_read = 0
        for path in self._paths:
            if path != self.path:
                digest.update(
                    path.relative_to(self.path).as_posix().encode("utf-8", "surrogateescape") + b"\0"
                )
            with path.open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    check_budget()
                    digest.update(chunk)
                    self.bytes_read += len(chunk)
                    yield chunk
        self.sha256 = digest.hexdigest()


def _format_of_set(path: Path, *, name: str) -> Format | None:
    """Return the format of a folder or an archive, by the names of its files."""
    if path.is_dir():
        return find_format_of_set([each.name for each in files_below(path)])
    with path.open("rb") as file:
        if not path.is_file() or not file.read(4).startswith(_ZIP_MAGIC):
            return None
    with opened(path, name=name) as archive:
        return find_format_of_set([each.filename for each in archive.infolist() if not each.is_dir()])


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


def _kind(path: Path, start: bytes, *, name: str) -> Literal["plain", "gzip", "zip", "workbook"]:
    if start.startswith(_ZIP_MAGIC):
        return "workbook" if is_workbook(path, name=name) else "zip"
    return "gzip" if start.startswith(_GZIP_MAGIC) else "plain"


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
