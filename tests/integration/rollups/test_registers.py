"""Registers in the database: each bucket of any window, resolution and source is that of the slow register."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.history.columns import Wanted
from joulebook.telemetry.history.points import read_points
from joulebook.telemetry.history.suspects import find_suspects
from joulebook.telemetry.kinds.kinds import COUNTER
from joulebook.telemetry.kinds.settings import Decision, MetricSettings
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.writer import write_batch

from ...slow_register import HOUR, MINUTE, Reading, Slow

BEGIN = datetime(2026, 3, 27, tzinfo=UTC)
DAYS = 5
CLOSED = BEGIN + timedelta(days=10)
BERLIN = ZoneInfo("Europe/Berlin")
LIMIT = timedelta(minutes=90)


@pytest.fixture
def reader(rollup_urls):
    with psycopg.connect(rollup_urls["reader"], autocommit=True) as conn:
        yield conn


def store(database, readings: list[Reading]) -> int:
    [series] = database.series()
    time = np.array([at for at, _ in readings], np.int64)
    value = np.array([value for _, value in readings], np.float64)
    write_batch(database.writer, Batch(np.full(len(time), series, np.int32), time, value))
    return series


def made_up(rng: random.Random) -> list[Reading]:
    """A register of five days with silences, zeros, jumps, dips and resets."""
    at, register = to_microseconds(BEGIN) + rng.randint(0, 3 * HOUR), rng.choice([0.0, 3.0, 12_000.0])
    step = rng.choice([[MINUTE], [MINUTE, 10 * MINUTE], [15 * MINUTE], [HOUR], [10 * MINUTE, 10 * HOUR]])
    readings = []
    while at < to_microseconds(BEGIN + timedelta(days=DAYS)) and len(readings) < 2500:
        at += rng.choice(step) + rng.randint(0, 3)
        if rng.random() < 0.005:
            at += rng.choice([2, 9, 30]) * HOUR
        register += rng.choice([0.0, 0.1, 0.5])
        shown, chance = register, rng.random()
        if chance < 0.01:
            shown = 0.0
        elif chance < 0.02:
            shown = register * 8 + 9
        elif chance < 0.04:
            shown = register * 0.97
        elif chance < 0.045:
            shown = register = rng.choice([0.0, register * 0.4])
        readings.append((at, round(shown, 3)))
    return readings


def midnights() -> list[int]:
    days = (datetime(2026, 3, 20, tzinfo=BERLIN) + timedelta(days=day) for day in range(20))
    return [to_microseconds(day.astimezone(UTC)) for day in days]


def expected(slow: Slow, edges: list[int], limit: int, *, spreads: bool) -> list[tuple[float, float, int]]:
    """Increase, unallocated and resets by bucket."""
    found = [[0.0, 0.0, 0] for _ in edges[1:]]
    unknown = [gap for gap in pairwise(at for at, _ in slow.readings) if gap[1] - gap[0] > limit]
    for since, until, rise, is_reset in slow.rises():
        crosses = any(since < edge <= until for edge in edges)
        is_lost = crosses and any(begin < until and end > since for begin, end in unknown)
        for place, (begin, end) in enumerate(pairwise(edges)):
            if begin <= until < end:
                found[place][2] += is_reset
                found[place][1] += rise if is_lost and not spreads else 0
                found[place][0] += 0 if is_lost else rise
            if is_lost and spreads:
                part = min(end, until) - max(begin, since)
                found[place][0] += rise * part / (until - since) if part > 0 else 0
    return [(increase, unallocated, resets) for increase, unallocated, resets in found]


@pytest.mark.parametrize("seed", range(12))
def test_any_register_gives_the_same_from_every_window_and_every_table(rollup_database, reader, seed):
    rng = random.Random(seed)
    readings = made_up(rng)
    resets_daily, spreads = rng.random() < 0.4, rng.random() < 0.4
    greatest, over = rng.choice([None, None, 2.0]), rng.choice([None, None, 12_050.0])
    tolerance = rng.choice([0.1, 0.1, 0.1, 0.2])
    ignored, confirmed = ({rng.choice(readings)[0]} if rng.random() < 0.3 else set() for _ in range(2))
    slow = Slow(
        readings, tolerance=tolerance, midnights=midnights() if resets_daily else [],
        rolls_over_at=over, greatest_rise=greatest, ignored=ignored, confirmed=confirmed,
    )  # fmt: skip
    instant = {at: BEGIN + timedelta(microseconds=at - to_microseconds(BEGIN)) for at, _ in readings}
    meter = MetricSettings(
        "energy", COUNTER, "kWh", "Energy", dip_tolerance=tolerance, resets_daily=resets_daily,
        time_zone="Europe/Berlin", rolls_over_at=over, greatest_rise=greatest, spreads=spreads, silence_limit=LIMIT,
        decisions=tuple(Decision(instant[at], True) for at in ignored)
        + tuple(Decision(instant[at], False) for at in confirmed),
    )  # fmt: skip
    series = store(rollup_database, readings)
    # Some time is rolled up, some is not.
    rollup_database.roller.close(BEGIN + timedelta(days=rng.choice([0, 2, 4, 9])))
    rollup_database.roll_all()
    for _ in range(12):
        start = BEGIN + timedelta(hours=rng.randint(-4, 24 * DAYS), minutes=rng.choice([0, 0, 17]))
        end = start + timedelta(hours=rng.choice([1, 5, 24, 72, 24 * DAYS]))
        zone = rng.choice([BERLIN, ZoneInfo("Asia/Kathmandu")])
        points = read_points(
            reader, [Wanted(series, meter, "kWh")], start, end, zone, max_points=rng.choice([1, 3, 24, 300])
        )
        if not len(points.time):
            continue
        more = points.columns[0].more
        borders = [*points.time.tolist(), to_microseconds(end)]
        borders[0] = max(borders[0], to_microseconds(start))
        told = expected(slow, borders, LIMIT // timedelta(microseconds=1), spreads=spreads)
        where = f"{points.resolution} from {points.source} at {start} for {end - start}"
        assert more.increase.tolist() == pytest.approx([each[0] for each in told], abs=1e-6), where
        assert more.unallocated.tolist() == pytest.approx([each[1] for each in told], abs=1e-6), where
        assert more.resets.tolist() == [each[2] for each in told], where


def steady(days: int = 3) -> list[Reading]:
    """A register of 12,000 kWh that rises by 0.1 each ten minutes: 14.4 a day."""
    begin = to_microseconds(BEGIN)
    return [(begin + place * 10 * MINUTE, round(12_000 + place / 10, 3)) for place in range(144 * days + 2)]


def test_suspects_are_listed_newest_first_with_what_is_at_stake(rollup_database, reader):
    readings = steady()
    readings[50] = readings[50][0], 0.0
    readings[200], readings[201] = (readings[200][0], 99_999.0), (readings[201][0], 99_999.0)
    readings[300:] = [(at, round(value - 12_000, 3)) for at, value in readings[300:]]
    series = store(rollup_database, readings)
    rollup_database.roller.close(CLOSED)
    rollup_database.roll_all()
    decided = Decision(BEGIN + timedelta(minutes=500), True)
    meter = MetricSettings("energy", COUNTER, "kWh", "Energy", decisions=(decided,))
    found = find_suspects(reader, Wanted(series, meter, "kWh"), BEGIN, CLOSED)
    assert [(each.taken_for, each.readings, each.is_counted, each.is_ignored) for each in found.suspects] == [
        ("reset", 1, True, None), ("glitch", 2, False, None), ("glitch", 1, False, True),
    ]  # fmt: skip
    reset, jump, zero = found.suspects
    assert (reset.before, reset.value, reset.after) == pytest.approx((12_029.9, 30.0, 30.1))
    assert [reset.effect, zero.effect] == pytest.approx([30.0, 12_005.1 - 0.2])
    assert jump.effect == pytest.approx(99_999 - 12_019.9 + 12_020.2 - 0.3)
    assert not found.looks_like_amount
    page = find_suspects(reader, Wanted(series, meter, "kWh"), BEGIN, CLOSED, most=1)
    assert (page.has_more, len(page.suspects)) == (True, 1)
    rest = find_suspects(reader, Wanted(series, meter, "kWh"), BEGIN, page.suspects[0].time)
    assert len(rest.suspects) == 2


def test_amounts_taken_for_a_register_are_noticed(rollup_database, reader):
    begin = to_microseconds(BEGIN)
    amounts = [(begin + place * 15 * MINUTE, 0.2 + place % 7 * 0.1) for place in range(400)]
    series = store(rollup_database, amounts)
    meter = MetricSettings("export", COUNTER, "kWh", "Export")
    assert find_suspects(reader, Wanted(series, meter, "kWh"), BEGIN, CLOSED).looks_like_amount
