"""Runs the measurements in one go and prints their tables."""

from __future__ import annotations

import argparse
import os

from benchmarks.files import measure_import
from benchmarks.influxd import running_influxd
from benchmarks.reading import measure_reading
from benchmarks.stack import running_stack
from benchmarks.table import Printer
from benchmarks.writing import measure_writing

PARTS = ("writing", "files", "reading")


def main() -> None:
    """Measure on a Joulebook of the run's own, beside InfluxDB where it is installed."""
    asked = _asked()
    printer = Printer(markdown=asked.markdown)
    with running_stack() as stack, running_influxd() as influxd:
        if "writing" in asked.parts:
            rows, promises = measure_writing(stack, influxd, turns=asked.turns)
            printer.rows(f"Writing ({os.cpu_count()} cores, load beside it)", rows)
            printer.promises(promises)
        if "files" in asked.parts:
            printer.rows("Files", measure_import(stack))
        if "reading" in asked.parts:
            printer.rows("Reading", measure_reading(stack))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=PARTS, default=PARTS, help="what to measure; all if none")
    parser.add_argument("--turns", type=int, default=3, help="how often each way of writing is measured")
    parser.add_argument("--markdown", action="store_true", help="print tables for the documentation")
    return parser.parse_args()


if __name__ == "__main__":
    main()
