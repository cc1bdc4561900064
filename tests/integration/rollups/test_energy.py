"""Energy and local days from rollups, against what a person computes by hand."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.history.columns import Wanted
from joulebook.telemetry.history.energy import energy_of
from joulebook.telemetry.history.points import read_points
from joulebook.telemetry.kinds.kinds import COUNTER, GAUGE
from joulebook.telemetry.kinds.settings import MetricSettings, Replacement
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.writer import write_batch

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = (
    "Europe/Berlin", "Europe/London", "America/New_York", "America/St_Johns", "America/Santiago", "Africa/Cairo",
    "Asia/Kathmandu", "Asia/Beirut", "Australia/Lord_Howe", "Australia/Adelaide", "Pacific/Chatham",
    "Pacific/Auckland",
)  # fmt: skip


@pytest.fixture
def reader(rollup_urls):
    """A connection with the rights of the web's process."""
    with psycopg.connect(rollup_urls["reader"], autocommit=True) as conn:
        yield conn


def store(database, readings: dict[datetime, float]) -> int:
    """Store readings as a new series, roll everything up, and return the series."""
    [series] = database.series()
    time = np.array([to_microseconds(at) for at in readings], np.int64)
    value = np.array(list(readings.values()), np.float64)
    for begin in range(0, len(time), 50_000):
        part = slice(begin, begin + 50_000)
        write_batch(
            database.writer, Batch(np.full(len(time[part]), series, np.int32), time[part], value[part])
        )
    database.roll_all()
    return series


def local(day: int, clock: str) -> datetime:
    """Return an instant of October 2025 by Berlin's clock, which goes back an hour on the 26th."""
    hour, minute = map(int, clock.split(":"))
    return datetime(2025, 10, day, hour, minute, tzinfo=BERLIN).astimezone(UTC)


def test_a_register_with_all_that_happens_to_registers_gives_the_energy_of_a_persons_hand(
    rollup_database, reader
):
    """Two resets, one replaced meter, one dip of 3 %, six hours of silence, and a day of 25 hours."""
    readings = {
        # The 25th: from 1000, with a dip of 3 % that is waited out: 1000 … 1040 is 40.
        local(25, "00:00"): 1000.0, local(25, "06:00"): 1010.0, local(25, "12:00"): 981.8,
        local(25, "18:00"): 1030.0, local(25, "23:00"): 1040.0,
        # The 26th has 25 hours. 1 over midnight, 10, a reset to 4, then 6 and 5: 1 + 10 + 4 + 6 + 5 = 26.
        local(26, "01:00"): 1041.0, local(26, "06:00"): 1051.0, local(26, "12:00"): 4.0, local(26, "17:00"): 10.0,
        # Six hours of silence over midnight: 5 that no day can claim. Then 7, a reset to 2, 3 more: 12.
        local(26, "23:00"): 15.0,
        local(27, "05:00"): 20.0, local(27, "10:00"): 27.0, local(27, "15:00"): 2.0, local(27, "20:00"): 5.0,
        # The 28th: 1 over midnight; the meter is replaced at noon. The old one ended at 9, the new one
        # began at 100: 9 - 6 = 3, and 104 - 100 = 4, then 6: 1 + 3 + 4 + 6 = 14.
        local(28, "00:30"): 6.0, local(28, "14:00"): 104.0, local(28, "19:00"): 110.0,
    }  # fmt: skip
    series = store(rollup_database, readings)
    meter = MetricSettings(
        "import", COUNTER, "kWh", "Import",
        replacements=(Replacement(local(28, "12:00"), final_register=9.0, start_register=100.0),),
    )  # fmt: skip
    table = energy_of(
        reader, [Wanted(series, meter, "kWh")], local(25, "00:00"), local(29, "00:00"), BERLIN,
        per="day", now=local(29, "12:00"), silence=timedelta(hours=5, minutes=45),
    )  # fmt: skip
    [column] = table.columns
    assert [datetime.fromtimestamp(at / 1e6, BERLIN).day for at in table.time] == [25, 26, 27, 28]
    assert column.energy == [Decimal(40), Decimal(26), Decimal(12), Decimal(14)]
    assert column.unallocated == [0, 0, Decimal(5), 0]
    assert column.total + column.total_unallocated == Decimal(97)


@pytest.mark.parametrize("per", ["week", "month"])
def test_weeks_months_and_totals_are_the_sums_of_their_days_to_the_last_digit(rollup_database, reader, per):
    start = datetime(2025, 10, 1, tzinfo=BERLIN)
    values = np.random.default_rng(5).uniform(0, 3000, 24 * 4 * 70)
    series = store(
        rollup_database,
        {start.astimezone(UTC) + timedelta(minutes=15 * n): value for n, value in enumerate(values)},
    )
    power = Wanted(series, MetricSettings("power", GAUGE, "W", "Power"), "kWh")
    end = datetime(2025, 12, 1, tzinfo=BERLIN)
    start = start if per == "month" else datetime(2025, 9, 29, tzinfo=BERLIN)
    whole = {"now": datetime(2026, 1, 1, tzinfo=UTC), "silence": None}
    days = energy_of(reader, [power], start, end, BERLIN, per="day", **whole)
    periods = energy_of(reader, [power], start, end, BERLIN, per=per, **whole)
    edges = [*periods.time.tolist(), to_microseconds(end)]
    for (begin, stop), energy in zip(pairwise(edges), periods.columns[0].energy, strict=True):
        inside = (days.time >= begin) & (days.time < stop)
        assert energy == sum(np.array(days.columns[0].energy)[inside])
    assert periods.columns[0].total == days.columns[0].total
    alone = energy_of(reader, [power], start, start + timedelta(days=7), BERLIN, per="day", **whole)
    assert alone.columns[0].energy == days.columns[0].energy[:7]


def test_power_counts_only_the_time_that_readings_cover(rollup_database, reader):
    """1 kW all day, a reading a minute, and nothing from 08:00 to 10:00."""
    start = datetime(2025, 6, 1, tzinfo=UTC)
    minutes = [minute for minute in range(1441) if not 480 < minute < 600]
    series = store(rollup_database, {start + timedelta(minutes=minute): 1000.0 for minute in minutes})
    power = Wanted(series, MetricSettings("power", GAUGE, "W", "Power"), "kWh")
    table = energy_of(
        reader, [power], start, start + timedelta(days=1), ZoneInfo("UTC"),
        per="day", now=start + timedelta(days=2), silence=None,
    )  # fmt: skip
    assert table.columns[0].energy == [Decimal(22)]
    assert table.columns[0].coverage == [round(22 / 24, 4)]


def clock_changes(zone: ZoneInfo) -> list[datetime]:
    """Return the hours of 2024 to 2026 at which the zone's offset changes."""
    hours = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(3 * 8766)]
    return [
        later
        for hour, later in pairwise(hours)
        if hour.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset()
    ]


@pytest.mark.parametrize("name", ZONES)
def test_local_days_around_every_clock_change_equal_the_readings(rollup_database, reader, name):
    zone = ZoneInfo(name)
    changes = clock_changes(zone) or [datetime(2025, 3, 30, 1, tzinfo=UTC)]
    rng = np.random.default_rng(len(name))
    readings: dict[datetime, float] = {}
    for change in changes:
        for minute in range(-2 * 1440, 2 * 1440, 5):
            readings[change + timedelta(minutes=minute, seconds=int(rng.integers(0, 240)))] = float(
                rng.integers(-1000, 1000)
            )
    rollup_database.owner.execute("UPDATE rollup_state SET closed_until = '2026-11-01T00:00:00Z'")
    series = store(rollup_database, readings)
    mismatched = []
    for change in changes:
        truth: dict[object, list[float]] = defaultdict(list)
        start, end = change - timedelta(hours=40), change + timedelta(hours=40)
        for at, value in readings.items():
            if start <= at < end:
                truth[at.astimezone(zone).date()].append(value)
        gauge = Wanted(series, MetricSettings("power", GAUGE, "W", "Power"), "W")
        points = read_points(reader, [gauge], start, end, zone, max_points=5)
        [column] = points.columns
        assert (points.resolution, points.source != "readings") == ("1d", True)
        days = [datetime.fromtimestamp(at / 1e6, zone).date() for at in points.time.tolist()]
        for place, day in enumerate(days):
            values = truth.get(day, [])
            if column.count[place] != len(values) or round(column.mean[place] * len(values)) != sum(values):
                mismatched.append((day, column.count[place], len(values)))
        assert set(truth) <= set(days)
    assert mismatched == []
