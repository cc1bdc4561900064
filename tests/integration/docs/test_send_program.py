"""The program of docs/how-to/send-readings.md keeps the client's rule against a real ingest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ...conftest import Service, free_port
from ...docs_pages import REPOSITORY, blocks

PACKETS = [{"timestamp": f"2026-11-21T10:00:0{second}Z", "power": 900.0 + second} for second in range(8)]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The program, as somebody would copy it from the page."""
    page = (REPOSITORY / "docs" / "how-to" / "send-readings.md").read_text()
    (found,) = [block for block in blocks(page) if block.note == "send.py"]
    file = tmp_path / "send.py"
    file.write_text(found.text)
    return file


@pytest.fixture
def strict_ingest(telemetry: dict[str, str]) -> Iterator[Service]:
    """An ingest, not started yet, that takes at most three readings a request."""
    service = Service("ingest", free_port(), {"JOULEBOOK_INGEST_MAX_READINGS": "3"})
    yield service
    service.stop()


def start(program: Path, service: Service, token: str) -> subprocess.Popen[str]:
    """Start the program."""
    return subprocess.Popen(
        [sys.executable, str(program)],
        env={**os.environ, "TOKEN": token, "INGEST_URL": f"{service.url}/api/readings"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines(packets: list[dict[str, object]]) -> str:
    return "".join(json.dumps(packet) + "\n" for packet in packets)


def stored(telemetry: dict[str, str], device_id: str) -> list[float]:
    """Return the values of the device's power, by time."""
    with psycopg.connect(telemetry["reader"]) as conn:
        found = conn.execute(
            "SELECT value FROM readings JOIN series ON id = series_id"
            " WHERE device_id = %s AND metric = 'power' ORDER BY time",
            [device_id],
        ).fetchall()
    return [value for (value,) in found]


def test_it_waits_for_an_ingest_that_is_away_and_splits_what_is_too_large(
    program: Path, strict_ingest: Service, telemetry: dict[str, str], device_token: str, device_id: str
) -> None:
    with start(program, strict_ingest, device_token) as sender:
        assert sender.stdin is not None
        assert sender.stderr is not None
        sender.stdin.write(lines(PACKETS))
        sender.stdin.close()
        assert "will try again" in sender.stderr.readline()
        strict_ingest.start(path="/readyz")
        assert sender.wait(timeout=60) == 0
    assert stored(telemetry, device_id) == [packet["power"] for packet in PACKETS]


def test_it_passes_over_what_is_refused_for_good(
    program: Path, ingest: Service, telemetry: dict[str, str], device_token: str, device_id: str
) -> None:
    packets = [PACKETS[0], {"timestamp": "2026-11-21T10:00:01", "power": 1.0}, PACKETS[2]]
    with start(program, ingest, device_token) as sender:
        _, errors = sender.communicate(lines(packets), timeout=60)
    assert sender.returncode == 0
    assert "time_ambiguous" in errors
    assert stored(telemetry, device_id) == [900.0, 902.0]


def test_a_wrong_token_stops_it_and_discards_nothing_as_done(
    program: Path, ingest: Service, telemetry: dict[str, str], device_token: str, device_id: str
) -> None:
    with start(program, ingest, device_token + "x") as sender:
        output, errors = sender.communicate(lines(PACKETS), timeout=60)
    assert sender.returncode == 1
    assert output == ""
    assert "somebody must look at it" in errors
    assert stored(telemetry, device_id) == []
