"""Runs the measurements in one go and prints their tables."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks.archive import Archive
from benchmarks.backup import measure_backup
from benchmarks.files import measure_import
from benchmarks.influxd import running_influxd
from benchmarks.mixed import measure_mixed
from benchmarks.reading import measure_reading
from benchmarks.rerolling import measure_rerolling
from benchmarks.rolling import measure_rolling
from benchmarks.stack import folder, running_stack
from benchmarks.table import Printer, Promise
from benchmarks.writing import Writing, measure_writing

PARTS = ("writing", "files", "mixed", "rolling", "reading", "rerolling", "backup")


def main() -> None:
    """Measure on a Joulebook of the run's own, beside InfluxDB where it is installed."""
    asked = _asked()
    printer = Printer(markdown=asked.markdown)
    archive = Archive(days=365, neighbours=50) if asked.year else Archive(days=30, neighbours=10)
    with (
        folder("joulebook", kept=asked.home) as home,
        folder("influxd", kept=asked.home) as beside,
        running_stack(home) as stack,
        running_influxd(beside) as influxd,
    ):
        promises = []
        writing = Writing(stack)
        if "writing" in asked.parts:
            rows, kept = measure_writing(writing, influxd, turns=asked.turns)
            printer.rows(f"Writing ({os.cpu_count()} cores, load beside it)", rows)
            promises += kept
        if "files" in asked.parts:
            rows, kept = measure_import(stack)
            printer.rows("Files", rows)
            promises += kept
        if "mixed" in asked.parts:
            archive.store(stack)
            rows, kept = measure_mixed(writing)
            printer.rows("Writing at half of the most, and dashboards", rows)
            promises += kept
        if "rolling" in asked.parts:
            rows, kept = measure_rolling(writing)
            printer.rows("Rolling up while devices write", rows)
            promises += kept
        if "reading" in asked.parts:
            rows, kept = measure_reading(stack, influxd, archive)
            printer.rows("Reading", rows)
            promises += kept
        if "rerolling" in asked.parts:
            rows, kept = measure_rerolling(writing, archive)
            printer.rows("Rolling everything up again", rows)
            promises += kept
        if peak := stack.peak_of_ingest():
            shown = f"{peak:.0f} MB"
            promises.append(Promise("peak memory of an ingest process", shown, "under 300 MB", peak < 300))
        if "backup" in asked.parts:
            rows, kept = measure_backup(stack, turns=asked.turns)
            printer.rows("Backup and restore", rows)
            promises += kept
        printer.promises(promises)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    known = ", ".join(PARTS)
    parser.add_argument("parts", nargs="*", type=_part, metavar="part", help=f"{known}; all if none is named")
    parser.add_argument("--turns", type=int, default=3, help="how often each way of writing is measured")
    parser.add_argument(
        "--year",
        action="store_true",
        help="read from a year instead of a month; minutes to store",
    )
    parser.add_argument(
        "--home", type=Path, help="keep everything in this folder, and read what an earlier run stored there"
    )
    parser.add_argument("--markdown", action="store_true", help="print tables for the documentation")
    asked = parser.parse_args()
    asked.parts = asked.parts or PARTS
    return asked


def _part(name: str) -> str:
    if name not in PARTS:
        raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(PARTS)}")
    return name


if __name__ == "__main__":
    main()
