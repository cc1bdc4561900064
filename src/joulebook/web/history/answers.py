"""The answer of `GET /api/history/<device>`; its types are its description in OpenAPI, too.

msgspec encodes it: an answer can have two million numbers, and pydantic would look at each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
import numpy as np
from msgspec import UNSET, Meta, UnsetType
from numpy.typing import NDArray

from joulebook.telemetry.history.clocks import offsets_over
from joulebook.telemetry.history.points import Column, Points
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds
from joulebook.time_zones import ZoneInfo
from joulebook.web.api.answers import Integers, Numbers, encode_array

_LONGEST_DAY = timedelta(hours=25)

Offsets = Annotated[
    Sequence[tuple[int, int]],
    Meta(
        description="the zone's offsets over the range: from each instant (seconds since 1970 UTC) on, "
        "the seconds its clock is ahead of UTC"
    ),
]


class StateShare(msgspec.Struct):
    """One value of a state."""

    value: float
    share: Numbers


class SeriesAnswer(msgspec.Struct):
    """One metric's points: `value` if they are raw, else one number a bucket in each of the other arrays."""

    metric: str
    name: Annotated[str, Meta(description="its name for people")]
    unit: str
    kind: Annotated[str, Meta(extra_json_schema={"enum": ["gauge", "counter", "state"]})]
    value: Annotated[Numbers, Meta(description="in place of the bucket's numbers if raw")] | UnsetType = UNSET
    mean: Numbers | UnsetType = UNSET
    min: Numbers | UnsetType = UNSET
    max: Numbers | UnsetType = UNSET
    count: Integers | UnsetType = UNSET
    coverage: Annotated[Numbers, Meta(description="covered share of the bucket, 0 to 1")] | UnsetType = UNSET
    increase: (
        Annotated[
            Numbers, Meta(description="counters: the increase in the bucket, or since the reading before")
        ]
        | UnsetType
    ) = UNSET
    unallocated: (
        Annotated[
            Numbers, Meta(description="counters: the increase during a silence across the bucket's start")
        ]
        | UnsetType
    ) = UNSET
    resets: Annotated[Integers, Meta(description="counters")] | UnsetType = UNSET
    states: (
        Annotated[Sequence[StateShare], Meta(description="states: each value's share of the covered time")]
        | UnsetType
    ) = UNSET


class HistoryAnswer(msgspec.Struct):
    """A range of a device's readings on one time axis."""

    device: str
    start: datetime
    end: datetime
    tz: str
    offsets: Offsets
    resolution: Annotated[str, Meta(description="raw, 1s, 5s … 5m … 1h … 1d …")]
    source: Annotated[str, Meta(description="the stored table read for it")]
    points: int
    time: Annotated[Numbers, Meta(description="seconds since 1970 UTC")]
    series: Sequence[SeriesAnswer]


def history_answer(
    device_id: str, start: datetime, end: datetime, zone: ZoneInfo, points: Points
) -> HistoryAnswer:
    """Return the answer for [start, end)."""
    return HistoryAnswer(
        device=device_id,
        start=start,
        end=end,
        tz=zone.key,
        offsets=_offsets(zone, start, end, points),
        resolution=points.resolution,
        source=points.source,
        points=len(points.time),
        time=encode_array(_epoch_seconds(points.time)),
        series=[_series(column) for column in points.columns],
    )


def _epoch_seconds(time: NDArray[np.int64]) -> NDArray[np.float64] | NDArray[np.int64]:
    """Return microseconds as seconds: whole numbers if all of them are."""
    seconds, rest = divmod(time, MICROSECONDS)
    return time / MICROSECONDS if rest.any() else seconds


def _offsets(zone: ZoneInfo, start: datetime, end: datetime, points: Points) -> list[tuple[int, int]]:
    """Return the zone's offsets over the range, and over the parts of its outermost buckets beyond it."""
    first = to_microseconds(start)
    if len(points.time):
        first = min(first, int(points.time[0]))
    return offsets_over(zone, first, to_microseconds(end + _LONGEST_DAY))


def _series(column: Column) -> SeriesAnswer:
    settings = column.wanted.settings
    answer = SeriesAnswer(column.wanted.metric, settings.display_name, column.wanted.unit, settings.kind)
    if column.value is not None:
        answer.value = encode_array(column.value)
    else:
        answer.mean = encode_array(column.mean)
        answer.min = encode_array(column.min)
        answer.max = encode_array(column.max)
        answer.count = encode_array(column.count)
        answer.coverage = encode_array(column.coverage.round(4))
    if column.increase is not None and column.unallocated is not None and column.resets is not None:
        answer.increase = encode_array(column.increase)
        answer.unallocated = encode_array(column.unallocated)
        answer.resets = encode_array(column.resets)
    if column.states is not None:
        answer.states = [
            StateShare(state.value, encode_array(state.share.round(6))) for state in column.states
        ]
    return answer
