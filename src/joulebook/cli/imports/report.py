"""Output of an import: its progress on standard error, its report as text and tables, or as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from joulebook.cli.output import result
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.settings import SETTING_OF
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.readings import from_microseconds

Show = Callable[[ImportReport], None]

_FIRST_LINE_AFTER = 2.0
_LINE_EVERY = 10.0


def option_words(setting: str, value: str) -> str:
    """Return the option for a reading setting, with its value: `--tz UTC`."""
    name = SETTING_OF[setting].option if setting in SETTING_OF else f"--{setting.replace('_', '-')}"
    return f"{name} {value}".rstrip()


@contextmanager
def show_progress(source: FileSource) -> Iterator[Show]:
    """Yield a function to call after each block: a bar on a terminal, else a line every ten seconds.

    It shows the bytes read and the readings per second.
    """
    began = time.monotonic()
    if not sys.stderr.isatty():
        due = began + _FIRST_LINE_AFTER

        def print_line(report: ImportReport) -> None:
            nonlocal due
            now = time.monotonic()
            if now >= due:
                due = now + _LINE_EVERY
                percent = 100 * source.bytes_read // source.size
                sys.stderr.write(
                    f"{percent} % of {source.size / 1e6:,.1f} MB read, {report.readable:,} readings, "
                    f"{_rate(report, now - began)}\n"
                )

        yield print_line
        return
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task(source.name[:30], total=source.size, rate="")

        def update_bar(report: ImportReport) -> None:
            rate = _rate(report, time.monotonic() - began)
            progress.update(task, completed=source.bytes_read, rate=rate)

        yield update_bar


def _rate(report: ImportReport, seconds: float) -> str:
    return f"{report.readable / max(seconds, 1e-9):,.0f} readings/s"


MOST_LISTED = 20
"""Problems printed; the JSON form lists more."""


@dataclass(frozen=True)
class ImportedFile:
    """The file of an import: its device, import id (None in a dry run), and the reason for an early end."""

    name: str
    size: int
    sha256: str
    device_id: str
    import_id: int | None
    problem: str
    is_refused: bool = False
    """Whether nothing was stored because of `--strict`."""


def report_json(
    file: ImportedFile, layout: FileLayout, report: ImportReport, *, earlier: int | None = None
) -> str:
    """Return the report as a JSON object; `earlier` is an earlier import of the file, if any."""
    described = {
        "device": file.device_id,
        "import_id": file.import_id,
        "already_imported": earlier is not None,
        "file": {"name": file.name, "size": file.size, "sha256": file.sha256},
        "problem": file.problem or None,
        "questions": [
            {
                "setting": q.setting,
                "text": q.said(option_words),
                "answers": [answer.label for answer in q.answers],
            }
            for q in layout.questions
        ],
        "profile": layout.profile.as_json(),
        "settings": [{"name": s.name, "value": s.value, "source": s.reason} for s in layout.settings],
        **report.as_json(),
    }
    return json.dumps(described, indent=2, ensure_ascii=True)


def print_report(file: ImportedFile, layout: FileLayout, report: ImportReport) -> None:
    """Print the report as text and tables on standard output."""
    outcome = "dry run, nothing stored" if file.import_id is None else f"import {file.import_id}"
    if file.is_refused:
        outcome = "refused by --strict, nothing stored"
    parts = [
        [f"{file.name} for device {file.device_id} ({outcome})"],
        ["Read with:", *_aligned([("  " + s.name, s.value, s.reason) for s in layout.settings])],
        _totals(report),
        _columns(report),
        _problems(report),
        [_verdict(report, is_whole=not file.problem, is_refused=file.is_refused)],
    ]
    result("\n\n".join("\n".join(part) for part in parts if part))


def _aligned(rows: Sequence[Sequence[str]], *, numbers: int = 0) -> list[str]:
    """Return rows as lines with columns of equal width; the last `numbers` columns are right-aligned."""
    widths = [max(cell_len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = []
        for at, (cell, width) in enumerate(zip(row, widths, strict=True)):
            gap = " " * (width - cell_len(cell))
            cells.append(gap + cell if at >= len(row) - numbers else cell + gap)
        lines.append("  ".join(cells).rstrip())
    return lines


def _totals(report: ImportReport) -> list[str]:
    rejected = report.rows_rejected.total()
    lines = [f"Rows   {report.rows_read:,} read = {report.rows_imported:,} imported + {rejected:,} rejected"]
    if report.last_file:
        lines.insert(0, f"Files  {report.file_count:,}, {report.files_left_out:,} of them left out")
    kinds = [(report.readable, "readable")]
    if not report.is_dry_run:
        kinds = [(report.stored, "stored"), (report.duplicate, "duplicate"), (report.conflict, "in conflict")]
    if report.replaced:
        kinds.insert(1, (report.replaced, "replaced"))
    kinds += [(report.na, "without a value"), (report.malformed, "malformed")]
    lines.append(f"Cells  {report.cells:,} = " + " + ".join(f"{count:,} {kind}" for count, kind in kinds))
    if report.first_time is not None and report.last_time is not None:
        first, last = (
            from_microseconds(time).isoformat(" ") for time in (report.first_time, report.last_time)
        )
        lines.append(f"Times  {first} to {last}")
    if report.repeated:
        lines.append(
            f"Repeated: {report.repeated:,} cells whose instant is in the file before with another value"
        )
    if report.doubled_first or report.doubled_second:
        lines.append(
            f"Doubled hour: {report.doubled_first:,} rows taken as its first pass, "
            f"{report.doubled_second:,} for its second"
        )
    if report.skipped_lines:
        lines.append(f"Comments: {report.skipped_lines:,} lines")
    if report.blank_lines:
        lines.append(f"Blank lines: {report.blank_lines:,}")
    return lines


def _columns(report: ImportReport) -> list[str]:
    counts = {"Stored": "stored", "Replaced": "replaced", "Duplicate": "duplicate", "Conflict": "conflict"}
    if report.is_dry_run:
        counts = {"Readable": "readable"}
    elif not report.replaced:
        del counts["Replaced"]
    rows = [["Column", "Metric", "Kind", "Unit", *counts, "No value", "Malformed"]]
    for column in report.columns:
        numbers = [getattr(column, name) for name in counts.values()]
        numbers += [column.na.total(), column.malformed.total()]
        meaning = [column.metric, column.shown_kind, column.shown_unit]
        rows.append([column.column, *meaning, *(f"{number:,}" for number in numbers)])
    return _aligned(rows, numbers=len(counts) + 2)


def _problems(report: ImportReport) -> list[str]:
    if not report.problem_count:
        return []
    listed = report.problems[:MOST_LISTED]
    rows = [("File", "Line", "Column", "Problem", "Text")]
    rows += [
        (p.file, str(p.line or ""), p.column or ("(whole row)" if p.line else ""), p.code, p.text)
        for p in listed
    ]
    if not report.last_file:
        rows = [row[1:] for row in rows]  # type: ignore[misc]
    lines = _aligned(rows)
    if left := report.problem_count - len(listed):
        lines.append(
            f"… and {left:,} more; --json lists the first {len(report.problems):,}, --rejected FILE.csv all"
        )
    return lines


def _verdict(report: ImportReport, *, is_whole: bool, is_refused: bool) -> str:
    if is_refused:
        return "Nothing was stored: --strict requires every row and cell to be readable."
    if report.is_dry_run:
        return "Nothing was stored: this was a dry run."
    if report.replaced:
        return f"{report.stored:,} readings stored, {report.replaced:,} replaced."
    if report.stored:
        return f"{report.stored:,} readings stored."
    if not report.readable:
        return "Nothing was stored: the file holds no readings."
    if is_whole and report.duplicate == report.readable:
        return "Nothing was stored: every reading of this file was there already."
    return "Nothing was stored."
