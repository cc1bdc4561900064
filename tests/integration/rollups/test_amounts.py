"""Amounts per interval: sums by bucket and day, at the edges of buckets too, from readings and from rollups."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulebook.telemetry.history.columns import Wanted
from joulebook.telemetry.history.energy import energy_of
from joulebook.telemetry.history.points import read_points
from joulebook.telemetry.kinds.kinds import AMOUNT, GAUGE
from joulebook.telemetry.kinds.settings import MetricSettings
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds
from joulebook.telemetry.writer import write_batch

from .answer_truth import bucket_of
from .test_answers import SECONDS, ZONES
from .test_energy import BERLIN, store
from .test_roller import CLOSED, MIDNIGHT, batch


@pytest.fixture
def reader(rollup_urls):
    """A connection with the rights of the web's process."""
    with psycopg.connect(rollup_urls["reader"], autocommit=True) as conn:
        yield conn


def amount(series: int, **more: object) -> Wanted:
    return Wanted(series, MetricSettings("import", AMOUNT, "kWh", "Import", **more), "kWh")


# Readings every quarter of an hour, now and then at any second, and some of them negative.
READINGS = st.dictionaries(
    st.one_of(st.integers(0, 60).map(lambda quarter: 900 * quarter), st.integers(0, 54_000)),
    st.one_of(st.integers(-4, 9).map(float), st.sampled_from([1e20, 0.1, 3.4e38])),
    min_size=1,
    max_size=80,
)
QUESTIONS = st.fixed_dictionaries(
    {
        "start": st.one_of(st.integers(-600, 50_000), st.integers(-2, 50).map(lambda quarter: 900 * quarter)),
        "length": st.one_of(st.integers(1, 60_000), st.sampled_from([3600, 10_800, 43_200, 86_400])),
        "max_points": st.sampled_from([2, 3, 10, 40]),
        "zone": st.sampled_from(ZONES),
    }
)


@pytest.mark.timeout(900)
@given(
    READINGS, st.integers(0, 900), st.booleans(), st.booleans(), st.lists(QUESTIONS, min_size=1, max_size=4)
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sums_and_largest_amounts_of_any_buckets_are_those_of_their_readings(
    rollup_database, reader, readings, closed, covers_before, is_retained, questions
):
    database = rollup_database
    [series] = database.series()
    database.reopen(CLOSED + timedelta(minutes=closed))
    write_batch(database.writer, batch(series, *sorted(readings.items())))
    database.roll_all()
    for asked in questions:
        start = CLOSED + timedelta(seconds=asked["start"])
        end = start + timedelta(seconds=asked["length"])
        zone = ZoneInfo(asked["zone"])
        wanted = amount(series, covers_before=covers_before)
        points = read_points(reader, [wanted], start, end, zone, max_points=asked["max_points"])
        if points.resolution == "raw":
            continue
        expected = defaultdict(list)
        for second, value in readings.items():
            instant = MIDNIGHT + second * MICROSECONDS - covers_before
            if to_microseconds(start) <= instant < to_microseconds(end):
                expected[bucket_of(instant, SECONDS[points.resolution], zone)].append(value)
        [column] = points.columns
        assert expected.keys() <= set(points.time.tolist())
        for place, begin in enumerate(points.time.tolist()):
            values = expected.get(begin, [])
            assert column.count[place] == len(values)
            scale = sum(map(abs, values))
            assert math.isclose(column.more.sum[place], math.fsum(values), abs_tol=1e-12 * scale)
            if values:
                assert column.more.largest[place] == max(values)


def quarters_of_a_month() -> dict[datetime, float]:
    """Return kWh per quarter hour of October 2025 by Berlin's clock, each day's amount told by its number."""
    begin, end = datetime(2025, 10, 1, tzinfo=BERLIN), datetime(2025, 11, 1, tzinfo=BERLIN)
    found = {}
    instant = begin.astimezone(UTC)
    while instant < end.astimezone(UTC):
        found[instant] = instant.astimezone(BERLIN).day / 100
        instant += timedelta(minutes=15)
    return found


@pytest.mark.parametrize("covers_before", [False, True])
@pytest.mark.parametrize("per", ["day", "month"])
def test_quarter_hours_add_up_by_local_day_and_month_whichever_side_of_their_times_they_cover(
    rollup_database, reader, covers_before, per
):
    quarters = quarters_of_a_month()
    shift = timedelta(minutes=15) if covers_before else timedelta()
    series = store(rollup_database, {at + shift: value for at, value in quarters.items()})
    rollup_database.roller.close(datetime(2025, 12, 1, tzinfo=UTC))
    rollup_database.roll_all()
    start, end = datetime(2025, 9, 1, tzinfo=BERLIN), datetime(2025, 12, 1, tzinfo=BERLIN)
    table = energy_of(
        reader, [amount(series, covers_before=covers_before)], start.astimezone(UTC), end.astimezone(UTC), BERLIN,
        per=per, now=datetime(2026, 1, 1, tzinfo=UTC), silence=None,
    )  # fmt: skip
    [column] = table.columns
    if per == "month":
        # 31 days of 96 quarters, and one hour more on the 26th.
        assert column.energy == [0, Decimal("0.96") * 496 + Decimal("0.26") * 4, 0]
    else:
        days = [Decimal(day) * 96 / 100 for day in range(1, 32)]
        days[25] += Decimal("0.26") * 4
        assert column.energy == [0] * 30 + days + [0] * 30
    assert column.unallocated == [0] * len(column.energy)


@pytest.mark.parametrize(("covers_before", "factor"), [(False, 1.0), (True, 1.0), (True, -1.0)])
def test_net_amounts_have_what_flowed_in_and_out_apart(rollup_database, reader, covers_before, factor):
    start = datetime(2025, 6, 1, tzinfo=UTC)
    shift = timedelta(minutes=15) if covers_before else timedelta()
    # Each hour 1 + 2 in, and 0.5 + 0.25 out.
    quarters = {
        start + shift + timedelta(minutes=15 * n): (1.0, -0.5, 2.0, -0.25)[n % 4] for n in range(96 * 2)
    }
    series = store(rollup_database, quarters)
    rollup_database.roller.close(datetime(2025, 7, 1, tzinfo=UTC))
    rollup_database.roll_all()
    table = energy_of(
        reader, [amount(series, covers_before=covers_before, factor=factor)], start, start + timedelta(days=2),
        ZoneInfo("UTC"), per="day", now=datetime(2026, 1, 1, tzinfo=UTC), silence=None,
    )  # fmt: skip
    [column] = table.columns
    into, out = (72, 18) if factor > 0 else (18, 72)
    assert [float(each) for each in column.energy] == [into - out] * 2
    assert [float(each) for each in column.energy_in] == [into] * 2
    assert [float(each) for each in column.energy_out] == [out] * 2


def test_an_amount_at_midnight_is_set_apart_by_its_rollup_where_readings_are_past_retention(
    rollup_database, reader
):
    [series] = rollup_database.series()
    write_batch(rollup_database.writer, batch(series, *((60 * minute, 1.0) for minute in range(0, 2881, 5))))
    write_batch(rollup_database.writer, batch(series, (86_401, 7.0), (86_430, 8.0)))
    rollup_database.roller.close(CLOSED + timedelta(days=3))
    rollup_database.roll_all()
    rollup_database.owner.execute("DELETE FROM readings")
    for table in ("readings", "readings_1m"):
        rollup_database.owner.execute(
            f"UPDATE rollup_state SET {table}_kept_from = %s", [CLOSED + timedelta(days=3)]
        )
    days = read_points(
        reader, [amount(series, covers_before=True)], CLOSED, CLOSED + timedelta(days=2), ZoneInfo("UTC"),
        max_points=2,
    )  # fmt: skip
    [column] = days.columns
    assert (days.resolution, column.count.tolist()) == ("1d", [288, 290])
    assert column.more.sum.tolist() == [288.0, 288.0 + 15.0]
    assert column.more.largest.tolist() == [1.0, 8.0]


def test_a_gauge_holding_until_its_next_reading_has_means_over_time(rollup_database, reader):
    [series] = rollup_database.series()
    readings = batch(series, (0, 20.0), (600, 30.0), (660, 30.0), (5400, 10.0), (14_400, 0.0))
    write_batch(rollup_database.writer, readings)

    def means(**more: object) -> list[float]:
        wanted = Wanted(series, MetricSettings("room", GAUGE, "°C", "Room", **more), "°C")
        points = read_points(
            reader, [wanted], CLOSED, CLOSED + timedelta(hours=3), ZoneInfo("UTC"),
            max_points=3, silence=timedelta(hours=6),
        )  # fmt: skip
        assert points.resolution == "1h"
        return points.columns[0].mean.tolist()

    assert means() == [pytest.approx(80 / 3), 10.0, pytest.approx(math.nan, nan_ok=True)]
    assert means(holds_until_next=True) == [
        pytest.approx((20 * 600 + 30 * 3000) / 3600),
        pytest.approx((30 * 1800 + 10 * 1800) / 3600),
        pytest.approx(10.0),
    ]
