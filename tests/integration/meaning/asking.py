"""Asks the core for the buckets of series, and compares every figure with the slow model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from joulebook.telemetry.history.columns import Column, Wanted
from joulebook.telemetry.history.points import Points, read_points
from joulebook.telemetry.kinds.units import convert_factor_offset

from . import slow_meaning as slow
from .any_series import AnySeries
from .slow_meaning import SECOND, Figure, figure, moment

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
class Question:
    """Several series of one device in one window, which is made of whole buckets."""

    models: Sequence[Model]
    wanted: Sequence[Wanted]
    edges: Sequence[int]
    zone: ZoneInfo
    silence: int | None


def ask(conn, question: Question, silence) -> Points:
    """Return the answer; its resolution is that of the question's edges, or raw."""
    start, end = moment(question.edges[0]), moment(question.edges[-1])
    return read_points(
        conn,
        list(question.wanted),
        start,
        end,
        question.zone,
        max_points=len(question.edges) - 1,
        silence=silence,
    )


def differences(question: Question, points: Points) -> Iterator[Difference]:
    """Yield what in an answer is not as the slow model has it."""
    edges = list(question.edges)
    if points.resolution == "raw":
        yield from _raw_differences(question, points)
        return
    if points.time.tolist() != edges[:-1]:
        yield "buckets", f"{points.resolution} of {len(points.time)} buckets in place of {len(edges) - 1}"
        return
    for model, column in zip(question.models, points.columns, strict=True):
        for place, name, found, expected in _compared(model, column, edges):
            if not is_same(found, expected):
                yield (
                    model.series.label,
                    f"{model.series} {points.resolution} from {points.source} in {column.wanted.unit or 'own unit'}, "
                    f"bucket {moment(edges[place])}: {name} is {found}, right is {expected.value}",
                )


def is_same(found: float, expected: Figure) -> bool:
    """Return whether a figure is right up to the rounding of floats."""
    if math.isnan(found) or math.isnan(expected.value):
        return math.isnan(found) and math.isnan(expected.value)
    return math.isclose(found, expected.value, rel_tol=1e-9, abs_tol=1e-10 * expected.scale + 1e-12)


Compared = tuple[int, str, float, Figure]
"""The place of a bucket, the name of a figure, the one found and the right one."""


def _compared(model: Model, column: Column, edges: list[int]) -> Iterator[Compared]:
    wanted = column.wanted
    factor = wanted.settings.factor * convert_factor_offset(wanted.settings.unit, wanted.unit).factor
    return {"gauge": _level, "counter": _counter, "amount": _amount, "state": _state}[
        wanted.settings.kind.name
    ](model, column, edges, factor)


def _times(value: Figure, factor: float) -> Figure:
    return Figure(value.value * factor, value.scale * abs(factor))


NOTHING = Figure(math.nan, 0.0)


def _coverage(column: Column, buckets: Sequence[slow.Level], edges: list[int]) -> Iterator[Compared]:
    for place, bucket in enumerate(buckets):
        share = bucket.known / (edges[place + 1] - edges[place])
        yield place, "coverage", float(column.coverage[place]), Figure(share, 1.0)


def _level(model: Model, column: Column, edges: list[int], factor: float) -> Iterator[Compared]:
    buckets = slow.levels(model.series.readings, model.gaps, edges)
    yield from _coverage(column, buckets, edges)
    holds = model.series.settings.holds_until_next
    for place, bucket in enumerate(buckets):
        values = bucket.values
        yield place, "count", float(column.count[place]), Figure(len(values), 0.0)
        if not holds:
            mean = _times(bucket.mean, factor) if values else NOTHING
            yield place, "mean", float(column.mean[place]), mean
        elif bucket.known:
            yield place, "mean over time", float(column.mean[place]), _times(bucket.mean_over_time, factor)
        if values:
            yield place, "min", float(column.min[place]), Figure(min(values) * factor, 0.0)
            yield place, "max", float(column.max[place]), Figure(max(values) * factor, 0.0)


def _counter(model: Model, column: Column, edges: list[int], factor: float) -> Iterator[Compared]:
    yield from _coverage(column, slow.levels(model.series.readings, model.gaps, edges), edges)
    buckets = slow.rises(model.rises, edges, spreads=model.series.register.spreads)
    assert column.more is not None
    answer = column.more.answer()
    for place, bucket in enumerate(buckets):
        up, down, unallocated = map(figure, (bucket.up, bucket.down, bucket.unallocated))
        yield place, "increase", float(answer["increase"][place]), _times(up, factor)
        yield place, "unallocated", float(answer["unallocated"][place]), _times(unallocated, factor)
        yield place, "resets", float(answer["resets"][place]), Figure(bucket.resets, 0.0)
        if model.series.register.runs_both_ways:
            yield place, "decrease", float(answer["decrease"][place]), _times(down, factor)


def _amount(model: Model, column: Column, edges: list[int], factor: float) -> Iterator[Compared]:
    readings, before = model.series.readings, model.series.settings.covers_before
    yield from _coverage(column, slow.levels(readings, model.gaps, edges), edges)
    assert column.more is not None
    answer = column.more.answer()
    for place, values in enumerate(slow.amounts(readings, edges, covers_before=before)):
        total, count = answer["sum"][place], column.count[place]
        yield place, "count", float(count), Figure(len(values), 0.0)
        if values:
            yield place, "sum", float(total), _times(figure(values), factor)
            yield place, "largest", float(answer["largest"][place]), Figure(max(values) * factor, 0.0)


def _state(model: Model, column: Column, edges: list[int], factor: float) -> Iterator[Compared]:
    buckets = slow.states(model.series.readings, model.gaps, edges)
    yield from _coverage(column, slow.levels(model.series.readings, model.gaps, edges), edges)
    assert column.more is not None
    answer = column.more.answer()
    found = {each["value"]: each["share"] for each in answer["states"]}
    for place, bucket in enumerate(buckets):
        yield place, "changes", float(answer["changes"][place]), Figure(bucket.changes, 0.0)
        if not bucket.time:
            continue
        for value in found.keys() | bucket.shares.keys():
            share = float(found[value][place]) if value in found else math.nan
            right = bucket.shares.get(value, 0.0)
            # Shares are answered in millionths.
            if math.isnan(share) or abs(share - right) > 1e-6:
                yield place, f"share of {value}", share, Figure(right, 0.0)


def _raw_differences(question: Question, points: Points) -> Iterator[Difference]:
    begin, end = question.edges[0], question.edges[-1]
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
