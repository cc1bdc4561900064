"""The units that senders name: each is noted once with its series, not with every request."""

from __future__ import annotations

from collections.abc import Iterable

from joulebook.ingest.commit.columns import Readings
from joulebook.telemetry.connection import Connection
from joulebook.telemetry.series import SeriesKey, note_units

_MOST_REMEMBERED = 200_000


class UnitsSaid:
    """Notes units over one connection; naming a unit again costs no statement."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self._noted: set[tuple[SeriesKey, str]] = set()

    def note(self, group: Iterable[Readings]) -> None:
        """Note the units of a group of requests; their series exist already."""
        new: dict[SeriesKey, str] = {}
        for readings in group:
            for number, unit in readings.units.items():
                key = readings.keys[number]
                if (key, unit) in self._noted:
                    continue
                if new.get(key, unit) != unit:  # two senders differ: each is noted
                    self._write(new)
                    new = {}
                new[key] = unit
        if new:
            self._write(new)

    def _write(self, units: dict[SeriesKey, str]) -> None:
        note_units(self.conn, units)
        if len(self._noted) > _MOST_REMEMBERED:
            self._noted.clear()
        self._noted.update(units.items())
