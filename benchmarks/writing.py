"""How fast readings are stored: by bare COPY, over HTTP, from a file, and by Django's bulk_create."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import numpy as np

from benchmarks.load import post_all
from benchmarks.stack import Stack
from benchmarks.table import Row
from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import connect
from joulebook.telemetry.series import ensure_series

DEVICES = 50
METRICS = tuple(f"metric_{number}" for number in range(10))
SECONDS = 1_000
READINGS = DEVICES * len(METRICS) * SECONDS
PACKETS_A_REQUEST = 100
SINGLE_REQUESTS = 40_000

_COPY = "COPY readings (time, value, series_id, import_id) FROM STDIN (FORMAT BINARY)"


def start_of(day: int) -> datetime:
    """Return a day that no other measurement writes to, so that none meets another's keys."""
    return datetime(2026, 2, 1, tzinfo=UTC) + timedelta(days=day)


def measure_writing(stack: Stack) -> list[Row]:
    """Measure each way twice, in turns, and take the better of the two."""
    devices = [f"device_{number}" for number in range(DEVICES)]
    for device_id in devices:
        stack.add_device(device_id)
    with connect(stack.writer_url) as conn:
        series = ensure_series(conn, [(device_id, metric) for device_id in devices for metric in METRICS])
    ids = np.array(list(series.values()), np.int32)
    bare, http, single, naive = [], [], [], []
    for turn in range(2):
        bare.append(_bare_copy(stack, ids, day=3 * turn))
        http.append(_http(stack, day=3 * turn + 1))
        single.append(_single(stack, day=3 * turn + 2))
        naive.append(_bulk_create(ids, day=20 + turn))
    best = max(bare)
    return [
        Row("bare binary COPY, batches of 10,000", f"{best:,.0f} readings/s", "1.00", "the reference"),
        Row(
            "HTTP, 1,000 readings a request",
            f"{max(http):,.0f} readings/s",
            f"{max(http) / best:.2f}",
            "of bare COPY, at least 0.5",
        ),
        Row(
            "HTTP, 1 reading a request", f"{max(single):,.0f} requests/s", "", "64 connections, after commit"
        ),
        Row(
            "Django bulk_create(1000)",
            f"{max(naive):,.0f} readings/s",
            f"{max(naive) / best:.2f}",
            "of bare COPY, the naive way",
        ),
    ]


def _bare_copy(stack: Stack, ids: np.ndarray, *, day: int) -> float:
    """Store the same readings as `_http` in the order in which its requests carry them."""
    start = int(start_of(day).timestamp()) * 1_000_000
    second = np.repeat(np.arange(SECONDS, dtype=np.int64), len(METRICS))
    order = np.concatenate(
        [
            np.arange(device * len(second), (device + 1) * len(second)).reshape(
                -1, PACKETS_A_REQUEST * len(METRICS)
            )
            for device in range(DEVICES)
        ],
        axis=1,
    ).ravel()
    batch = Batch(
        series_id=np.tile(ids.reshape(DEVICES, 1, len(METRICS)), (1, SECONDS, 1)).ravel()[order],
        time=start + np.tile(second, DEVICES)[order] * 1_000_000,
        value=np.random.default_rng(1).normal(500, 100, READINGS).round(2),
    )
    parts = [batch.take(slice(first, first + 10_000)) for first in range(0, READINGS, 10_000)]
    with connect(stack.writer_url) as conn:
        begin = time.perf_counter()
        for part in parts:
            with conn.cursor() as cursor, cursor.copy(_COPY) as copy:
                copy.write(part.copy_bytes(import_id=0))
        return READINGS / (time.perf_counter() - begin)


def _http(stack: Stack, *, day: int) -> float:
    start = start_of(day)
    value = np.random.default_rng(2).normal(500, 100, READINGS).round(2).tolist()
    numbers = iter(value)
    requests = []
    for first in range(0, SECONDS, PACKETS_A_REQUEST):
        for token in stack.device_tokens.values():
            packets = [
                {"timestamp": (start + timedelta(seconds=second)).isoformat()}
                | {metric: next(numbers) for metric in METRICS}
                for second in range(first, first + PACKETS_A_REQUEST)
            ]
            requests.append((token, json.dumps(packets).encode()))
    return post_all(stack.ingest_port, "/api/readings", requests, connections=16).rate * 1_000


def _single(stack: Stack, *, day: int) -> float:
    start = start_of(day)
    tokens = list(stack.device_tokens.values())
    requests = [
        (
            tokens[number % DEVICES],
            b'{"timestamp":"%s","metric_0":%d}'
            % ((start + timedelta(seconds=number // DEVICES)).isoformat().encode(), number),
        )
        for number in range(SINGLE_REQUESTS)
    ]
    return post_all(stack.ingest_port, "/api/readings", requests, connections=64).rate


def _bulk_create(ids: np.ndarray, *, day: int) -> float:
    from django.db import connections

    from joulebook.web.readings.models import Reading

    start = start_of(day)
    rows = [
        Reading(
            time=start + timedelta(seconds=second), value=float(second), series_id=int(number), import_id=0
        )
        for second in range(100)
        for number in ids
    ]
    begin = time.perf_counter()
    Reading.objects.using("telemetry_writer").bulk_create(rows, batch_size=1000)
    rate = len(rows) / (time.perf_counter() - begin)
    connections["telemetry_writer"].close()
    return rate
