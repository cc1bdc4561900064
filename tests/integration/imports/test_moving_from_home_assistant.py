"""A home's history moves from Home Assistant's database, whole and exactly, and goes without a trace."""

from __future__ import annotations

import hashlib
import math
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from ...recorder_of_home_assistant import Recorder

if TYPE_CHECKING:
    from joulebook.web.devices.models import Device

Command = Callable[..., subprocess.CompletedProcess[str]]
Totals = dict[str, tuple[int, float]]

HOUR = 3600
BEGIN = 1_750_000_000 // HOUR * HOUR
STATES_BEGIN = BEGIN + 90 * 24 * HOUR + 1234.567891
"""Ninety days of statistics end where the states begin."""

METERS, LEVELS = 4, 6


@pytest.fixture
def own_device(transactional_db: None, telemetry: dict[str, str], device: Device) -> str:
    return device.device_id


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Write a home: meters and levels with statistics for 100 days and states for the last ten."""
    path = tmp_path / "home-assistant_v2.db"
    recorder = Recorder(path)
    hours = range(100 * 24)
    for number in range(METERS):
        register = {"unit_of_measurement": "kWh", "state_class": "total_increasing"}
        rows = [
            {"start": BEGIN + at * HOUR, "state": 5000 + at / 4 + number, "sum": at / 4 + 0.25}
            for at in hours
        ]
        recorder.statistics(f"sensor.energy_{number}", *rows, unit="kWh", has_sum=True)
        states = [(STATES_BEGIN + at * 60, f"{5540.5 + number + at / 64}") for at in range(2000)]
        recorder.state(f"sensor.energy_{number}", *states, **register)
    for number in range(LEVELS):
        rows = [{"start": BEGIN + at * HOUR, "mean": math.sin(at + number) * 1000} for at in hours]
        recorder.statistics(f"sensor.power_{number}", *rows, unit="W", has_sum=False)
        states = [(STATES_BEGIN + at * 30 + number / 8, f"{(at * 7 + number) % 997}.5") for at in range(4000)]
        states[100] = (states[100][0], "unavailable")
        recorder.state(f"sensor.power_{number}", *states, unit_of_measurement="W", state_class="measurement")
    recorder.state("person.alice", *((STATES_BEGIN + at, ("home", "work")[at % 2]) for at in range(9)))
    return path


def right(path: Path) -> Totals:
    """Return the number and the sum of each metric's readings, by the database itself."""
    with closing(sqlite3.connect(path)) as conn:
        rows = conn.execute(
            """
            SELECT entity_id, CAST(state AS REAL) FROM (
                SELECT states_meta.entity_id AS entity_id, state FROM states JOIN states_meta USING (metadata_id)
                WHERE state NOT IN ('unavailable', 'work', 'home')
            )
            UNION ALL
            SELECT statistic_id, coalesce(mean, state) FROM statistics
            JOIN statistics_meta ON statistics_meta.id = metadata_id
            WHERE start_ts + CASE WHEN has_sum THEN 3600 ELSE 0 END < ?
            """,
            (STATES_BEGIN,),
        ).fetchall()
    values: dict[str, list[float]] = {}
    for name, value in rows:
        values.setdefault(name.removeprefix("sensor."), []).append(value)
    values["person.alice"] = [1, 0, 1, 0, 1, 0, 1, 0, 1][::2]
    return {metric: (len(found), math.fsum(found)) for metric, found in values.items()}


def stored(url: str, device_id: str) -> Totals:
    with psycopg.connect(url) as conn:
        rows = conn.execute(
            "SELECT metric, array_agg(value) FROM readings JOIN series ON series.id = series_id "
            "WHERE device_id = %s GROUP BY metric",
            (device_id,),
        ).fetchall()
    return {metric: (len(values), math.fsum(values)) for metric, values in rows}


def test_a_home_moves_with_counts_and_sums_equal_and_is_undone_without_a_trace(
    joulebook: Command, own_device: str, telemetry: dict[str, str], database: Path
) -> None:
    before = hashlib.sha256(database.read_bytes()).digest()
    looked = joulebook("import", str(database), "--device", own_device, "--dry-run")
    assert "entities" in looked.stdout
    assert "11 of 11" in looked.stdout
    done = joulebook("import", str(database), "--device", own_device)
    truth = right(database)
    assert stored(telemetry["reader"], own_device) == truth
    assert sum(count for count, _ in truth.values()) > 50_000
    # The words of a person elsewhere are listed, not lost without a sign.
    assert done.returncode == 3, done.stderr
    assert "4 malformed" in done.stdout
    number = int(
        joulebook("imports", "list", "--device", own_device, "--json").stdout.split('"id": ')[1].split(",")[0]
    )
    undone = joulebook("imports", "undo", str(number), "--user", "alice")
    assert undone.returncode == 0, undone.stderr
    assert stored(telemetry["reader"], own_device) == {}
    assert hashlib.sha256(database.read_bytes()).digest() == before


def test_chosen_entities_move_alone(
    joulebook: Command, own_device: str, telemetry: dict[str, str], database: Path
) -> None:
    others = [f"energy_{n}=" for n in range(1, METERS)] + [f"power_{n}=" for n in range(LEVELS)]
    options = [
        word for name in [*others, "energy_0=grid.energy", "person.alice="] for word in ("--map", name)
    ]
    done = joulebook("import", str(database), "--device", own_device, *options)
    assert done.returncode == 0, done.stderr
    assert stored(telemetry["reader"], own_device) == {"grid.energy": right(database)["energy_0"]}
