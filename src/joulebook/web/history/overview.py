"""The last reading and the last hour of many devices at once, for lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import connections

from joulebook.web.devices.models import Metric
from joulebook.web.history.units import guess_unit

SPARKLINE_POINTS = 60
_STEP = timedelta(minutes=1)

# A device is shown by its power where it has one, else by its first metric.
_LATEST = """
SELECT shown.device_id, shown.id, shown.metric, latest.time, latest.value
FROM (
    SELECT DISTINCT ON (device_id) device_id, id, metric FROM series
    WHERE device_id = ANY(%(devices)s)
    ORDER BY device_id, metric <> 'power', metric
) AS shown
LEFT JOIN LATERAL (
    SELECT time, value FROM readings WHERE series_id = shown.id ORDER BY time DESC LIMIT 1
) AS latest ON true
"""
_LAST_HOUR = """
SELECT series_id, (extract(epoch FROM time - %(start)s) / 60)::float8 AS minute, value
FROM (
    SELECT series_id, time_bucket('1 minute', time, origin => %(start)s) AS time,
           sum(value) / count(*) AS value
    FROM readings
    WHERE series_id = ANY(%(series)s) AND time >= %(start)s AND time < %(end)s
    GROUP BY 1, 2
) AS minutes
"""


@dataclass
class DeviceOverview:
    """A device at a glance: its main metric's last reading, and one-minute means of the last hour."""

    metric: str
    unit: str
    value: float | None
    time: datetime | None
    sparkline: list[float | None] = field(default_factory=lambda: [None] * SPARKLINE_POINTS)


def device_overviews(device_ids: Sequence[str], *, now: datetime) -> dict[str, DeviceOverview]:
    """Return an overview of each device that has ever sent a reading.

    The caller has decided that these devices may be seen.
    """
    start = now - SPARKLINE_POINTS * _STEP
    overviews: dict[str, DeviceOverview] = {}
    by_series: dict[int, DeviceOverview] = {}
    units = _named_units(device_ids)
    with connections["telemetry"].cursor() as cursor:
        cursor.execute(_LATEST, {"devices": list(device_ids)})
        for device_id, series_id, metric, time, value in cursor.fetchall():
            unit = units.get((device_id, metric)) or guess_unit(metric)
            overview = DeviceOverview(metric=metric, unit=unit, value=value, time=time)
            overviews[device_id] = by_series[series_id] = overview
        cursor.execute(_LAST_HOUR, {"series": list(by_series), "start": start, "end": now})
        for series_id, minute, value in cursor.fetchall():
            by_series[series_id].sparkline[min(int(minute), SPARKLINE_POINTS - 1)] = value
    return overviews


def _named_units(device_ids: Sequence[str]) -> dict[tuple[str, str], str]:
    """Return the units that owners have named, by device and metric."""
    metrics = Metric.objects.filter(device__device_id__in=device_ids).exclude(unit="")
    return {
        (device, name): unit
        for device, name, unit in metrics.values_list("device__device_id", "name", "unit")
    }
