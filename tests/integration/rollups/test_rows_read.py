"""What an answer costs: only the chunks of its range are touched, and no more rows than it is made of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.history.columns import Wanted
from joulebook.telemetry.history.points import read_points
from joulebook.telemetry.kinds.kinds import GAUGE
from joulebook.telemetry.kinds.settings import MetricSettings
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.writer import write_batch

START = datetime(2024, 1, 1, tzinfo=UTC)
WEEKS = 80


@pytest.fixture
def archive(rollup_database) -> int:
    """Eighty weeks of a reading every five minutes, and a day with one every second; rolled up.

    Beside it lie series of which there is no reason to read anything, as in every home.
    """
    series, other, *slow = rollup_database.series(6)
    every = np.arange(WEEKS * 7 * 288, dtype=np.int64) * 300
    dense = np.arange(86_400, dtype=np.int64) + WEEKS * 7 * 86_400
    for number, seconds in (
        (series, np.concatenate([every, dense])),
        (other, every),
        *((number, every[::12]) for number in slow),
    ):
        time = to_microseconds(START) + seconds * 1_000_000
        for begin in range(0, len(time), 50_000):
            part = time[begin : begin + 50_000]
            write_batch(
                rollup_database.writer,
                Batch(np.full(len(part), number, np.int32), part, np.ones(len(part))),
            )
    rollup_database.owner.execute("UPDATE rollup_state SET closed_until = '2026-01-01T00:00:00Z'")
    rollup_database.roll_all()
    rollup_database.owner.execute("ANALYZE")
    return series


@pytest.fixture
def plans(rollup_urls) -> Iterator[tuple[psycopg.Connection, list[dict[str, Any]]]]:
    """A reader's connection, and the plans of what it runs, with rows as they were read."""
    found: list[dict[str, Any]] = []
    with psycopg.connect(rollup_urls["superuser"], autocommit=True) as conn:
        conn.execute("LOAD 'auto_explain'")
        conn.execute("SET auto_explain.log_min_duration = 0")
        conn.execute("SET auto_explain.log_analyze = on")
        conn.execute("SET auto_explain.log_format = json")
        conn.execute("SET client_min_messages = log")
        conn.add_notice_handler(lambda notice: found.append(notice.message_primary))
        yield conn, found


def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every scan of a table in a plan."""
    if "Relation Name" in plan:
        yield plan
    for child in plan.get("Plans", []):
        yield from scans(child)


def read_rows(messages: list[str]) -> dict[str, float]:
    """Return the rows that were read by table, chunks under their hypertable's name and number."""
    rows: dict[str, float] = {}
    for message in messages:
        if "plan:" not in message:
            continue
        for scan in scans(json.loads(message.split("plan:", 1)[1])["Plan"]):
            name = scan["Relation Name"]
            read = (scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)) * scan["Actual Loops"]
            rows[name] = rows.get(name, 0) + read
    return rows


def test_an_answer_reads_the_chunks_of_its_range_and_the_rows_it_is_made_of(archive, plans):
    conn, messages = plans
    end = START + timedelta(weeks=WEEKS, days=1)
    wanted = [Wanted(archive, MetricSettings("power", GAUGE, "W", "Power"), "W")]
    owner = dict(
        conn.execute("SELECT chunk_name, hypertable_name FROM timescaledb_information.chunks").fetchall()
    )
    for length, source, table_rows, chunks in (
        (timedelta(minutes=10), "readings", 600, 1),
        (timedelta(hours=24), "readings_5m", 288, 1),
        (timedelta(days=30), "readings_1h", 720, 2),
        (timedelta(days=365), "readings_1h", 8760, 2),
    ):
        messages.clear()
        points = read_points(conn, wanted, end - length, end, ZoneInfo("UTC"), max_points=750)
        assert points.source == source
        read = {name: rows for name, rows in read_rows(messages).items() if name in owner}
        of_source = {name: rows for name, rows in read.items() if owner[name] == source}
        others = sum(rows for name, rows in read.items() if owner[name] != source)
        assert 1 <= len(of_source) <= chunks
        # Whether readings are few enough is found by reading one more than the points; six readings on each
        # side of the range decide which of its time is known.
        assert sum(of_source.values()) <= table_rows + 751 + 12
        assert others <= 751 + 12
