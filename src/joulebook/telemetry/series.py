"""Finds or creates the series of a (device, metric), up to the limit of metrics of a device.

Beside its id, a series has what its senders say of it: the form of its values, and their unit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

from joulebook.telemetry.connection import Connection, translated_errors

SeriesKey = tuple[str, str]
"""(device id, metric)."""


class SeriesRow(NamedTuple):
    """A series, with what its senders say of it.

    `form` is one of `kinds.settings`' forms. `unit` is the unit of its values as sent, "" if no sender names
    one. `refused_unit` is a different unit named later: values were stored unchanged. It is "" if there is
    none.
    """

    id: int
    form: int = 0
    unit: str = ""
    refused_unit: str = ""


_FIND = """
SELECT series.device_id, series.metric, series.id
FROM unnest(%(devices)s::text[], %(metrics)s::text[]) AS asked (device_id, metric)
JOIN series USING (device_id, metric)
"""
_OF_DEVICE = """
SELECT metric, id, form, unit, refused_unit FROM series
WHERE device_id = %(device_id)s ORDER BY metric COLLATE "C"
"""
_COUNT = "SELECT device_id, count(*) FROM series WHERE device_id = ANY(%(devices)s) GROUP BY device_id"
_FORMS = "SELECT id, form FROM series WHERE id = ANY(%(ids)s::int[])"
_CREATE = """
INSERT INTO series (device_id, metric, form)
SELECT device_id, metric, form
FROM unnest(%(devices)s::text[], %(metrics)s::text[], %(forms)s::int[]) AS asked (device_id, metric, form)
ORDER BY device_id, metric
ON CONFLICT (device_id, metric) DO NOTHING
"""

# Locked in the order of ids: two processes noting the same series must not wait for each other.
_NOTE_UNITS = """
WITH said AS (
    SELECT series.id, asked.unit
    FROM unnest(%(devices)s::text[], %(metrics)s::text[], %(units)s::text[])
        AS asked (device_id, metric, unit)
    JOIN series USING (device_id, metric)
    WHERE series.unit <> asked.unit AND series.refused_unit <> asked.unit
), locked AS (
    SELECT id FROM series WHERE id IN (SELECT id FROM said) ORDER BY id FOR UPDATE
)
UPDATE series SET
    unit = CASE WHEN series.unit = '' THEN said.unit ELSE series.unit END,
    refused_unit = CASE WHEN series.unit IN ('', said.unit) THEN series.refused_unit ELSE said.unit END
FROM said JOIN locked USING (id)
WHERE series.id = said.id
"""


def find_series(conn: Connection, keys: Iterable[SeriesKey]) -> dict[SeriesKey, int]:
    """Return the ids of the existing series."""
    devices, metrics = _columns(keys)
    if not devices:
        return {}
    with translated_errors():
        rows = conn.execute(_FIND, {"devices": devices, "metrics": metrics}).fetchall()
    return {(str(device_id), str(metric)): int(str(number)) for device_id, metric, number in rows}


def series_by_metric(conn: Connection, device_id: str) -> dict[str, SeriesRow]:
    """Return a device's series by metric, in the metrics' order. Raises `DatabaseUnavailable`."""
    with translated_errors():
        rows = conn.execute(_OF_DEVICE, {"device_id": device_id}).fetchall()
    return {row[0]: SeriesRow(*row[1:]) for row in cast("list[tuple[str, int, int, str, str]]", rows)}


def ensure_series(
    conn: Connection,
    keys: Iterable[SeriesKey],
    *,
    most_per_device: int | None = None,
    forms: Mapping[SeriesKey, int] | None = None,
) -> dict[SeriesKey, int]:
    """Return the id of each series, creating the missing ones.

    Keys are served in the given order: new series beyond `most_per_device` metrics of a device are not
    created and not returned. `forms` are the forms of their values if created, by default numbers. Creating
    commits on its own, so it never blocks other writers.
    """
    wanted = list(dict.fromkeys(keys))
    found = find_series(conn, wanted)
    missing = [key for key in wanted if key not in found]
    if missing and most_per_device is not None:
        with translated_errors():
            rows = conn.execute(_COUNT, {"devices": sorted({device for device, _ in missing})}).fetchall()
        used = defaultdict(int, {str(device): int(str(count)) for device, count in rows})
        allowed = []
        for key in missing:
            if used[key[0]] < most_per_device:
                used[key[0]] += 1
                allowed.append(key)
        missing = allowed
    if missing:
        devices, metrics = _columns(missing)
        with translated_errors():
            columns = {"devices": devices, "metrics": metrics}
            conn.execute(_CREATE, columns | {"forms": [(forms or {}).get(key, 0) for key in missing]})
        found |= find_series(conn, missing)
    return found


def forms_of_series(conn: Connection, series_ids: Iterable[int]) -> dict[int, int]:
    """Return the forms of series by id; see `kinds.settings` for the forms."""
    wanted = list(series_ids)
    if not wanted:
        return {}
    with translated_errors():
        rows = conn.execute(_FORMS, {"ids": wanted}).fetchall()
    return dict(cast("list[tuple[int, int]]", rows))


def note_units(conn: Connection, units: Mapping[SeriesKey, str]) -> None:
    """Note the units that senders name for existing series.

    The first unit of a series stands. A different one is kept as refused: values do not change their meaning
    silently. Commits on its own.
    """
    devices, metrics = _columns(units)
    with translated_errors():
        conn.execute(_NOTE_UNITS, {"devices": devices, "metrics": metrics, "units": list(units.values())})


def _columns(keys: Iterable[SeriesKey]) -> tuple[list[str], list[str]]:
    pairs = list(keys)
    return [device_id for device_id, _ in pairs], [metric for _, metric in pairs]
