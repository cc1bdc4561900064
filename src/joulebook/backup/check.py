"""Checks a backup without restoring it: the checksums of its parts, and after unpacking their content."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from joulebook.backup.accounts import unpack_sqlite
from joulebook.backup.create import Progress
from joulebook.backup.errors import DamagedBackup
from joulebook.backup.files import check_part, read_part
from joulebook.backup.manifest import FileCopy, Manifest, SqliteCopy, TableCopy, TablePart

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_COUNT = struct.Struct(">h")
_LENGTH = struct.Struct(">i")


def count_rows(blocks: Iterable[bytes], *, is_binary: bool) -> int:
    """Return the number of rows of a stream of COPY. Raises `DamagedBackup` if the stream is not whole."""
    if not is_binary:
        return sum(block.count(b"\n") for block in blocks)
    rest, rows, has_begun = b"", 0, False
    for block in blocks:
        rest += block
        if not has_begun:
            if len(rest) < len(_HEADER):
                continue
            if not rest.startswith(_HEADER):
                raise DamagedBackup("a part does not begin as rows do")
            rest, has_begun = rest[len(_HEADER) :], True
        at = 0
        while (found := _layout(rest, at)) is not None:
            # All rows from here on with the same layout are counted at once.
            end, marks = found
            width = end - at
            alike = np.frombuffer(rest, np.uint8, offset=at)[: (len(rest) - at) // width * width]
            table = alike.reshape(-1, width)[:, marks]
            differs = np.flatnonzero((table != table[0]).any(axis=1))
            count = int(differs[0]) if len(differs) else len(table)
            rows += count
            at += count * width
        rest = rest[at:]
    if not has_begun or rest != _TRAILER:
        raise DamagedBackup("a part does not end as rows do")
    return rows


def _layout(data: bytes, begin: int) -> tuple[int, list[int]] | None:
    """Return the end of the row at `begin`, and the offsets of its layout's bytes; None if not whole."""
    if len(data) < begin + _COUNT.size:
        return None
    (fields,) = _COUNT.unpack_from(data, begin)
    if fields < 0:
        return None
    at = begin + _COUNT.size
    marks = [0, 1]
    for _ in range(fields):
        if len(data) < at + _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(data, at)
        marks += range(at - begin, at - begin + _LENGTH.size)
        at += _LENGTH.size + max(0, length)
    return (at, marks) if at <= len(data) else None


Check = Callable[[], None]


class Checker:
    """Checks one backup; each method returns the problems, part by part."""

    def __init__(self, folder: Path, manifest: Manifest, *, progress: Progress = lambda _share: None) -> None:
        self._folder = folder
        self._manifest = manifest
        self._progress = progress
        self._done = 0

    def check_files(self) -> list[str]:
        """Compare sizes and checksums without unpacking."""
        return _problems(
            partial(check_part, self._folder, part, progress=self._advance) for part in self._manifest.parts()
        )

    def check_content(self) -> list[str]:
        """Unpack everything, and compare the numbers of rows and bytes as well."""
        checks: list[Check] = []
        accounts = self._manifest.accounts
        databases = [self._manifest.telemetry]
        if isinstance(accounts, SqliteCopy):
            checks.append(partial(self._check_sqlite, accounts))
        else:
            databases.append(accounts)
        for database in databases:
            for table in database.tables:
                checks += [partial(self._check_rows, table, each) for each in table.parts]
        for copied in (*self._manifest.uploads, *self._manifest.files):
            checks.append(partial(self._check_bytes, copied))
        return _problems(checks)

    def _check_sqlite(self, copied: SqliteCopy) -> None:
        with tempfile.TemporaryDirectory(prefix="joulebook-check-") as scratch:
            unpack_sqlite(self._folder, copied, Path(scratch) / "accounts.sqlite3")
        self._advance(copied.part.size)

    def _check_rows(self, table: TableCopy, each: TablePart) -> None:
        blocks = read_part(self._folder, each.part, progress=self._advance)
        try:
            rows = count_rows(blocks, is_binary=table.format == "binary")
        except DamagedBackup as exc:
            raise DamagedBackup(f"{self._folder / each.part.file} is damaged: {exc}") from exc
        if rows != each.rows:
            raise DamagedBackup(f"{each.part.file} has {rows:,} rows in place of {each.rows:,}")

    def _check_bytes(self, copied: FileCopy) -> None:
        size = sum(len(block) for block in read_part(self._folder, copied.part, progress=self._advance))
        if size != copied.bytes:
            raise DamagedBackup(f"{copied.part.file} has {size:,} bytes in place of {copied.bytes:,}")

    def _advance(self, size: int) -> None:
        self._done += size
        self._progress(min(1.0, self._done / max(1, self._manifest.size)))


def _problems(checks: Iterable[Check]) -> list[str]:
    """Run checks, and return the messages of the failed ones."""
    found = []
    for check in checks:
        try:
            check()
        except (DamagedBackup, OSError) as exc:
            found.append(str(exc))
    return found
