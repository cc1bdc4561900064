"""A device's newest readings, and its status: waiting, live or silent.

The caller has checked that the user may see the devices.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from itertools import pairwise

from django.db import connections

from joulebook.telemetry.kinds.settings import LISTS_OF_TEXTS, TEXTS, MetricSettings

_RECENT_READINGS = 8

# A few index entries a series: the cost does not depend on the number of stored readings.
_LAST_TIMES = """
SELECT series.device_id, array_agg(recent.time ORDER BY recent.time DESC) AS times
FROM series
CROSS JOIN LATERAL (
    SELECT time FROM readings WHERE series_id = series.id AND value <> 'NaN'
    ORDER BY time DESC LIMIT %(readings)s
) AS recent
WHERE series.device_id = ANY(%(devices)s)
GROUP BY series.device_id, series.id
"""
_NEWEST_VALUE = """
SELECT value FROM readings
WHERE series_id = (SELECT id FROM series WHERE device_id = %(device_id)s AND metric = %(metric)s)
  AND value <> 'NaN'
ORDER BY time DESC LIMIT 1
"""


class DeviceStatus(Enum):
    """Whether readings arrive."""

    WAITING = "waiting"
    """None ever arrived."""
    LIVE = "live"
    SILENT = "silent"
    """None within the device's silence limit."""


def device_status(time: datetime | None, *, limit: timedelta, now: datetime) -> DeviceStatus:
    """Return the status of a device with its newest reading at `time`."""
    if time is None:
        return DeviceStatus.WAITING
    return DeviceStatus.LIVE if now - time <= limit else DeviceStatus.SILENT


@dataclass(frozen=True)
class LastSeen:
    """The instant of a device's newest reading of any metric, and that metric's usual interval."""

    time: datetime
    usual: timedelta | None


def last_seen(device_ids: Sequence[str]) -> dict[str, LastSeen]:
    """Return the newest reading of each device; devices without readings are left out."""
    found: dict[str, LastSeen] = {}
    if not device_ids:
        return found
    with connections["telemetry"].cursor() as cursor:
        cursor.execute(_LAST_TIMES, {"devices": list(device_ids), "readings": _RECENT_READINGS})
        for device_id, times in cursor.fetchall():
            if device_id not in found or times[0] > found[device_id].time:
                intervals = sorted(later - earlier for later, earlier in pairwise(times))
                median = intervals[len(intervals) // 2] if intervals else None
                found[device_id] = LastSeen(times[0], usual=median)
    return found


def newest_value(device_id: str, metric: str) -> float | None:
    """Return a metric's newest stored value, before its factor; None without a reading."""
    with connections["telemetry"].cursor() as cursor:
        cursor.execute(_NEWEST_VALUE, {"device_id": device_id, "metric": metric})
        row = cursor.fetchone()
    return float(row[0]) if row else None


_SEEN = """
SELECT DISTINCT value FROM (
    SELECT value FROM readings
    WHERE series_id = (SELECT id FROM series WHERE device_id = %(device_id)s AND metric = %(metric)s)
        AND value <> 'NaN'
    ORDER BY time DESC LIMIT 1000
) AS recent
ORDER BY value LIMIT %(most)s
"""
_SEEN_TEXTS = """
SELECT text FROM series_texts
WHERE series_id = (SELECT id FROM series WHERE device_id = %(device_id)s AND metric = %(metric)s)
ORDER BY code LIMIT %(most)s
"""
_MOST_SEEN = 50


def seen_states(device_id: str, settings: MetricSettings) -> list[tuple[float, str]]:
    """Return the values of a state that were sent lately as shown, or its texts or flags, each with 0."""
    has_texts = settings.form in {TEXTS, LISTS_OF_TEXTS}
    with connections["telemetry"].cursor() as cursor:
        cursor.execute(
            _SEEN_TEXTS if has_texts else _SEEN,
            {"device_id": device_id, "metric": settings.name, "most": _MOST_SEEN},
        )
        found = [row[0] for row in cursor.fetchall()]
    if not has_texts:
        return [(value * settings.factor, "") for value in found]
    if settings.form == LISTS_OF_TEXTS:
        found = sorted({flag for text in found for flag in json.loads(text)})
    return [(0.0, text) for text in found]
