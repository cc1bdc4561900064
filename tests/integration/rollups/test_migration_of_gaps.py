"""The migration that lets rollups know gaps: old rows stay where readings are gone, all others are made again."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.history.columns import Wanted
from joulebook.telemetry.history.energy import energy_of
from joulebook.telemetry.kinds.kinds import GAUGE
from joulebook.telemetry.kinds.settings import MetricSettings
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.rollups.status import read_rollups_status
from joulebook.telemetry.writer import write_batch

from .test_migration_of_imports import migrate

START = datetime(2025, 12, 1, tzinfo=UTC)
BEFORE = "0011_corrections"
POWER = MetricSettings("power", GAUGE, "W", "Power")


@pytest.fixture
def reader(rollup_urls):
    """A connection with the rights of the web's process."""
    with psycopg.connect(rollup_urls["reader"], autocommit=True) as conn:
        yield conn


@pytest.fixture
def meter(rollup_database) -> int:
    """Two days of 1 kW and -1 kW in turns of an hour every ten minutes; on the second, five hours are missing."""
    [series] = rollup_database.series()
    minutes = np.array([minute for minute in range(0, 2880, 10) if not 2000 < minute < 2300])
    time = to_microseconds(START) + minutes * 60_000_000
    value = np.where(minutes // 60 % 2, -1000.0, 1000.0)
    write_batch(rollup_database.writer, Batch(np.full(len(time), series, np.int32), time, value))
    rollup_database.roll_all()
    return series


def days(reader, series: int) -> tuple[list[float], list[float], list[float]]:
    """Return energy, energy in and coverage of the two days in kWh."""
    table = energy_of(
        reader, [Wanted(series, POWER, "kWh")], START, START + timedelta(days=2), ZoneInfo("UTC"),
        per="day", now=START + timedelta(days=9), silence=None,
    )  # fmt: skip
    [column] = table.columns
    return (
        [float(each) for each in column.energy],
        [float(each) for each in column.energy_in or ()],
        column.coverage,
    )


def test_an_upgraded_database_answers_right_at_once_and_is_rolled_up_again(rollup_database, reader, meter):
    right = days(reader, meter)
    migrate(BEFORE)
    migrate()
    status = read_rollups_status(reader)
    assert status.to_roll
    assert status.rolled_share < 0.5
    assert days(reader, meter) == right
    rollup_database.roll_all()
    assert read_rollups_status(reader).rolled_share == 1.0
    assert rollup_database.differing() == []
    assert days(reader, meter) == right


def test_time_without_readings_keeps_its_rows_and_says_what_these_can(rollup_database, reader, meter):
    right = days(reader, meter)
    migrate(BEFORE)
    rollup_database.owner.execute("DELETE FROM readings")
    rollup_database.owner.execute(
        "UPDATE rollup_state SET readings_kept_from = '2026-01-01', writable_from = '2026-01-01'"
    )
    migrate()
    rollup_database.roll_all()
    energy, into, coverage = days(reader, meter)
    # Each row's readings are taken to be even: here they are, so all is as before.
    assert energy == pytest.approx(right[0])
    assert into == pytest.approx(right[1])
    assert coverage == right[2]
    assert all(map(math.isfinite, energy))
