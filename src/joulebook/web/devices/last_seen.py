"""When devices last sent anything at all, and how far apart their readings usually are.

The caller has decided that these devices may be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from django.db import connections

_RECENT_READINGS = 8

# A few index entries a series: the cost does not follow what is stored.
_LAST_TIMES = """
SELECT series.device_id, array_agg(recent.time ORDER BY recent.time DESC) AS times
FROM series
CROSS JOIN LATERAL (
    SELECT time FROM readings WHERE series_id = series.id ORDER BY time DESC LIMIT %(readings)s
) AS recent
WHERE series.device_id = ANY(%(devices)s)
GROUP BY series.device_id, series.id
"""
_NEWEST_VALUE = """
SELECT value FROM readings
WHERE series_id = (SELECT id FROM series WHERE device_id = %(device_id)s AND metric = %(metric)s)
ORDER BY time DESC LIMIT 1
"""


@dataclass(frozen=True)
class LastSeen:
    """The newest reading's instant, of whichever metric, and the usual distance of that metric's readings."""

    time: datetime
    usual: timedelta | None


def last_seen(device_ids: Sequence[str]) -> dict[str, LastSeen]:
    """Return when each device sent its newest reading; devices that never sent one are left out."""
    found: dict[str, LastSeen] = {}
    if not device_ids:
        return found
    with connections["telemetry"].cursor() as cursor:
        cursor.execute(_LAST_TIMES, {"devices": list(device_ids), "readings": _RECENT_READINGS})
        for device_id, times in cursor.fetchall():
            if device_id not in found or times[0] > found[device_id].time:
                found[device_id] = LastSeen(times[0], _median_distance(times))
    return found


def _median_distance(newest_first: Sequence[datetime]) -> timedelta | None:
    distances = sorted(later - earlier for later, earlier in pairwise(newest_first))
    return distances[len(distances) // 2] if distances else None


def newest_value(device_id: str, metric: str) -> float | None:
    """Return a metric's newest reading as it is stored; None where there is none."""
    with connections["telemetry"].cursor() as cursor:
        cursor.execute(_NEWEST_VALUE, {"device_id": device_id, "metric": metric})
        row = cursor.fetchone()
    return float(row[0]) if row else None
