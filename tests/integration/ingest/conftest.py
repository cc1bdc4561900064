"""Fixtures for tests of ingest: what is stored for the device."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
"""The instant from which tests count seconds."""


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
