"""Shows on standard error how far an import has come: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.source import FileSource

Show = Callable[[ImportReport], None]

_FIRST_LINE_AFTER = 2.0
_LINE_EVERY = 10.0


@contextmanager
def show_progress(source: FileSource) -> Iterator[Show]:
    """Yield what is to be called after each block; it shows the bytes read and the readings a second."""
    if sys.stderr.isatty():
        with _bar() as progress:
            yield _bar_updater(progress, source)
    else:
        yield _line_printer(source)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _bar_updater(progress: Progress, source: FileSource) -> Show:
    began = time.monotonic()
    task = progress.add_task(source.name[:30], total=source.size, rate="")

    def update(report: ImportReport) -> None:
        progress.update(task, completed=source.bytes_read, rate=_rate(report, time.monotonic() - began))

    return update


def _line_printer(source: FileSource) -> Show:
    began = time.monotonic()
    due = began + _FIRST_LINE_AFTER

    def update(report: ImportReport) -> None:
        nonlocal due
        now = time.monotonic()
        if now >= due:
            due = now + _LINE_EVERY
            percent = 100 * source.bytes_read // source.size
            sys.stderr.write(
                f"{percent} % of {source.size / 1e6:,.1f} MB read, {report.readable:,} readings, "
                f"{_rate(report, now - began)}\n"
            )

    return update


def _rate(report: ImportReport, seconds: float) -> str:
    return f"{report.readable / max(seconds, 1e-9):,.0f} readings/s"
