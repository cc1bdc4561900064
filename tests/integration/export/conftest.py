"""Fixtures for tests of exports: readings of a device of the test's own, and the same read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import psycopg
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import write_batch

Metrics = Mapping[str, Sequence[tuple[int, float]]]
"""By metric: times in microseconds since 1970 UTC, and values."""


@pytest.fixture
def put(writer: psycopg.Connection, device_id: str) -> Callable[..., None]:
    """Store readings of the test's device, or of another."""

    def put(metrics: Metrics, *, of: str = device_id) -> None:
        series = ensure_series(writer, [(of, metric) for metric in metrics])
        for metric, rows in metrics.items():
            if rows:
                time, value = zip(*rows, strict=True)
                ids = np.full(len(rows), series[of, metric], np.int32)
                write_batch(writer, Batch(ids, np.array(time, np.int64), np.array(value, np.float64)))

    return put


@pytest.fixture
def stored_bits(telemetry: dict[str, str], device_id: str) -> Callable[..., dict[tuple[str, int], bytes]]:
    """Read back what is stored for a device: {(metric, microseconds): the eight bytes of the value}."""

    def read(of: str = device_id) -> dict[tuple[str, int], bytes]:
        with psycopg.connect(telemetry["reader"]) as conn:
            found = conn.execute(
                "SELECT metric, (extract(epoch FROM time) * 1000000)::int8, float8send(value) FROM readings "
                "JOIN series ON series.id = series_id WHERE device_id = %s",
                [of],
            ).fetchall()
        return {(metric, time): bytes(value) for metric, time, value in found}

    return read
