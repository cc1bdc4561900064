"""How long rolling everything up again takes, alone and beside devices that write."""

from __future__ import annotations

from benchmarks.archive import END, Archive
from benchmarks.load import start_sending
from benchmarks.rolling import READINGS_A_SECOND, writing_plan
from benchmarks.stack import Stack
from benchmarks.table import Promise, Row
from benchmarks.writing import Writing
from joulebook.telemetry.connection import connect
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.rollups.status import mark_for_rebuild


def measure_rerolling(writing: Writing, archive: Archive) -> tuple[list[Row], list[Promise]]:
    """Roll the archive up again, then again while devices write; it is stored where it is not yet."""
    stack = writing.stack
    archive.store(stack)
    stack.roll_up()
    writing.json("ingest", single=True)  # its connection to the database is there from now on
    _mark(stack, archive)
    alone = stack.roll_up()
    readings = archive.days * (86_400 + 288 * archive.neighbours)
    plan, sent = writing_plan(writing)
    _mark(stack, archive)
    stack.start_worker()
    load = start_sending(plan)()
    kept = load.rate * sent / READINGS_A_SECOND
    stack.roll_up()
    rows = [
        Row(
            "rolling up again",
            f"{alone:.1f} s",
            f"{readings / alone:,.0f}/s",
            f"{readings:,} readings, alone",
        ),
        Row("writes beside it", f"{load.percentile(95):,.1f} ms p95", f"{kept:.2f}", "of the rate asked"),
    ]
    return rows, [Promise("writes beside rolling up again", f"{kept:.2f}", "at least 0.95", kept >= 0.95)]


def _mark(stack: Stack, archive: Archive) -> None:
    """Mark the time of the archive to be rolled up again, as `joulebook rollups rebuild` does."""
    with connect(stack.writer_url) as conn:
        mark_for_rebuild(conn, to_microseconds(archive.begin), to_microseconds(END))
