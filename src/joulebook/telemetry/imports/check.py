"""Reads a whole file before anything of it is stored, for imports that take all or nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import closing

from joulebook.telemetry.connection import Connection
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.read_ahead import read_ahead
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import Problem
from joulebook.telemetry.imports.problems import drop_problems, store_problems
from joulebook.telemetry.imports.progress import identity_of, keep, take_lease
from joulebook.telemetry.retries import retried


def check_file(
    source: FileSource,
    profile: ImportProfile,
    columns: Sequence[str],
    *,
    now: int,
    stopped: Callable[[], bool] = lambda: False,
    on_block: Callable[[ImportReport, list[Problem]], None] = lambda _report, _problems: None,
) -> ImportReport:
    """Return the account of a dry run over the file, or of its beginning once `stopped` says so.

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
            if stopped():
                break
    return report


def check_import(
    conn: Connection,
    source: FileSource,
    profile: ImportProfile,
    columns: Sequence[str],
    *,
    import_id: int,
    lease: int,
    device_id: str,
    now: int,
    stopped: Callable[[], bool] = lambda: False,
) -> ImportReport:
    """Check a file as `check_file` does, and keep problems and account as those of the import.

    No reading is written. An import that is stored afterwards begins with an empty account. Raises
    `LeaseLost`, `NumberTaken`, `DatabaseAway` and `FileError`.
    """
    identity = identity_of(source, profile, columns, device_id=device_id)
    take_lease(conn, import_id=import_id, lease=lease, identity=identity)
    is_first = True

    def store(report: ImportReport, problems: list[Problem]) -> None:
        with conn.transaction():
            if is_first:
                drop_problems(conn, import_id)
            store_problems(conn, import_id, problems)
            keep(
                conn, import_id=import_id, lease=lease, device_id=device_id, identity=identity,
                checkpoint=None, report=report.state(), bytes_read=source.bytes_read,
            )  # fmt: skip

    def on_block(report: ImportReport, problems: list[Problem]) -> None:
        nonlocal is_first
        retried(conn, lambda: store(report, problems))
        is_first = False

    return check_file(source, profile, columns, now=now, stopped=stopped, on_block=on_block)
