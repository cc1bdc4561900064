"""The last reading and the last hour of many devices at once, for lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

import numpy as np

from joulebook.telemetry.connection import Connection, one_snapshot
from joulebook.telemetry.kinds.settings import LISTS_OF_TEXTS, TEXTS, SettingsByMetric
from joulebook.telemetry.readings import MINUTE, to_microseconds
from joulebook.telemetry.rollups.reader import SummaryReader
from joulebook.telemetry.rollups.state import read_state
from joulebook.telemetry.series import SeriesRow
from joulebook.telemetry.texts import flags_of

SPARKLINE_POINTS = 60

_Latest = tuple[str, str, datetime | None, float | None, str | None, int, int, str, str]

# The main metric of a device is its power if it has one, else its first metric, of numbers rather than text.
_LATEST = f"""
SELECT shown.device_id, shown.metric, latest.time, latest.value,
    CASE WHEN shown.form >= {TEXTS} THEN (
        SELECT text FROM series_texts WHERE series_id = shown.id AND code = latest.value
    ) END AS text,
    shown.id, shown.form, shown.unit, shown.refused_unit
FROM (
    SELECT DISTINCT ON (device_id) device_id, id, metric, form, unit, refused_unit FROM series
    WHERE device_id = ANY(%(devices)s)
    ORDER BY device_id, metric <> 'power', form >= {TEXTS}, metric
) AS shown
LEFT JOIN LATERAL (
    SELECT time, value FROM readings WHERE series_id = shown.id AND value <> 'NaN' ORDER BY time DESC LIMIT 1
) AS latest ON true
"""  # noqa: S608 - a number of ours


@dataclass
class DeviceOverview:
    """A device at a glance: its main metric's last reading, and one-minute means of the last hour.

    Values are stored ones times `factor`. A metric of text has `text` instead of values.
    """

    metric: str
    unit: str
    value: float | None
    time: datetime | None
    factor: float = 1.0
    text: str | None = None
    sparkline: list[float | None] = field(default_factory=lambda: [None] * SPARKLINE_POINTS)


def read_overviews(
    conn: Connection, settings: Mapping[str, SettingsByMetric], *, now: datetime
) -> dict[str, DeviceOverview]:
    """Return an overview of each device in `settings` with at least one reading, by device id."""
    overviews: dict[str, DeviceOverview] = {}
    by_series: dict[int, DeviceOverview] = {}
    with one_snapshot(conn):
        found = conn.execute(_LATEST, {"devices": list(settings)}).fetchall()
        for latest in cast("list[_Latest]", found):
            device_id, metric, time, value, text = latest[:5]
            series = SeriesRow(*latest[5:])
            meaning = settings[device_id][metric].as_sent(series)
            if series.form >= TEXTS:
                overviews[device_id] = DeviceOverview(
                    metric=metric, unit="", value=None, time=time, text=text
                )
                if series.form == LISTS_OF_TEXTS and text is not None:
                    overviews[device_id].text = ", ".join(flags_of(text)) or "none"
                continue
            shown = None if value is None else value * meaning.factor
            overviews[device_id] = by_series[series.id] = DeviceOverview(
                metric=metric, unit=meaning.unit, value=shown, time=time, factor=meaning.factor
            )
        # Minutes of the clock, as they are rolled up; the last one may be unfinished.
        end = to_microseconds(now)
        edges = -(-end // MINUTE) * MINUTE + MINUTE * np.arange(-SPARKLINE_POINTS, 1)
        reader = SummaryReader(conn, edges, read_state(conn), columns=("bucket", "count", "sum"))
        rows = reader.read([(series_id, int(edges[0]), end) for series_id in by_series])
    index = np.searchsorted(edges, rows["bucket"], side="right") - 1
    for series_id, minute, mean in zip(
        rows["series_id"].tolist(), index.tolist(), (rows["sum"] / rows["count"]).tolist(), strict=True
    ):
        by_series[series_id].sparkline[minute] = mean * by_series[series_id].factor
    return overviews
