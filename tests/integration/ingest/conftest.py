"""Fixtures for tests of ingest: what is stored for the device."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import psycopg
import pytest

from ...conftest import Service

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
"""The instant from which tests count seconds."""


def until(condition: Callable[[], bool], *, what: str, seconds: float = 60) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def until_waiting(service: Service, readings: int) -> None:
    """Wait until so many readings wait for their commit."""

    def are_waiting() -> bool:
        text = httpx.get(f"{service.url}/metrics").text
        return (
            float(re.findall(r"^joulebook_ingest_queue_readings\{.*\} (.*)$", text, re.MULTILINE)[0])
            >= readings
        )

    until(are_waiting, what=f"{readings} readings do not wait")


def until_stopping(service: Service) -> None:
    """Wait until an ingest says that it is stopping."""
    until(lambda: httpx.get(f"{service.url}/readyz").status_code == 503, what="it goes on")


@pytest.fixture
def stored(telemetry, device_id):
    """Read back what is stored for the device: {(metric, seconds after T0): value}."""

    def read(of: str = device_id) -> dict[tuple[str, float], float]:
        with psycopg.connect(telemetry["reader"]) as conn:
            # Other tests have left chunks of all kinds of years, and these readings may be of any time.
            conn.execute("SET statement_timeout = 0")
            found = conn.execute(
                "SELECT metric, extract(epoch FROM time - %s)::float8, value FROM readings "
                "JOIN series ON series.id = series_id WHERE device_id = %s",
                [T0, of],
            ).fetchall()
        assert len({row[:2] for row in found}) == len(found)
        return {(metric, second): value for metric, second, value in found}

    return read
