"""The blocks in which readings leave the database: complete, in order, bounded, and of one snapshot."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from itertools import pairwise

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulebook.telemetry.connection import connect
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.export.reading import Block, extent, read_blocks
from joulebook.telemetry.readings import MICROSECONDS
from joulebook.telemetry.series import series_by_metric

NOON = 1_772_366_400 * MICROSECONDS
"""2026-03-01T12:00:00Z"""
DAY = 86_400 * MICROSECONDS


def series_ids(conn: psycopg.Connection, device_id: str) -> dict[str, int]:
    return {metric: row.id for metric, row in series_by_metric(conn, device_id).items()}


@pytest.fixture
def reader(telemetry: dict[str, str]) -> Iterator[psycopg.Connection]:
    with connect(telemetry["reader"]) as conn:
        yield conn


def bits_of(blocks: list[Block], metrics: list[str]) -> dict[tuple[str, int], bytes]:
    found = [
        ((metrics[metric], time), struct.pack(">d", value))
        for block in blocks
        for time, metric, value in zip(
            block.time.tolist(), block.metric.tolist(), block.value.tolist(), strict=True
        )
    ]
    assert len(found) == len(dict(found))
    return dict(found)


def test_readings_come_whole_in_the_order_of_time_and_in_blocks_of_the_asked_size(
    put: Callable[..., None], reader: psycopg.Connection, device_id: str, stored_bits: Callable[..., object]
) -> None:
    # One metric a hundred times as often as another, one that wakes up late, years without any.
    put(
        {
            "fast": [(NOON + n * MICROSECONDS // 10, n / 3) for n in range(6000)],
            "slow": [(NOON + n * 10 * MICROSECONDS, -float(n)) for n in range(60)],
            "late": [(NOON + 500 * MICROSECONDS + n, float(n)) for n in range(3000)],
            "old": [(NOON - 5000 * DAY, 1.0), (NOON + 200 * DAY, 2.0)],
        }
    )
    series = series_ids(reader, device_id)
    assert list(series) == ["fast", "late", "old", "slow"]
    blocks = list(read_blocks(reader, series, block_readings=1000))
    assert bits_of(blocks, list(series)) == stored_bits()
    rows = [
        (time, metric)
        for b in blocks
        for time, metric in zip(b.time.tolist(), b.metric.tolist(), strict=True)
    ]
    assert rows == sorted(rows)
    assert max(map(len, blocks)) <= 1000 + 4 * 100
    assert len(blocks) < 60
    assert all(a.until <= b.time[0] for a, b in pairwise(blocks))


def test_a_range_is_half_open_and_only_its_readings_come(
    put: Callable[..., None], reader: psycopg.Connection, device_id: str
) -> None:
    put({"power": [(NOON + n, float(n)) for n in range(10)]})
    series = series_ids(reader, device_id)
    (block,) = read_blocks(reader, series, begin=NOON + 2, end=NOON + 5)
    assert (block.time - NOON).tolist() == [2, 3, 4]
    assert extent(reader, list(series.values()), NOON + 2, NOON + 5) == (NOON + 2, NOON + 5)
    assert list(read_blocks(reader, series, begin=NOON + 20)) == []
    assert list(read_blocks(reader, {})) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pace=st.lists(st.integers(1, 40 * DAY), min_size=1, max_size=60),
    metrics=st.lists(st.sampled_from("abc"), min_size=1, max_size=60),
    size=st.integers(1, 50),
)  # fmt: skip
def test_whatever_the_paces_nothing_is_lost_or_doubled_at_the_seams(
    telemetry: dict[str, str], pace: list[int], metrics: list[str], size: int
) -> None:
    """The rows live in a transaction that is rolled back, on the owner's connection."""
    with psycopg.connect(telemetry["owner"], autocommit=False) as conn:
        series = {
            metric: conn.execute(
                "INSERT INTO series (device_id, metric) VALUES ('seams', %s) RETURNING id", [metric]
            ).fetchone()[0]  # type: ignore[index]
            for metric in "abc"
        }
        time = 0
        expected = {}
        for step, metric in zip(pace, metrics, strict=False):
            time += step
            expected[metric, time] = struct.pack(">d", time / 7)
            conn.execute(
                "INSERT INTO readings (time, value, series_id) VALUES "
                "(TIMESTAMPTZ 'epoch' + %s * INTERVAL '1 microsecond', %s, %s)",
                [time, time / 7, series[metric]],
            )
        blocks = list(read_blocks(conn, series, block_readings=size))
        conn.rollback()
    assert bits_of(blocks, list("abc")) == expected


def test_what_is_written_meanwhile_is_not_seen(
    put: Callable[..., None], reader: psycopg.Connection, device_id: str
) -> None:
    put({"power": [(NOON + n, 1.0) for n in range(1000)]})
    blocks = read_blocks(reader, series_ids(reader, device_id), block_readings=100)
    first = next(blocks)
    put({"power": [(NOON + n, 2.0) for n in range(1000, 2000)]})
    assert len(first) + sum(map(len, blocks)) == 1000
    assert reader.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_leaving_early_ends_the_snapshot(
    put: Callable[..., None], reader: psycopg.Connection, device_id: str
) -> None:
    put({"power": [(NOON + n, 1.0) for n in range(1000)]})
    blocks = read_blocks(reader, series_ids(reader, device_id), block_readings=100)
    next(blocks)
    assert reader.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
    blocks.close()  # type: ignore[attr-defined]
    assert reader.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_a_statement_that_takes_too_long_ends_the_export_with_a_word(
    put: Callable[..., None], reader: psycopg.Connection, device_id: str
) -> None:
    put({"power": [(NOON + n, 1.0) for n in range(50_000)]})
    series = series_ids(reader, device_id)
    reader.execute("SET statement_timeout = '1ms'")
    with pytest.raises(DatabaseUnavailable, match="statement timeout"):
        list(read_blocks(reader, series))
    reader.execute("RESET statement_timeout")
    assert reader.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_chunks_outside_of_the_range_are_not_read(
    put: Callable[..., None], telemetry: dict[str, str], reader: psycopg.Connection, device_id: str
) -> None:
    from joulebook.telemetry.export import reading
    from joulebook.telemetry.readings import from_microseconds

    put({"power": [(NOON + n * 7 * DAY, 1.0) for n in range(20)]})
    (series,) = series_ids(reader, device_id).values()
    limits = {
        "series": [series],
        "most": [1000],
        "begin": from_microseconds(NOON),
        "end": from_microseconds(NOON + DAY),
    }
    with psycopg.ClientCursor(reader) as cursor:
        cursor.execute("EXPLAIN " + reading._BLOCK.format(source=reading._SOURCES["original"]), limits)
        plan = "\n".join(row[0] for row in cursor)
    assert plan.count("_hyper_") <= 2, plan
