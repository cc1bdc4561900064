"""A made-up database of Home Assistant, as its versions lay it out."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RECENT, WITH_UNIT_CLASSES, WITH_NAMES_IN_STATES, OLD = 43, 51, 30, 21
VERSIONS = (RECENT, WITH_UNIT_CLASSES, WITH_NAMES_IN_STATES, OLD)
"""Versions of the schema: the recent one, one more recent, and two older ones."""


@dataclass
class Recorder:
    """Writes a database row by row; times are seconds since 1970."""

    path: Path
    version: int = RECENT
    _attributes: dict[str, int] = field(default_factory=dict)
    _entities: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        is_old = self.version < 31
        time = "DATETIME" if is_old else "CHAR(0)"
        seconds = "" if is_old else ", last_changed_ts FLOAT, last_updated_ts FLOAT"
        names = ", metadata_id INTEGER" if not is_old else ""
        apart = ", attributes_id INTEGER" if self.version >= 25 else ""
        mean = "has_mean BOOLEAN"
        if self.version >= 50:
            mean += ", mean_type INTEGER, unit_class VARCHAR(255)"
        statistics = "start DATETIME" if is_old else "start CHAR(0), start_ts FLOAT, last_reset_ts FLOAT"
        start = "start" if is_old else "start_ts"
        script = f"""
            CREATE TABLE states (state_id INTEGER PRIMARY KEY, entity_id VARCHAR(255), state VARCHAR(255),
                attributes TEXT, last_changed {time}, last_updated {time}, old_state_id INTEGER
                {seconds}{apart}{names});
            CREATE TABLE statistics_meta (id INTEGER PRIMARY KEY, statistic_id VARCHAR(255),
                source VARCHAR(32), unit_of_measurement VARCHAR(255), {mean}, has_sum BOOLEAN);
            CREATE TABLE statistics (id INTEGER PRIMARY KEY, metadata_id INTEGER, {statistics},
                mean FLOAT, min FLOAT, max FLOAT, last_reset DATETIME, state FLOAT, sum FLOAT);
            CREATE INDEX ix_statistics_statistic_id_start ON statistics (metadata_id, {start});
        """
        if self.version >= 25:
            script += "CREATE TABLE state_attributes (attributes_id INTEGER PRIMARY KEY, shared_attrs TEXT);"
        if is_old:
            script += "CREATE INDEX ix_states_entity_id_last_updated ON states (entity_id, last_updated);"
        else:
            script += """
                CREATE TABLE states_meta (metadata_id INTEGER PRIMARY KEY, entity_id VARCHAR(255) UNIQUE);
                CREATE INDEX ix_states_metadata_id_last_updated_ts ON states (metadata_id, last_updated_ts);
            """
        self._run(script)

    def _run(self, script: str) -> None:
        with closing(sqlite3.connect(self.path)) as conn:
            conn.executescript(script)

    def state(self, entity: str, *states: tuple[float, str | None], **attributes: str) -> None:
        """Add states of an entity, each with its time."""
        with closing(sqlite3.connect(self.path)) as conn, conn:
            for time, state in states:
                self._add_state(conn, entity, time, state, json.dumps(attributes))

    def _add_state(
        self, conn: sqlite3.Connection, entity: str, time: float, state: str | None, attributes: str
    ) -> None:
        row: dict[str, Any] = {"state": state}
        if self.version >= 25:
            if attributes not in self._attributes:
                self._attributes[attributes] = len(self._attributes) + 1
                conn.execute(
                    "INSERT INTO state_attributes VALUES (?, ?)", (self._attributes[attributes], attributes)
                )
            row["attributes_id"] = self._attributes[attributes]
        else:
            row["attributes"] = attributes
        if self.version < 31:
            row |= {"entity_id": entity, "last_updated": _text(time), "last_changed": _text(time)}
        else:
            if entity not in self._entities:
                self._entities[entity] = len(self._entities) + 1
                conn.execute("INSERT INTO states_meta VALUES (?, ?)", (self._entities[entity], entity))
            row |= {"metadata_id": self._entities[entity], "last_updated_ts": time}
        _insert(conn, "states", row)

    def statistics(
        self,
        name: str,
        *rows: dict[str, float | None],
        unit: str | None,
        has_sum: bool,
        source: str = "recorder",
    ) -> None:
        """Add long-term statistics; each row has its `start`, and `mean`, or `state` and `sum`."""
        with closing(sqlite3.connect(self.path)) as conn, conn:
            meta: dict[str, Any] = {
                "statistic_id": name, "source": source, "unit_of_measurement": unit,
                "has_mean": not has_sum, "has_sum": has_sum,
            }  # fmt: skip
            if self.version >= 50:
                meta |= {"has_mean": None, "mean_type": int(not has_sum)}
            number = _insert(conn, "statistics_meta", meta)
            for given in rows:
                row: dict[str, Any] = {**given, "metadata_id": number}
                start = row.pop("start")
                row |= {"start": _text(start)} if self.version < 31 else {"start_ts": start}
                _insert(conn, "statistics", row)


def _insert(conn: sqlite3.Connection, table: str, row: dict[str, Any]) -> int | None:
    places = ", ".join("?" * len(row))
    return conn.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})",
        (*row.values(),),
    ).lastrowid


def _text(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
