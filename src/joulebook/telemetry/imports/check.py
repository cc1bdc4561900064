"""Reads a whole file without storing anything of it, and without a database."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import closing

from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.read_ahead import read_ahead
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import Problem


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
