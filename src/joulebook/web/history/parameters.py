"""Queries for ranges of readings: history's own, and the parts shared with energy and export."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from joulebook.telemetry.export.formats import FORMATS, FormatName
from joulebook.telemetry.history.points import ALL, RANGES
from joulebook.time_zones import ZoneInfo, time_zone_names
from joulebook.web.api.parameters import BadParameter, Instant, bad_parameter

DEFAULT_MAX_POINTS = 750
MOST_POINTS = 5000
FEWEST_POINTS = 10
DEFAULT_RANGE = "24h"
JSON: Literal["json"] = "json"

_RANGE_NAMES = [*RANGES, ALL]


def one_of(words: Collection[str]) -> BeforeValidator:
    """Return the check of a parameter with a few values."""

    def check(value: str, info: ValidationInfo) -> str:
        if value not in words:
            raise bad_parameter(info, f"{info.field_name} {value[:40]!r} is not one of {', '.join(words)}")
        return value

    return BeforeValidator(check)


def read_zone(name: str) -> ZoneInfo:
    """Return the zone of a parameter `tz`."""
    if name not in time_zone_names():
        raise BadParameter("tz", f"tz {name[:40]!r} is not an IANA time zone such as Europe/Berlin")
    return ZoneInfo(name)


def _check_unit(unit: str, info: ValidationInfo) -> str:
    if not unit.strip():
        raise bad_parameter(info, "unit is empty; name one such as kWh, or leave it out")
    return unit


def _read_max_points(text: str, info: ValidationInfo) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise bad_parameter(info, f"max_points {text[:40]!r} is not a whole number")
    if not FEWEST_POINTS <= int(text) <= MOST_POINTS:
        raise bad_parameter(info, f"max_points {text} is not from {FEWEST_POINTS} to {MOST_POINTS}")
    return int(text)


_TEXT = WithJsonSchema({"type": "string"})
_FORMAT = WithJsonSchema({"type": "string", "enum": [JSON, *FORMATS]})
RangeName = Annotated[str, one_of(_RANGE_NAMES), WithJsonSchema({"type": "string", "enum": _RANGE_NAMES})]
Zone = Annotated[ZoneInfo | None, BeforeValidator(read_zone), _TEXT]
UnitName = Annotated[str | None, BeforeValidator(_check_unit), _TEXT]
MaxPoints = Annotated[
    int | None,
    BeforeValidator(_read_max_points),
    WithJsonSchema({"type": "integer", "default": DEFAULT_MAX_POINTS, "maximum": MOST_POINTS}),
]


class RangeQuery(BaseModel):
    """Metrics and a range. A bad value raises `BadParameter`, not pydantic's error."""

    metric: list[str] = Field([], description="may be repeated; none: all of the device")
    start: Instant = Field(None, description="RFC 3339; the range is half-open")
    end: Instant = Field(None, description="RFC 3339; default: now")
    range: RangeName = Field(DEFAULT_RANGE, description="instead of start and end, ending now")

    @property
    def metrics(self) -> list[str]:
        """The metrics, each once."""
        return list(dict.fromkeys(self.metric))

    def window(self, *, now: datetime) -> tuple[datetime | None, datetime]:
        """Return start and end; start is None for the first reading's instant.

        Raises `BadParameter` for parameters in contradiction.
        """
        if self.start is None and self.end is None:
            return (None if self.range == ALL else now - RANGES[self.range]), now
        if "range" in self.model_fields_set:
            raise BadParameter("range", "range cannot be combined with start and end; give one or the other")
        if self.start is None:
            raise BadParameter("start", "end is given without start; give both, or range")
        end = self.end or now
        if self.start >= end:
            message = f"start {self.start.isoformat()} is not before the end {end.isoformat()}"
            raise BadParameter("start", message)
        return self.start, end


class HistoryQuery(RangeQuery):
    """The query of `GET /api/history/<device>`."""

    max_points: MaxPoints = Field(None, description="limit: the finest resolution within it is chosen")
    tz: Zone = Field(None, description="IANA time zone of buckets; default: the device's")
    unit: UnitName = Field(None, description="unit of all values; default: each metric's own")
    format: Annotated[Literal["json"] | FormatName, one_of([JSON, *FORMATS]), _FORMAT] = Field(
        JSON, description="JSON, or the points as a file"
    )
