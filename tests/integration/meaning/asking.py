"""Asks the core for the buckets of series, and compares every figure with the slow model."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from joulebook.telemetry.history.columns import Column, Wanted
from joulebook.telemetry.history.energy import EnergyTable
from joulebook.telemetry.history.points import Points, read_points
from joulebook.telemetry.kinds.units import convert_factor_offset

from . import slow_meaning as slow
from .any_series import AnySeries
from .slow_meaning import Figure, figure, moment

Difference = tuple[str, str]
"""The kind of series with its unusual settings, and what differs."""


@dataclass
class Model:
    """A series with what is the same for every question: its gaps and its rises."""

    series: AnySeries
    gaps: list[slow.Gap]
    rises: list[slow.Rise]

    @classmethod
    def of(cls, series: AnySeries) -> Model:
        """Return the model of a series."""
        gaps = slow.gaps_of(series.readings, series.limit)
        is_counter = series.settings.kind.name == "counter"
        return cls(series, gaps, slow.rises_of(series.readings, gaps, series.register) if is_counter else [])


@dataclass(frozen=True)
class Buckets:
    """What is right for one series in each bucket: by its kind, and its known time in microseconds."""

    of_kind: Sequence[Any]
    known: Sequence[int]
    lengths: Sequence[int]

    @classmethod
    def of(cls, model: Model, edges: Sequence[int]) -> Buckets:
        """Return the buckets of a series."""
        series = model.series
        levels = slow.levels(series.readings, model.gaps, edges)
        of_kind: Sequence[Any] = levels
        match series.settings.kind.name:
            case "counter":
                register = series.register
                of_kind = slow.rises(model.rises, edges, spreads=register.spreads)
                for instant in slow.glitches_of(series.readings, register):
                    if edges[0] <= instant < edges[-1]:
                        of_kind[bisect_right(edges, instant) - 1].glitches += 1
            case "amount":
                of_kind = slow.amounts(series.readings, edges, covers_before=series.settings.covers_before)
            case "state":
                of_kind = slow.states(series.readings, model.gaps, edges)
        lengths = [end - begin for begin, end in pairwise(edges)]
        return cls(of_kind, [level.known for level in levels], lengths)


@dataclass(frozen=True)
class Question:
    """Several series of one device in one window: the buckets [begin, end) of those that `edges` cut."""

    models: Sequence[Model]
    wanted: Sequence[Wanted]
    zone: ZoneInfo
    edges: Sequence[int]
    buckets: Sequence[Buckets]
    begin: int
    end: int


def ask(conn: Any, question: Question, silence: timedelta | None) -> Points:
    """Return the answer; its resolution is that of the question's edges, or raw."""
    start, end = moment(question.edges[question.begin]), moment(question.edges[question.end])
    points = question.end - question.begin
    return read_points(
        conn, list(question.wanted), start, end, question.zone, max_points=points, silence=silence
    )


def differences(question: Question, points: Points) -> Iterator[Difference]:
    """Yield what in an answer is not as the slow model has it."""
    edges = question.edges[question.begin : question.end]
    if points.resolution == "raw":
        yield from _raw_differences(question, points)
        return
    if points.time.tolist() != edges:
        yield "buckets", f"{points.resolution} of {len(points.time)} buckets in place of {len(edges)}"
        return
    for model, buckets, column in zip(question.models, question.buckets, points.columns, strict=True):
        for place, name, found, expected in _compared(buckets, column, question.begin):
            if not is_same(found, expected):
                yield (
                    f"{name.partition(' ')[0]} of {model.series.label}",
                    f"{model.series} {points.resolution} from {points.source} in "
                    f"{column.wanted.unit or 'its own unit'}, "
                    f"bucket {moment(edges[place])}: {name} is {found}, right is {expected.value}",
                )


def is_same(found: float, expected: Figure) -> bool:
    """Return whether a figure is right up to the rounding of floats."""
    if math.isnan(found) or math.isnan(expected.value):
        return math.isnan(found) and math.isnan(expected.value)
    return math.isclose(found, expected.value, rel_tol=1e-9, abs_tol=1e-10 * expected.scale + 1e-12)


Compared = tuple[int, str, float, Figure]
"""The place of a bucket, the name of a figure, the one found and the right one."""

Answer = Mapping[str, Any]

NOTHING = Figure(math.nan, 0.0)


def _compared(buckets: Buckets, column: Column, begin: int) -> Iterator[Compared]:
    settings = column.wanted.settings
    factor = settings.factor * convert_factor_offset(settings.unit, column.wanted.unit).factor
    compare = COMPARE[settings.kind.name]
    answer = column.more.answer() if column.more else {}
    for place in range(len(column.count)):
        share = buckets.known[begin + place] / buckets.lengths[begin + place]
        yield place, "coverage", float(column.coverage[place]), Figure(share, 1.0)
        yield from compare(column, answer, place, buckets.of_kind[begin + place], factor)


def _member(answer: Answer, name: str, place: int) -> float:
    """Return a figure of an answer; one that the answer lacks is infinite, which nothing equals."""
    return float(answer[name][place]) if name in answer else math.inf


def _times(value: Figure, factor: float) -> Figure:
    return Figure(value.value * factor, value.scale * abs(factor))


Answer = Mapping[str, Any]

NOTHING = Figure(math.nan, 0.0)


def _coverage(column: Column, buckets: Sequence[slow.Level], edges: list[int]) -> Iterator[Compared]:
    for place, bucket in enumerate(buckets):
        share = bucket.known / (edges[place + 1] - edges[place])
        yield place, "coverage", float(column.coverage[place]), Figure(share, 1.0)


Compare = Callable[[Column, Answer, int, Any, float], Iterator[Compared]]


def _level(
    column: Column, _answer: Answer, place: int, bucket: slow.Level, factor: float
) -> Iterator[Compared]:
    values = bucket.values
    yield place, "count", float(column.count[place]), Figure(len(values), 0.0)
    if values:
        yield place, "min", float(column.min[place]), Figure(min(values) * factor, 0.0)
        yield place, "max", float(column.max[place]), Figure(max(values) * factor, 0.0)
    if not column.wanted.settings.holds_until_next:
        yield place, "mean", float(column.mean[place]), _times(bucket.mean, factor) if values else NOTHING
    elif bucket.known:
        yield place, "mean over time", float(column.mean[place]), _times(bucket.mean_over_time, factor)


def _counter(
    column: Column, answer: Answer, place: int, bucket: slow.Rises, factor: float
) -> Iterator[Compared]:
    up, down, unallocated = map(figure, (bucket.up, bucket.down, bucket.unallocated))
    yield place, "increase", _member(answer, "increase", place), _times(up, factor)
    yield place, "unallocated", _member(answer, "unallocated", place), _times(unallocated, factor)
    yield place, "resets", _member(answer, "resets", place), Figure(bucket.resets, 0.0)
    yield place, "glitches", _member(answer, "glitches", place), Figure(bucket.glitches, 0.0)
    if column.wanted.settings.runs_both_ways:
        yield place, "decrease", _member(answer, "decrease", place), _times(down, factor)


def _amount(
    column: Column, answer: Answer, place: int, values: list[float], factor: float
) -> Iterator[Compared]:
    yield place, "count", float(column.count[place]), Figure(len(values), 0.0)
    if values:
        yield place, "sum", _member(answer, "sum", place), _times(figure(values), factor)
        yield place, "largest", _member(answer, "largest", place), Figure(max(values) * factor, 0.0)


def _state(
    column: Column, answer: Answer, place: int, bucket: slow.State, _factor: float
) -> Iterator[Compared]:
    yield place, "changes", _member(answer, "changes", place), Figure(bucket.changes, 0.0)
    if not bucket.time:
        return
    found = {each["value"]: each["share"] for each in answer.get("states", [])}
    for value in found.keys() | bucket.time.keys():
        share = float(found[value][place]) if value in found else 0.0
        right = bucket.shares.get(value, 0.0)
        # Shares are answered in millionths.
        if not abs(share - right) <= 1e-6:
            yield place, f"share of {value}", share, Figure(right, 0.0)


COMPARE: Mapping[str, Compare] = {"gauge": _level, "counter": _counter, "amount": _amount, "state": _state}


def _raw_differences(question: Question, points: Points) -> Iterator[Difference]:
    begin, end = question.edges[question.begin], question.edges[question.end]
    for model, column in zip(question.models, points.columns, strict=True):
        factor, offset = column.wanted.scale()
        assert column.value is not None
        found = [
            (time, value)
            for time, value in zip(points.time.tolist(), column.value.tolist(), strict=True)
            if not math.isnan(value)
        ]
        expected = [
            (time, value * factor + offset) for time, value in model.series.readings if begin <= time < end
        ]
        if [time for time, _ in found] != [time for time, _ in expected] or any(
            not math.isclose(one, other, rel_tol=1e-12)
            for (_, one), (_, other) in zip(found, expected, strict=True)
        ):
            yield model.series.label, f"{model.series}: raw values differ in {moment(begin)} to {moment(end)}"


# Energy ---------------------------------------------------------------------------------------------------------

IN_KWH = {"Wh": 1e-3, "kWh": 1.0, "MWh": 1e3, "MJ": 1 / 3.6}
LAST_DIGIT = 1e-6
"""In kWh: days are accounted in thousandths of a watt-hour."""


@dataclass(frozen=True)
class Energy:
    """What is right for the energy of one series in one local day, in kWh."""

    flows: Sequence[float]
    """Parts of it, those that flow out negative."""
    unallocated: Sequence[float]


def energy_by_day(model: Model, edges: Sequence[int]) -> list[Energy]:
    """Return the energy of a series by day."""
    series = model.series
    factor = series.settings.factor
    match series.settings.kind.name:
        case "gauge":
            hours = factor / 3600 / 1000
            levels = slow.levels(series.readings, model.gaps, edges)
            return [Energy([part * hours for part in level.held], []) for level in levels]
        case "amount":
            before = series.settings.covers_before
            sums = slow.amounts(series.readings, edges, covers_before=before)
            return [Energy([value * factor for value in values], []) for values in sums]
    buckets = slow.rises(model.rises, edges, spreads=series.register.spreads)
    return [
        Energy(
            [value * factor for value in (*bucket.up, *(-each for each in bucket.down))],
            [value * factor for value in bucket.unallocated],
        )
        for bucket in buckets
    ]


def energy_differences(
    models: Sequence[Model], table: EnergyTable, edges: Sequence[int], periods: Sequence[int]
) -> Iterator[Difference]:
    """Yield what in a table of energy is not as the slow model has it; `edges` are days, `periods` the table's."""
    for model, column in zip(models, table.columns, strict=True):
        days = energy_by_day(model, edges)
        for place, (begin, end) in enumerate(pairwise(periods)):
            inside = [day for day, at in zip(days, edges, strict=False) if begin <= at < end]
            flows = [part for day in inside for part in day.flows]
            # What flows out is the difference of two sums of the same period.
            scale = figure(flows).scale
            right = {
                "energy": figure(flows),
                "unallocated": figure([part for day in inside for part in day.unallocated]),
            }
            found = {"energy": column.energy[place], "unallocated": column.unallocated[place]}
            if column.energy_in is not None and column.energy_out is not None:
                right["energy_in"] = figure([part for part in flows if part > 0])
                right["energy_out"] = figure([-part for part in flows if part < 0])
                found |= {"energy_in": column.energy_in[place], "energy_out": column.energy_out[place]}
            for name, value in found.items():
                off = abs(float(value) * IN_KWH[column.unit] - right[name].value)
                # What flows in and out is rounded each day; their difference is the net.
                if off > 1.1 * LAST_DIGIT * len(inside) + 1e-9 * scale:
                    yield (
                        f"{name} by day or month of {model.series.label}",
                        f"{model.series} {name} of {moment(begin)} is {value} {column.unit}, right is "
                        f"{right[name].value} kWh",
                    )
        if Fraction(column.total) != sum(map(Fraction, column.energy)):
            yield "total", f"{model.series}: the rows do not add up to the total {column.total}"
