"""What a request for history asks for, read from its query and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.http import QueryDict

from joulebook.telemetry.export.formats import FORMATS, FormatName
from joulebook.telemetry.history.points import ALL, RANGES
from joulebook.time_zones import ZoneInfo, time_zone_names
from joulebook.web.api.parameters import BadParameter, check_names

DEFAULT_MAX_POINTS = 750
MOST_POINTS = 5000
FEWEST_POINTS = 10
DEFAULT_RANGE = "24h"
JSON = "json"

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_KNOWN = ("metric", "start", "end", "range", "max_points", "tz", "unit", "format")


@dataclass(frozen=True)
class HistoryRequest:
    """A checked request. `start` is None where it is to be the first reading's instant.

    `max_points` is None where it is left to us. `unit` is what values are to come in, empty for each
    metric's own; `file_format` is None for JSON.
    """

    metrics: Sequence[str]
    start: datetime | None
    end: datetime
    zone: ZoneInfo
    max_points: int | None
    unit: str = ""
    file_format: FormatName | None = None


def read_parameters(query: QueryDict, *, now: datetime, default_zone: str) -> HistoryRequest:
    """Return what the query asks for. Raises `BadParameter` that names the parameter and the remedy."""
    check_names(query, _KNOWN)
    start, end = read_window(query, now=now)
    return HistoryRequest(
        metrics=list(dict.fromkeys(query.getlist("metric"))),
        start=start,
        end=end,
        zone=read_zone(query.get("tz", default_zone)),
        max_points=_max_points(str(query["max_points"])) if "max_points" in query else None,
        unit=read_unit(query),
        file_format=_file_format(query.get("format", JSON)),
    )


def read_window(
    query: QueryDict, *, now: datetime, default: str = DEFAULT_RANGE
) -> tuple[datetime | None, datetime]:
    """Return start and end of what is asked for; no start where it is to be the first reading's instant."""
    if "start" not in query and "end" not in query:
        name = query.get("range", default)
        if name == ALL:
            return None, now
        if name not in RANGES:
            known = ", ".join([*RANGES, ALL])
            raise BadParameter("range", f"range {name[:40]!r} is not one of {known}")
        return now - RANGES[name], now
    if "range" in query:
        raise BadParameter("range", "range cannot be combined with start and end; give one or the other")
    if "start" not in query:
        raise BadParameter("start", "end is given without start; give both, or range")
    start = _instant("start", query.get("start", ""))
    end = _instant("end", query.get("end", "")) if "end" in query else now
    if start >= end:
        raise BadParameter("start", f"start {start.isoformat()} is not before the end {end.isoformat()}")
    return start, end


def _instant(name: str, text: str) -> datetime:
    # In a query an unescaped plus arrives as a blank.
    try:
        instant = datetime.fromisoformat(text.replace(" ", "+") if "T" in text.upper() else text)
    except ValueError:
        raise BadParameter(name, f"{name} {text[:40]!r} is not a time such as 2026-11-21T09:30:00Z") from None
    if instant.tzinfo is None:
        raise BadParameter(name, f"{name} {text[:40]!r} has no offset; end it with Z or +hh:mm")
    try:
        instant = instant.astimezone(UTC)
    except OverflowError:
        instant = _LATEST + timedelta(days=1)
    if not _EARLIEST <= instant <= _LATEST:
        raise BadParameter(name, f"{name} {text[:40]!r} is outside the years 1970 to 2199")
    return instant


def read_zone(name: str) -> ZoneInfo:
    """Return the zone of a parameter `tz`."""
    if name not in time_zone_names():
        raise BadParameter("tz", f"tz {name[:40]!r} is not an IANA time zone such as Europe/Berlin")
    return ZoneInfo(name)


def read_unit(query: QueryDict) -> str:
    """Return the parameter `unit`, empty where it is not given."""
    unit = str(query.get("unit", ""))
    if "unit" in query and not unit.strip():
        raise BadParameter("unit", "unit is empty; name one such as kWh, or leave it out")
    return unit


def _file_format(word: str) -> FormatName | None:
    if word == JSON:
        return None
    for name in FORMATS:
        if name == word:
            return name
    raise BadParameter("format", f"format {word[:20]!r} is not one of {', '.join([JSON, *FORMATS])}")


def _max_points(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise BadParameter("max_points", f"max_points {text[:40]!r} is not a whole number")
    if not FEWEST_POINTS <= int(text) <= MOST_POINTS:
        raise BadParameter("max_points", f"max_points {text} is not from {FEWEST_POINTS} to {MOST_POINTS}")
    return int(text)
