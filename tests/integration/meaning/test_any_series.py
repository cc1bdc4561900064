"""Every bucket of any series is the slow model's, from every window, resolution, source and unit that contain it."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.history.columns import Wanted
from joulebook.telemetry.history.energy import PERIODS, energy_of
from joulebook.telemetry.history.resolutions import LADDER, bucket_edges
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.writer import write_batch

from .any_series import make_series
from .asking import (
    IN_KWH,
    Buckets,
    Difference,
    Model,
    Question,
    ask,
    differences,
    energy_differences,
)
from .slow_meaning import HOUR, MINUTE, moment

ERAS = [
    ("Europe/Berlin", datetime(2025, 10, 24, tzinfo=UTC)),  # the clock goes back on the 26th
    ("Europe/Berlin", datetime(2026, 3, 27, tzinfo=UTC)),  # and forward on the 29th
    ("Australia/Lord_Howe", datetime(2026, 4, 3, tzinfo=UTC)),  # back by half an hour on the 5th
    ("Asia/Kathmandu", datetime(2026, 1, 30, tzinfo=UTC)),  # 5:45 ahead
    ("UTC", datetime(2026, 6, 29, tzinfo=UTC)),
    ("America/St_Johns", datetime(2026, 3, 6, tzinfo=UTC)),  # 3:30 behind, forward on the 8th
    ("Pacific/Chatham", datetime(2026, 4, 3, tzinfo=UTC)),  # 13:45 ahead, back on the 5th
    ("America/Santiago", datetime(2026, 4, 3, tzinfo=UTC)),  # back at midnight of the 5th
]
"""Zones with a day near which series begin."""

AT_ONCE = 500
"""Series of the same zone, stored and asked together."""

SERIES_OF_A_DEVICE = 10
WINDOWS, RESOLUTIONS, SOURCES = 5, 3, 4
MOST_BUCKETS = 150
RUNGS = [
    rung for rung in LADDER if rung.name in {"10s", "1m", "5m", "15m", "30m", "1h", "3h", "6h", "1d", "1w"}
]
UNITS = {"gauge": ["W", "kW"], "counter": ["kWh", "MJ"], "amount": ["kWh", "Wh"], "state": ["", ""]}


@dataclass
class Device:
    """Some series, asked together."""

    models: list[Model]
    series_ids: list[int]
    zone: ZoneInfo
    silence: timedelta | None


def make_devices(numbers: range, database) -> list[Device]:
    """Store the series of these numbers and return them as devices."""
    devices = []
    for first in range(numbers.start, numbers.stop, SERIES_OF_A_DEVICE):
        random = Random(f"device {first}")
        zone_name, begin = ERAS[first // AT_ONCE % len(ERAS)]
        zone = ZoneInfo(zone_name)
        silence = random.choice([None, None, timedelta(minutes=2), timedelta(hours=1)])
        limit = silence and silence // timedelta(microseconds=1)
        models = [
            Model.of(make_series(number, begin=to_microseconds(begin), zone=zone, limit=limit))
            for number in range(first, min(first + SERIES_OF_A_DEVICE, numbers.stop))
        ]
        devices.append(Device(models, database.series(len(models)), zone, silence))
    return devices


def store(database, devices: Sequence[Device]) -> tuple[int, int]:
    """Store the readings and roll them up; return their first and last instant."""
    readings = [
        (series_id, *reading)
        for device in devices
        for series_id, model in zip(device.series_ids, device.models, strict=True)
        for reading in model.series.readings
    ]
    first, last = min(at for _, at, _ in readings), max(at for _, at, _ in readings)
    begin = first // HOUR * HOUR
    database.owner.execute("UPDATE rollup_state SET closed_until = %s", [moment(begin)])
    for place in range(0, len(readings), 50_000):
        series_id, time, value = zip(*readings[place : place + 50_000], strict=True)
        columns = np.array(series_id, np.int32), np.array(time, np.int64), np.array(value, np.float64)
        write_batch(database.writer, Batch(*columns))
    database.roller.close(moment(last + 2 * HOUR))
    database.roll_all()
    return first, last


def windows(random: Random, buckets: int) -> list[tuple[int, int]]:
    """Return windows of whole buckets: all of them, and parts that contain one bucket alone, or many."""
    found = [(0, buckets)]
    for _ in range(WINDOWS - 1):
        begin = random.randrange(buckets)
        end = begin + 1 if random.random() < 0.2 else random.randrange(begin, buckets) + 1
        found.append((begin, end))
    return found


def questions(device: Device) -> Iterator[list[Question]]:
    """Yield the windows of each resolution of a device's questions."""
    random = Random(f"questions {device.models[0].series.number}")
    times = [at for model in device.models for at, _ in model.series.readings]
    first, last = min(times), max(times)
    wanted = [
        Wanted(series_id, model.series.settings, random.choice(UNITS[model.series.settings.kind.name]))
        for series_id, model in zip(device.series_ids, device.models, strict=True)
    ]
    for rung in random.sample(RUNGS, RESOLUTIONS):
        begin, end = first - HOUR, last + HOUR
        longest = rung.about * MOST_BUCKETS // timedelta(microseconds=1)
        if end - begin > longest:
            begin = random.randrange(begin, end - longest)
            end = begin + longest
        edges = bucket_edges(moment(begin), moment(end), rung, device.zone).tolist()
        buckets = [Buckets.of(model, edges) for model in device.models]
        yield [
            Question(device.models, wanted, device.zone, edges, buckets, *window)
            for window in windows(random, len(edges) - 1)
        ]


def sources(database, first: int, last: int) -> Iterator[str]:
    """Yield the name of each way in which the same time can be stored, with the database in that state."""
    database.owner.execute("DELETE FROM rollup_dirty")
    yield "rollups"
    middle = moment((first + (last - first) // 3) // MINUTE * MINUTE)
    database.owner.execute("UPDATE rollup_state SET closed_until = %s", [middle])
    yield "rollups and readings"
    database.owner.execute("UPDATE rollup_state SET closed_until = %s", [moment(first // HOUR * HOUR - HOUR)])
    yield "readings"
    database.owner.execute("UPDATE rollup_state SET closed_until = %s", [moment(last + 2 * HOUR)])
    random = Random(first)
    for _ in range(6):
        begin = random.randrange(first, last)
        mark = [moment(begin), moment(begin + random.choice([1, HOUR, 7 * HOUR]))]
        database.owner.execute(
            "INSERT INTO rollup_dirty (series_id, begins_at, ends_at) VALUES (NULL, %s, %s)", mark
        )
    yield "rollups with marks"
    database.owner.execute("DELETE FROM rollup_dirty")


def differing(database, reader, numbers: range, *, is_thorough: bool) -> list[Difference]:
    """Return whatever the core says otherwise than the slow model about the series of these numbers.

    Each window is asked of one source; the window of all buckets, if thorough, of every source.
    """
    database.clear("2025-01-01T00:00:00Z")
    devices = make_devices(numbers, database)
    first, last = store(database, devices)
    asked = [(device, number, parts) for device in devices for number, parts in enumerate(questions(device))]
    found: list[Difference] = []
    for turn, source in enumerate(sources(database, first, last)):
        for device, number, parts in asked:
            for place, question in enumerate(parts):
                if (place + number) % SOURCES == turn or (is_thorough and place == 0):
                    found += answered(reader, device, question, source)
        for place, device in enumerate(devices):
            if place % SOURCES == turn or is_thorough:
                found += [(kind, f"{what} ({source})") for kind, what in energy_answered(reader, device)]
    return found


def energy_answered(reader, device: Device) -> Iterator[Difference]:
    """Ask for the energy of a device by day and by month, of all days and of some, and yield what differs."""
    random = Random(f"energy {device.models[0].series.number}")
    mine = [
        (model, series_id)
        for model, series_id in zip(device.models, device.series_ids, strict=True)
        if model.series.settings.kind.name != "state"
    ]
    models = [model for model, _ in mine]
    times = [at for model in models for at, _ in model.series.readings] or [0]
    begin, end = moment(min(times)), moment(max(times) + 1)
    days = bucket_edges(begin, end, PERIODS["day"], device.zone).tolist()
    part = sorted(random.sample(range(len(days)), 2))
    months = bucket_edges(begin, end, PERIODS["month"], device.zone).tolist()
    for per, edges in (("day", days), ("day", days[part[0] : part[1] + 1]), ("month", months)):
        unit = random.choice(list(IN_KWH))
        wanted = [Wanted(series_id, model.series.settings, unit) for model, series_id in mine]
        table = energy_of(
            reader, wanted, moment(edges[0]), moment(edges[-1]), device.zone,
            per=per, now=moment(edges[-1]), silence=device.silence,
        )  # fmt: skip
        in_days = bucket_edges(moment(edges[0]), moment(edges[-1]), PERIODS["day"], device.zone).tolist()
        yield from energy_differences(models, table, in_days, edges)


def answered(reader, device: Device, question: Question, source: str) -> list[Difference]:
    """Ask one question and return what differs."""
    try:
        points = ask(reader, question, device.silence)
    except Exception as exc:  # noqa: BLE001 - in a drill it is one of many differences
        return [("refused", f"{type(exc).__name__}: {exc} (a device of {question.models[0].series})")]
    return [(kind, f"{what} ({source})") for kind, what in differences(question, points)]


def show(found: Sequence[Difference]) -> str:
    """Return how many differ of each kind, with a few of them."""
    examples = defaultdict(list)
    for kind, what in found:
        examples[kind].append(what)
    lines = [f"differing: {len(found)}"]
    for kind, number in Counter(kind for kind, _ in found).most_common():
        lines += [f"  {kind}: {number}", *(f"    {what}" for what in examples[kind][:4])]
    return "\n".join(lines)


@pytest.fixture
def reader(rollup_urls):
    """A connection with the rights of the web's process."""
    with psycopg.connect(rollup_urls["reader"], autocommit=True) as conn:
        yield conn


@pytest.mark.timeout(1800)
def test_every_bucket_of_five_hundred_series_is_right_from_wherever_it_is_asked(rollup_database, reader):
    found = []
    for era in range(5):
        some = range(era * AT_ONCE, era * AT_ONCE + 100)
        found += differing(rollup_database, reader, some, is_thorough=False)
    assert not found, show(found)


def test_a_bucket_with_a_replaced_meter_inside_is_right_from_readings(rollup_database, reader):
    """Of these the drill has found one: readings around the replacement stood behind those after it."""
    found = differing(rollup_database, reader, range(7970, 7980), is_thorough=True)
    assert not found, show(found)


@pytest.mark.slow
@pytest.mark.timeout(12 * 3600)
@pytest.mark.parametrize("part", range(8))
def test_drill_every_bucket_of_twenty_thousand_series(rollup_database, reader, part):
    """Ask of each series in turn, and of 20 in each 500 by every source."""
    found = []
    for first in range(part * 2500, (part + 1) * 2500, AT_ONCE):
        thorough = range(first, first + 20)
        found += differing(rollup_database, reader, thorough, is_thorough=True)
        found += differing(rollup_database, reader, range(thorough.stop, first + AT_ONCE), is_thorough=False)
        sys.stdout.write(f"\nseries {first} to {first + AT_ONCE - 1}, {show(found)}\n")
        sys.stdout.flush()
    assert not found
