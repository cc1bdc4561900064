"""Checks a backup without restoring it: every part's checksum, and by unpacking, what the parts hold."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from joulebook.backup.accounts import unpack_sqlite
from joulebook.backup.errors import DamagedBackup
from joulebook.backup.make import Progress
from joulebook.backup.manifest import FileCopy, Manifest, SqliteCopy, TableCopy, TablePart
from joulebook.backup.parts import Part, check_part, read_part
from joulebook.backup.rows import count_rows

Check = Callable[[], None]


class Checker:
    """Looks at one backup; each method returns what is wrong, part by part."""

    def __init__(self, folder: Path, manifest: Manifest, *, progress: Progress = lambda _share: None) -> None:
        self._folder = folder
        self._manifest = manifest
        self._progress = progress
        self._done = 0

    def check_files(self) -> list[str]:
        """Compare sizes and checksums; nothing is unpacked."""
        return _problems(partial(self._check_file, part) for part in self._manifest.parts())

    def check_content(self) -> list[str]:
        """Unpack everything, and count rows and bytes as well."""
        return _problems(self._content_checks())

    def _content_checks(self) -> Iterator[Check]:
        accounts = self._manifest.accounts
        databases = [self._manifest.telemetry]
        if isinstance(accounts, SqliteCopy):
            yield partial(self._check_sqlite, accounts)
        else:
            databases.append(accounts)
        for database in databases:
            for table in database.tables:
                for each in table.parts:
                    yield partial(self._check_rows, table, each)
        for copied in (*self._manifest.uploads, *self._manifest.files):
            yield partial(self._check_bytes, copied)

    def _check_file(self, part: Part) -> None:
        check_part(self._folder, part, progress=self._advance)

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


def _problems(checks: Iterator[Check]) -> list[str]:
    """Run checks, and return what those have to say that fail."""
    found = []
    for check in checks:
        try:
            check()
        except (DamagedBackup, OSError) as exc:
            found.append(str(exc))
    return found
