"""The answer of `GET /api/history/<device>`; its types are its description in OpenAPI, too.

msgspec encodes it: an answer can have two million numbers, and pydantic would look at each of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Required, TypedDict, cast

import msgspec
import numpy as np
from msgspec import Meta

from joulebook.telemetry.clocks import offsets_over
from joulebook.telemetry.history.columns import Column
from joulebook.telemetry.history.points import Points
from joulebook.telemetry.kinds.kinds import KINDS
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds
from joulebook.time_zones import ZoneInfo
from joulebook.web.api.answers import Integers, Numbers, encode_array
from joulebook.web.corrections.queries import CorrectedStretch

_LONGEST_DAY = timedelta(hours=25)

# As a tuple msgspec would describe a pair in the terms of an older JSON schema.
_Pair = Annotated[Sequence[int], Meta(min_length=2, max_length=2)]

Offsets = Annotated[
    Sequence[_Pair],
    Meta(
        description="the zone's offsets over the range: from each instant (seconds since 1970 UTC) on, "
        "the seconds its clock is ahead of UTC"
    ),
]


class StateAnswer(TypedDict, total=False):
    """One value of a state, or a flag; raw readings have no shares."""

    value: Required[Annotated[float | None, Meta(description="as shown; null for a flag")]]
    word: Required[Annotated[str, Meta(description="the owner's, else the text, on or off, or the value")]]
    colour: Required[Annotated[str, Meta(description="such as #2e9e5b; empty: the usual one")]]
    share: Annotated[Numbers, Meta(description="its share of the covered time")]
    flags: Annotated[Sequence[str], Meta(description="of a list of flags the words of each")]


class SeriesAnswer(TypedDict, total=False):
    """One metric's points: `value` if they are raw, else one number a bucket in each of the other arrays.

    The last ones are those of a kind: the kind's figures add them.
    """

    metric: Required[str]
    name: Required[Annotated[str, Meta(description="its name for people")]]
    unit: Required[str]
    kind: Required[Annotated[str, Meta(extra_json_schema={"enum": list(KINDS)})]]
    value: Annotated[Numbers, Meta(description="in place of the bucket's numbers if raw")]
    mean: Numbers
    min: Numbers
    max: Numbers
    count: Integers
    coverage: Annotated[Numbers, Meta(description="covered share of the bucket, 0 to 1")]
    increase: Annotated[
        Numbers, Meta(description="counters: the increase in the bucket, or since the reading before")
    ]
    unallocated: Annotated[
        Numbers, Meta(description="counters: the increase during a silence across the bucket's start")
    ]
    resets: Annotated[Integers, Meta(description="counters")]
    sum: Annotated[Numbers, Meta(description="amounts: what flowed in the bucket")]
    largest: Annotated[Numbers, Meta(description="amounts: the largest one of the bucket")]
    states: Annotated[Sequence[StateAnswer], Meta(description="states: the values, or the flags")]
    changes: Annotated[Integers, Meta(description="states: the changes in the bucket")]


class CorrectedAnswer(msgspec.Struct):
    """A stretch of one metric changed by a correction that stands."""

    id: Annotated[int, Meta(description="the correction's number")]
    metric: str
    start: Annotated[datetime, Meta(description="first changed instant")]
    end: Annotated[datetime, Meta(description="last changed instant")]


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
    corrected: Annotated[Sequence[CorrectedAnswer], Meta(description="up to 500 stretches")] = ()


def history_answer(
    device_id: str,
    start: datetime,
    end: datetime,
    zone: ZoneInfo,
    points: Points,
    corrected: Sequence[CorrectedStretch] = (),
) -> HistoryAnswer:
    """Return the answer for [start, end), with the stretches changed by corrections there."""
    # The outermost buckets may begin before the range and end after it.
    first = to_microseconds(start)
    if len(points.time):
        first = min(first, int(points.time[0]))
    seconds, rest = divmod(points.time, MICROSECONDS)
    return HistoryAnswer(
        device=device_id,
        start=start,
        end=end,
        tz=zone.key,
        offsets=offsets_over(zone, first, to_microseconds(end + _LONGEST_DAY)),
        resolution=points.resolution,
        source=points.source,
        points=len(points.time),
        time=encode_array(points.time / MICROSECONDS if rest.any() else seconds),
        series=[_series(column) for column in points.columns],
        corrected=[CorrectedAnswer(each.id, each.metric, each.start, each.end) for each in corrected],
    )


def _series(column: Column) -> SeriesAnswer:
    settings = column.wanted.settings
    answer: SeriesAnswer = {
        "metric": column.wanted.metric,
        "name": settings.display_name,
        "unit": column.wanted.unit,
        "kind": settings.kind.name,
    }
    if column.value is not None:
        answer["value"] = encode_array(column.value)
    else:
        answer["mean"] = encode_array(column.mean)
        answer["min"] = encode_array(column.min)
        answer["max"] = encode_array(column.max)
        answer["count"] = encode_array(column.count)
        answer["coverage"] = encode_array(column.coverage.round(4))
    if column.more is not None:
        answer.update(cast("SeriesAnswer", _encoded(column.more.answer())))
    return answer


def _encoded(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return members of an answer with their arrays as JSON, those of listed objects as well."""
    found: dict[str, Any] = {}
    for name, value in members.items():
        if isinstance(value, np.ndarray):
            found[name] = encode_array(value)
        elif isinstance(value, list):
            found[name] = [_encoded(each) for each in value]
        else:
            found[name] = value
    return found
