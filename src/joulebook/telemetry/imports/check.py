"""Checks a file block by block before anything of it is stored, for imports that take all or nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import closing

from joulebook.telemetry.connection import Connection, retried
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.read_ahead import read_ahead
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import Problem
from joulebook.telemetry.imports.problems import drop_problems, store_problems
from joulebook.telemetry.imports.progress import end_where_idle, identity_of, keep, take_lease


def check_file(
    source: FileSource,
    profile: ImportProfile,
    columns: Sequence[str],
    *,
    now: int,
    on_block: Callable[[ImportReport, list[Problem]], None] = lambda _report, _problems: None,
) -> ImportReport:
    """Return the account of a dry run over the file.

    `on_block` is given the account so far and the problems of each block. Raises what reading the file
    raises (`FileError`), and what `on_block` does.
    """
    problems: list[Problem] = []
    report = ImportReport(profile.values, is_dry_run=True, on_problems=problems.extend)
    blocks = read_ahead(parse_file(source, profile, columns, now=now, most_problems=sys.maxsize))
    with closing(blocks):
        for block in blocks:
            problems.clear()
            report.add_block(block)
            on_block(report, problems)
    return report


class CheckRun:
    """A dry run over a file whose account and problems are kept as those of an import, block by block.

    It writes no reading, and begins with the first line again where it was interrupted. An import that is
    stored afterwards begins with an empty account.
    """

    def __init__(
        self,
        conn: Connection,
        source: FileSource,
        profile: ImportProfile,
        columns: Sequence[str],
        *,
        import_id: int,
        lease: int,
        device_id: str,
        now: int,
    ) -> None:
        """Take the import over. `now` is in microseconds since 1970 UTC.

        Raises `LeaseLost`, `NumberTaken` and `DatabaseUnavailable`.
        """
        self._conn = conn
        self._source = source
        self._import_id, self._lease, self._device_id = import_id, lease, device_id
        self._problems: list[Problem] = []
        self._is_first = True
        self._identity = identity_of(source, columns, device_id=device_id)
        take_lease(conn, import_id=import_id, lease=lease, identity=self._identity)
        self.report = ImportReport(profile.values, is_dry_run=True, on_problems=self._problems.extend)
        self._blocks = read_ahead(parse_file(source, profile, columns, now=now, most_problems=sys.maxsize))

    def step(self) -> bool:
        """Check the next block; False when the file has ended.

        Raises `LeaseLost`, what reading the file raises (`FileError`), and `DatabaseUnavailable`.
        """
        block = next(self._blocks, None)
        if block is None:
            return False
        self._problems.clear()
        self.report.add_block(block)
        retried(self._conn, self._keep)
        self._is_first = False
        return True

    def close(self) -> None:
        """End the thread that reads the file."""
        self._blocks.close()

    def _keep(self) -> None:
        with self._conn.transaction():
            end_where_idle(self._conn)
            if self._is_first:
                drop_problems(self._conn, self._import_id)
            store_problems(self._conn, self._import_id, self._problems)
            keep(
                self._conn,
                import_id=self._import_id,
                lease=self._lease,
                device_id=self._device_id,
                identity=self._identity,
                checkpoint=None,
                report=self.report.state(),
                bytes_read=self._source.bytes_read,
            )
