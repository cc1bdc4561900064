"""Runs every measurement in one go and prints the tables."""

from __future__ import annotations

import os

from benchmarks.files import measure_import
from benchmarks.reading import measure_reading
from benchmarks.stack import Stack, running_stack
from benchmarks.table import print_rows
from benchmarks.writing import measure_writing


def main() -> None:
    """Measure writing, files and reading on a Joulebook of the run's own."""
    with running_stack() as stack:
        _prepare_django(stack)
        print_rows(f"Writing ({os.cpu_count()} cores, load beside it)", measure_writing(stack))
        print_rows("Files", measure_import(stack))
        print_rows("Reading", measure_reading(stack))


def _prepare_django(stack: Stack) -> None:
    """Load Django with one more alias, for the naive way of writing that is measured for comparison."""
    import django
    from django.conf import settings

    from joulebook.web.databases import database_from_url

    settings.DATABASES["telemetry_writer"] = database_from_url(stack.writer_url)
    django.setup()


if __name__ == "__main__":
    main()
