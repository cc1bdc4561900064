"""How fast history answers: the seeds' three views over HTTP, through Django and its gate."""

from __future__ import annotations

import time
from datetime import timedelta

import httpx
import numpy as np

from benchmarks.stack import Stack
from benchmarks.table import Row
from benchmarks.writing import start_of
from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import connect
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import write_batch

DEVICE = "history_device"
DAYS = 30
END = start_of(60)
VIEWS = {
    "10 minutes": timedelta(minutes=10),
    "1 hour": timedelta(hours=1),
    "24 hours": timedelta(hours=24),
    "30 days": timedelta(days=30),
}


def measure_reading(stack: Stack) -> list[Row]:
    """Ask for each view of a device with 30 days at 1 Hz twenty times."""
    store_month(stack)
    rows: list[Row] = []
    reference = 0.0
    with httpx.Client(headers={"Authorization": f"Bearer {stack.user_token}"}, timeout=60) as client:
        for name, length in VIEWS.items():
            query = {"start": (END - length).isoformat(), "end": END.isoformat()}
            took, points = [], 0
            for _ in range(20):
                begin = time.perf_counter()
                answer = client.get(f"{stack.web.url}/api/history/{DEVICE}", params=query)
                took.append(time.perf_counter() - begin)
                answer.raise_for_status()
                points = answer.json()["points"]
            median = float(np.median(took))
            reference = reference or median
            rows.append(
                Row(
                    f"history, {name}",
                    f"{median * 1000:,.1f} ms p50",
                    f"{median / reference:.1f}",
                    f"{points} points; of the 10-minute view",
                )
            )
    return rows


def store_month(stack: Stack) -> None:
    """Store 30 days at 1 Hz, where they are not stored yet."""
    if DEVICE in stack.device_tokens:
        return
    stack.add_devices([DEVICE])
    seconds = DAYS * 86_400
    start = int((END - timedelta(seconds=seconds)).timestamp())
    time_column = (start + np.arange(seconds, dtype=np.int64)) * 1_000_000
    value = np.random.default_rng(3).normal(500, 100, seconds).round(1)
    with connect(stack.writer_url) as conn:
        series = ensure_series(conn, [(DEVICE, "power")])[DEVICE, "power"]
        for first in range(0, seconds, 100_000):
            rows = slice(first, first + 100_000)
            part = time_column[rows]
            write_batch(conn, Batch(np.full(len(part), series, np.int32), part, value[rows]))
