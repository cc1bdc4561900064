"""Series of every kind with all that happens to real ones, made up from a number: the same number, the same series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from zoneinfo import ZoneInfo

from joulebook.telemetry.kinds.kinds import AMOUNT, COUNTER, GAUGE, STATE
from joulebook.telemetry.kinds.settings import Decision, MetricSettings, Replacement

from .slow_meaning import HOUR, MINUTE, SECOND, NewMeter, Reading, Register, glitches_of, moment

DAY = 24 * HOUR
RATES = [SECOND, 5 * SECOND, 10 * SECOND, MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, HOUR]
LONGEST = 4 * DAY
INVALID = [1e20, -1e20, 3.4e38, 3.4028234663852886e38]
"""What float32 meters send for "invalid", and worse."""


@dataclass(frozen=True)
class AnySeries:
    """A series, its settings, and what is right for it: `register` for a counter, and the limit in microseconds."""

    number: int
    readings: list[Reading]
    settings: MetricSettings
    register: Register
    limit: int | None

    def __str__(self) -> str:
        return f"series {self.number}: {self.label}"

    @property
    def label(self) -> str:
        """The kind, with the settings that are not the usual ones."""
        usual = MetricSettings("", GAUGE, "", "")
        names = ("holds_until_next", "covers_before", "resets_daily", "rolls_over_at", "runs_both_ways",
                 "greatest_rise", "spreads", "replacements", "decisions", "dip_tolerance")  # fmt: skip
        unusual = [name for name in names if getattr(self.settings, name) != getattr(usual, name)]
        return ", ".join([self.settings.kind.name, *unusual])


def make_series(
    number: int, *, begin: int, zone: ZoneInfo, limit: int | None = None, kind: str = ""
) -> AnySeries:
    """Return the series of a number; it begins at `begin` or within a day after it, on a device in `zone`.

    `limit` is the device's silence limit in microseconds; some metrics have one of their own.
    """
    random = Random(number)
    times = list(_times(random, begin + random.choice([0, random.randrange(DAY)])))
    kind = kind or random.choice(["gauge", "counter", "counter", "counter", "amount", "state"])
    factor = random.choice([1.0, 1.0, 1.0, 0.001, 10.0])
    own = random.choice([None, None, None, 30 * SECOND, 10 * MINUTE, 2 * HOUR])
    common = {
        "name": f"m{number}",
        "display_name": f"M{number}",
        "factor": factor,
        "silence_limit": None if own is None else timedelta(microseconds=own),
    }
    limit = limit if own is None else own
    register = Register()
    match kind:
        case "gauge":
            values = _level(random, len(times))
            settings = MetricSettings(kind=GAUGE, unit="W", holds_until_next=random.random() < 0.5, **common)
        case "amount":
            values = _amounts(random, len(times))
            settings = MetricSettings(kind=AMOUNT, unit="kWh", covers_before=random.random() < 0.5, **common)
        case "state":
            values = _state(random, len(times))
            settings = MetricSettings(kind=STATE, unit="", **common | {"factor": 1.0})
        case _:
            return _counter(random, number, times, zone, common, limit)
    return AnySeries(number, list(zip(times, values, strict=True)), settings, register, limit)


def _times(random: Random, begin: int) -> Iterator[int]:
    """Yield instants in order: stretches of a steady rate, of bursts, of reports on change, and outages between."""
    now, wanted, made = begin, random.choice([1, 2, 3, 10, 60, 150, 250]), 0
    rate = random.choice(RATES)
    while made < wanted and now - begin < LONGEST:
        match random.choice(["steady", "steady", "jitter", "burst", "change", "outage", "rate"]):
            case "rate":
                rate = random.choice(RATES)
                continue
            case "outage":
                now += random.choice([2, 3, 4, 7, 20]) * rate + random.choice(
                    [0, 0, random.randrange(6 * HOUR)]
                )
                continue
            case "steady":
                steps = [rate] * random.randrange(1, 40)
            case "jitter":
                steps = [max(int(rate * random.uniform(0.3, 2.5)), 1) for _ in range(random.randrange(1, 30))]
            case "burst":
                steps = [SECOND] * random.randrange(1, 40)
            case _:
                steps = [
                    max(int(random.expovariate(1 / (4 * rate))), 1) for _ in range(random.randrange(1, 20))
                ]
        for step in steps:
            if made == wanted:
                return
            yield now
            made += 1
            now += step


def _level(random: Random, length: int) -> list[float]:
    way = random.choice(["steady", "walk", "signed", "noise"])
    value = random.choice([600.0, 1.0, 1234.5])
    values = []
    for _ in range(length):
        if way in {"walk", "signed"}:
            value += random.gauss(0, 50)
        values.append(
            abs(value)
            if way == "walk"
            else random.choice([0.0, value, -value, random.uniform(-1e4, 1e4)])
            if way == "noise"
            else value
        )
    if random.random() < 0.3:
        for _ in range(random.randrange(1, 3)):
            values[random.randrange(length)] = random.choice(INVALID)
    return values


def _amounts(random: Random, length: int) -> list[float]:
    digits = random.choice([0, 1, 3])
    low = random.choice([0.0, 0.0, -2.0])
    values = [round(random.choice([0.0, random.uniform(low, 2)]), digits) for _ in range(length)]
    if random.random() < 0.1:
        values[random.randrange(length)] = random.choice(INVALID)
    return values


def _state(random: Random, length: int) -> list[float]:
    choices = random.choice([[0.0, 1.0], [0.0, 1.0, 2.0, 7.0], [3.0], [-1.0, 0.5, 100.0]])
    stay = random.choice([0.3, 0.8, 0.98])
    values, value = [], random.choice(choices)
    for _ in range(length):
        if random.random() > stay:
            value = random.choice(choices)
        values.append(value)
    return values


def _counter(
    random: Random,
    number: int,
    times: Sequence[int],
    zone: ZoneInfo,
    common: dict[str, object],
    limit: int | None,
) -> AnySeries:
    factor = float(str(common["factor"]))
    way = random.choice(
        ["plain", "plain", "plain", "daily", "overflow", "net", "believed", "replaced", "decided"]
    )
    tolerance = random.choice([0.1, 0.1, 0.1, 0.2, 0.02])
    spreads = random.random() < 0.3
    most = random.choice([100.0, 1000.0])
    values = _registers(random, times, zone, way, most)
    if way != "net":
        _disturb(random, values)
    readings = list(zip(times, values, strict=True))
    register = Register(tolerance=tolerance, spreads=spreads)
    more: dict[str, object] = {"dip_tolerance": tolerance, "spreads": spreads}
    if way == "daily":
        register = Register(tolerance=tolerance, spreads=spreads, day_zone=zone)
        more |= {"resets_daily": True, "time_zone": zone.key}
    elif way == "overflow":
        register = Register(tolerance=tolerance, spreads=spreads, rolls_over_at=most)
        more["rolls_over_at"] = most * factor
    elif way == "net":
        register = Register(tolerance=tolerance, spreads=spreads, runs_both_ways=True)
        more["runs_both_ways"] = True
    elif way == "believed":
        rate = random.choice([1.0, 60.0, 3600.0])
        register = Register(tolerance=tolerance, spreads=spreads, greatest_rise=rate)
        more["greatest_rise"] = rate * factor
    elif way == "replaced":
        meter = _new_meter(random, readings)
        register = Register(tolerance=tolerance, spreads=spreads, replaced=(meter,))
        more["replacements"] = (
            Replacement(
                moment(meter.time),
                None if meter.final is None else meter.final * factor,
                None if meter.start is None else meter.start * factor,
            ),
        )
    elif way == "decided":
        suspects = sorted(glitches_of(readings, register)) or [readings[-1][0]]
        chosen = random.sample(suspects, min(len(suspects), 3))
        ignored = frozenset(each for each in chosen if random.random() < 0.5)
        register = Register(
            tolerance=tolerance, spreads=spreads, ignored=ignored, confirmed=frozenset(chosen) - ignored
        )
        more["decisions"] = tuple(Decision(moment(each), each in ignored) for each in chosen)
    settings = MetricSettings(kind=COUNTER, unit="kWh", **common, **more)
    return AnySeries(number, readings, settings, register, limit)


def _registers(random: Random, times: Sequence[int], zone: ZoneInfo, way: str, most: float) -> list[float]:
    """Return the registers without faults; steps are whole quarters, so that sums are exact."""
    value = random.choice([0.0, 12.0, 90.0, 12_000.0])
    largest = random.choice([0.25, 1.0, 8.0])
    values = []
    day = None
    late = random.choice([0, 0, 7 * MINUTE, 14 * MINUTE])
    for instant in times:
        if way == "daily":
            today = moment(instant - late).astimezone(zone).date()
            if day not in (None, today):
                value = 0.0
            day = today
        step = random.randrange(int(largest * 4) + 1) / 4
        value += random.choice([-1, 1]) * step if way == "net" else step
        if way == "overflow":
            value %= most
        values.append(value)
    return values


def _disturb(random: Random, values: list[float]) -> None:
    """Put glitches, boot values, spikes, dips and resets into the registers."""
    length = len(values)
    for _ in range(random.choice([0, 1, 1, 2, 5])):
        place = random.randrange(length)
        match random.choice(["zero", "boot", "spike", "dip", "reset"]):
            case "zero":
                for at in range(place, min(place + random.randrange(1, 5), length)):
                    values[at] = 0.0
            case "boot":
                for at in range(place, min(place + random.randrange(1, 5), length)):
                    values[at] = float(at - place + 1)
            case "spike":
                for at in range(place, min(place + random.randrange(1, 5), length)):
                    values[at] = random.choice([99_999.0, 1e9, values[at] * 1.3 + 1, *INVALID[:1]])
            case "dip":
                for at in range(place, min(place + random.randrange(1, 8), length)):
                    values[at] = round(values[at] * random.choice([0.97, 0.99, 0.93]), 2)
            case _:
                stood = values[place]
                for at in range(place, length):
                    values[at] = max(values[at] - stood, 0.0)


def _new_meter(random: Random, readings: Sequence[Reading]) -> NewMeter:
    place = random.randrange(len(readings))
    instant, register = readings[place]
    time = instant + random.choice([0, -1, 1, 17 * SECOND])
    return NewMeter(
        time,
        final=random.choice([None, register, register + 2]),
        start=random.choice([None, 0.0, max(register - 1, 0.0)]),
    )
