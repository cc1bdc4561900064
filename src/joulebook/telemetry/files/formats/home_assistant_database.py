"""Home Assistant's database (`home-assistant_v2.db`): its states, and before them its long-term statistics.

The file is opened for reading alone. Each row is one reading; its line is the row's number in its table.
An entity's states are the readings of one metric. Statistics are read up to the entity's first state: the
mean of an hour at the hour's beginning, and the register of a meter at its end, where it was reached.

Home Assistant adds up what a meter counted since its statistics began (`sum`), across resets. The register
here rises like that sum, and ends at the meter's own register where the states begin: no energy is lost at
a reset or counted twice at that point.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import Message, UnreadableFile
from joulebook.telemetry.files.formats.format import READINGS_LINE, Content, Format
from joulebook.telemetry.files.formats.home_assistant import (
    NO_VALUES,
    is_number,
    is_word,
    metric_of,
    number_of,
)
from joulebook.telemetry.files.table import shown
from joulebook.telemetry.kinds.guesses import is_unit_of_registers
from joulebook.telemetry.kinds.units import UnitProblem, convert_factor_offset

_MAGIC = b"SQLite format 3\x00"
BOTH, STATES, STATISTICS = _PARTS = ("states and statistics", "states", "statistics")

_LONGEST_CELL = 16 << 20
_INSTRUCTIONS = 200_000
"""Steps of SQLite between two looks whether the result is still needed."""

_ROWS_AT_ONCE = 5_000
_NEWEST = 200
"""The newest states of an entity, by which its unit and kind are known."""

_MOST_RESTORED = 10
_MOST_LOOKED_AT = 1_000
"""The oldest states of an entity that are looked at for a number, if the newest have none."""

_MOST_PLANS = 50_000
_HOUR = 3600
_LAST_TIME = 32_503_680_000.0
"""The year 3000, in seconds since 1970."""

_SAME = 1e-9
"""Largest difference between two registers that are the same, as a part of the register."""

# Columns in angle brackets have other names in other versions.
_STATES_OF = "SELECT state_id, <time>, state, <attributes> FROM states WHERE <key> = ? ORDER BY <by_time>"
_ALL_STATES = "SELECT state_id, <key>, <time>, state, <attributes> FROM states"
_ALL_STATISTICS = "SELECT id, metadata_id, <start>, mean, sum, state FROM statistics"
_FIRST_STATISTIC = "SELECT id FROM statistics WHERE metadata_id = ? ORDER BY <by_start> LIMIT 1"
_LAST_REGISTER = """
SELECT state, sum FROM statistics
WHERE metadata_id = ? AND <by_start> < ? AND state IS NOT NULL AND sum IS NOT NULL
ORDER BY <by_start> DESC LIMIT 1
"""
_STATISTICS_META = """
SELECT id, statistic_id, unit_of_measurement, has_sum, <source> FROM statistics_meta ORDER BY id
"""

_LEAST_CHANGES = 8
_RESET = 0.1
"""A register that falls below this part of itself began anew."""


class _Series(NamedTuple):
    """A metric, and how its numbers are made: in its own unit, in which it is written."""

    metric: str
    unit: str
    kind: str

    @property
    def cells(self) -> str:
        """The cells between time and value."""
        out = io.StringIO()
        csv.writer(out, lineterminator="").writerow((self.metric, self.unit, self.kind))
        return out.getvalue()


@dataclass(frozen=True)
class _Entity:
    """The states of an entity: its first row with a number, when that was (seconds), and its series."""

    series: _Series
    first_row: int
    begin: float


@dataclass(frozen=True)
class _Statistic:
    """Long-term statistics: before `end` (seconds) they are read.

    The register is `sum` plus `ahead`. The first row is read before all others.
    """

    series: _Series
    unit: str
    has_sum: bool
    ahead: float
    end: float
    first_row: int


_Reading = tuple[int, float | str | None, str, str]
"""A row's number, its time as it is stored, the cells between time and value, and the cell of the value."""


def _convert(content: Content) -> Iterator[bytes]:
    """Yield the readings; the first one of each metric comes first, so that a preview shows them all."""
    part = _part(content)
    with _opened(content) as database:
        entities = database.entities() if part != STATISTICS else {}
        statistics = database.statistics(entities) if part != STATES else {}
        if not entities and not statistics:
            remedy = (
                "leave out {sheet} to read all of it" if content.part else "was it kept by Home Assistant?"
            )
            raise UnreadableFile(
                Message("{0} holds no numbers in its {1}; " + remedy, content.name, part), setting="sheet"
            )
        yield READINGS_LINE
        readings = chain(
            database.statistic_readings(statistics, first=True),
            database.state_readings(entities, first=True),
            database.statistic_readings(statistics, first=False),
            database.state_readings(entities, first=False),
        )
        rows: list[_Reading] = []
        for reading in readings:
            rows.append(reading)
            if len(rows) == _ROWS_AT_ONCE:
                yield _lines(rows)
                rows = []
        yield _lines(rows)


def _parts_of(content: Content) -> tuple[str, ...]:
    with _opened(content):
        return _PARTS


def _notes(content: Content) -> tuple[tuple[str, str, str], ...]:
    with _opened(content) as database:
        known, read = len(database.names()), len(database.entities())
    reason = "the states of the others are words, such as sunny; on and off, open and closed are 1 and 0"
    return (("entities", f"{read} of {known}", reason),) if _part(content) != STATISTICS else ()


def _part(content: Content) -> str:
    if content.part and content.part not in _PARTS:
        listed = ", ".join(map(repr, _PARTS))
        raise UnreadableFile(f"{content.name} has no part {content.part!r}; it has {listed}", setting="sheet")
    return content.part or BOTH


@contextmanager
def _opened(content: Content) -> Iterator[_Database]:
    """Open the database for reading; raises `UnreadableFile`, also for damage found later."""
    path = content.path.absolute()
    log = Path(f"{path}-wal")
    # Without a log beside it, nothing at all is created beside the file either.
    mode = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    try:
        with closing(
            sqlite3.connect(
                f"{path.as_uri()}?{mode}", uri=True, isolation_level=None, check_same_thread=False
            )
        ) as conn:
            conn.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_CELL)
            conn.text_factory = partial(str, encoding="utf-8", errors="replace")
            conn.set_progress_handler(_is_abandoned, _INSTRUCTIONS)
            for setting in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON"):
                conn.execute(f"PRAGMA {setting}")
            conn.execute("BEGIN")
            yield _Database(conn, content.name)
    except sqlite3.Error as exc:
        check_budget()
        raise UnreadableFile(
            f"{content.name} cannot be read further as a database ({exc}); stop Home Assistant and copy the "
            "file again, or take it from a backup"
        ) from exc


def _is_abandoned() -> bool:
    try:
        check_budget()
    except Exception:  # noqa: BLE001 - SQLite ends the statement, and the same check raises the reason then
        return True
    return False


class _Database:
    """The tables of one database, whatever version of Home Assistant wrote them."""

    def __init__(self, conn: sqlite3.Connection, name: str) -> None:
        self._conn = conn
        self._name = name
        self._spelling: dict[str, str] = {}
        self._columns = {
            table: {column for _, column, *_ in conn.execute(f"PRAGMA table_info({table})")}
            for (table,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if table in {"states", "states_meta", "state_attributes", "statistics", "statistics_meta"}
        }
        states = self._columns.get("states", set())
        if not {"state_id", "state"} <= states or not states & {"last_updated", "last_updated_ts"}:
            raise UnreadableFile(
                f"{name} is a database, but not Home Assistant's; export its table as CSV and import that"
            )
        self._is_by_number = "metadata_id" in states and "states_meta" in self._columns
        self._has_attributes_apart = "attributes_id" in states
        if self._is_by_number and self._one("SELECT 1 FROM states WHERE metadata_id IS NULL LIMIT 1"):
            raise UnreadableFile(
                f"{name} is on its way from one version of Home Assistant to another; start Home Assistant, "
                "wait until it has changed its database, and copy it again"
            )
        statistics = self._columns.get("statistics", set())
        self._spelling |= {
            "<key>": "metadata_id" if self._is_by_number else "entity_id",
            "<time>": _time_of(states, "last_updated"),
            "<by_time>": _newest_name(states, "last_updated"),
            "<attributes>": "attributes_id" if self._has_attributes_apart else "attributes",
            "<start>": _time_of(statistics, "start"),
            "<by_start>": _newest_name(statistics, "start"),
            "<source>": "source" if "source" in self._columns.get("statistics_meta", ()) else "'recorder'",
        }
        self._names: dict[Any, str] | None = None

    def names(self) -> dict[Any, str]:
        """Return the entities' names by their key in the states."""
        if self._names is None:
            self._require_index("states", _STATES_OF)
            self._names = dict(self._read_names())
        return self._names

    def _read_names(self) -> Iterator[tuple[Any, str]]:
        if self._is_by_number:
            rows = self._run("SELECT metadata_id, entity_id FROM states_meta ORDER BY metadata_id")
            yield from ((key, name) for key, name in rows if isinstance(name, str))
            return
        name = ""
        while found := self._one("SELECT min(entity_id) FROM states WHERE entity_id > ?", name):
            if not isinstance(found[0], str):
                return
            name = found[0]
            yield name, name

    def _require_index(self, table: str, query: str) -> None:
        """Raise `UnreadableFile` if a table can only be read as a whole for each of its series."""
        plan = " ".join(str(row[-1]) for row in self._run(f"EXPLAIN QUERY PLAN {query}", 1))
        if "USING" not in plan or "TEMP B-TREE" in plan:
            raise UnreadableFile(
                f"{self._name} lacks the index of its table {table}; start Home Assistant, which adds it, "
                "and copy the file again"
            )

    def entities(self) -> dict[Any, _Entity]:
        """Return the entities with numbers by their key in the states."""
        found = {}
        for key, name in self.names().items():
            check_budget()
            if entity := self._entity(key, name):
                found[key] = entity
        return found

    def _entity(self, key: Any, name: str) -> _Entity | None:
        newest = self._run(f"{_STATES_OF} DESC LIMIT {_NEWEST}", key)
        numbered = [row for row in newest if number_of(row[2]) is not None]
        limit = -1 if numbered else _MOST_LOOKED_AT
        with closing(self._run(f"{_STATES_OF} LIMIT {limit}", key)) as rows:
            first = next((row for row in rows if number_of(row[2]) is not None), None)
        if first is None:
            return None
        numbered = numbered or [first]
        series = _Series(metric_of(name), "", "state")
        if not all(is_word(row[2]) for row in numbered):
            # An entity just restored lacks its attributes for a while.
            known = (self._read_attributes(row[3]) for row in numbered[:_MOST_RESTORED])
            attributes = next((each for each in known if each.get("unit_of_measurement")), {})
            attributes = attributes or self._read_attributes(numbered[0][3])
            unit = _text_in(attributes, "unit_of_measurement")
            numbers = [number_of(row[2]) for row in reversed(numbered)]
            kind = _kind(_text_in(attributes, "state_class"), unit, numbers)
            series = series._replace(unit=unit, kind=kind)
        begin = _seconds(first[1])
        return _Entity(series, first[0], -math.inf if begin is None else begin)

    def _read_attributes(self, reference: object) -> dict[str, Any]:
        text = reference
        if self._has_attributes_apart:
            row = self._one("SELECT shared_attrs FROM state_attributes WHERE attributes_id = ?", reference)
            text = row[0] if row else None
        try:
            found = json.loads(text) if isinstance(text, str) else {}
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def state_readings(self, entities: dict[Any, _Entity], *, first: bool) -> Iterator[_Reading]:
        """Yield the first reading of each entity, or all others, in the order they were written."""
        if not entities:
            return
        if first:
            numbers = [entity.first_row for entity in entities.values()]
            rows = self._rows_by_number(f"{_ALL_STATES} WHERE state_id = ?", numbers)
        else:
            rows = self._run(f"{_ALL_STATES} ORDER BY state_id")
        # By entity and attributes: how a number becomes one of a series.
        plans: dict[tuple[Any, Any], tuple[str, Callable[[str], str] | None]] = {}
        for row, key, time, state, attributes in rows:
            entity = entities.get(key)
            if entity is None or (row == entity.first_row) != first:
                continue
            if (plan := plans.get((key, attributes))) is None:
                if len(plans) >= _MOST_PLANS:
                    plans.clear()
                plan = plans[key, attributes] = self._plan(entity.series, attributes)
            cells, change = plan
            value = state if type(state) is str and is_number(state) else _value(state)
            yield row, time, cells, value if change is None else change(value)

    def _plan(self, series: _Series, attributes: object) -> tuple[str, Callable[[str], str] | None]:
        """Return the cells of states with these attributes, and what converts their numbers to its unit."""
        unit = _text_in(self._read_attributes(attributes), "unit_of_measurement") if series.unit else ""
        change = _unit_change(series, unit)
        return (change.cells, None) if isinstance(change, _Series) else (series.cells, change)

    def statistics(self, entities: dict[Any, _Entity]) -> dict[int, _Statistic]:
        """Return the long-term statistics by their key; those of `entities` end where its states begin."""
        columns = self._columns.get("statistics", set())
        if not columns:
            return {}
        if "metadata_id" not in columns or "statistics_meta" not in self._columns:
            raise UnreadableFile(
                Message(
                    "{0} was written by a Home Assistant before 2021.9; update it, start it once, and copy "
                    "the file again, or read its states alone with {sheet:states}",
                    self._name,
                ),
                setting="sheet",
            )
        self._require_index("statistics", _FIRST_STATISTIC)
        by_name = {self.names()[key]: entity for key, entity in entities.items()}
        found = {}
        for key, name, unit, has_sum, source in self._run(_STATISTICS_META).fetchall():
            check_budget()
            first = self._one(_FIRST_STATISTIC, key)
            if first is not None and isinstance(name, str):
                entity = by_name.get(name)
                series, end = _series_of_statistic(name, unit or "", bool(has_sum), entity)
                ahead = self._ahead(key, end) if has_sum and source == "recorder" else 0.0
                found[key] = _Statistic(series, unit or "", bool(has_sum), ahead, end, first[0])
        return found

    def _ahead(self, key: int, end: float) -> float:
        """Return how far the meter's own register is ahead of the sum, in the last row before `end`."""
        last = min(max(end - _HOUR, 0.0), _LAST_TIME)
        before: float | str = last
        if self._spelling["<by_start>"] == "start":
            before = datetime.fromtimestamp(last, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        row = self._one(_LAST_REGISTER, key, before)
        return float(row[0]) - float(row[1]) if row else 0.0

    def statistic_readings(self, statistics: dict[int, _Statistic], *, first: bool) -> Iterator[_Reading]:
        """Yield the first reading of each statistic, or all others, in the order they were written."""
        if not statistics:
            return
        if first:
            numbers = [statistic.first_row for statistic in statistics.values()]
            rows = self._rows_by_number(f"{_ALL_STATISTICS} WHERE id = ?", numbers)
        else:
            rows = self._run(f"{_ALL_STATISTICS} ORDER BY id")
        cells = {key: statistic.series.cells for key, statistic in statistics.items()}
        changes = {key: _unit_change(each.series, each.unit) for key, each in statistics.items()}
        for row, key, begin, mean, total, state in rows:
            statistic = statistics.get(key)
            if statistic is None or (row == statistic.first_row) != first:
                continue
            time = _seconds(begin)
            if time is not None:
                time += _HOUR if statistic.has_sum else 0
                if time >= statistic.end:
                    continue
            value = _register(total, state, statistic.ahead) if statistic.has_sum else mean
            text, change = "" if value is None else repr(value), changes[key]
            text = change(text) if callable(change) else text
            yield row, begin if time is None else time, cells[key], text

    def _rows_by_number(self, query: str, numbers: Sequence[int]) -> Iterator[Any]:
        return chain.from_iterable(self._run(query, number) for number in numbers)

    def _one(self, query: str, *values: Any) -> Any:
        return self._run(query, *values).fetchone()

    def _run(self, query: str, *values: Any) -> sqlite3.Cursor:
        for column, name in self._spelling.items():
            query = query.replace(column, name)
        return self._conn.execute(query, values)


def _series_of_statistic(
    name: str, unit: str, has_sum: bool, entity: _Entity | None
) -> tuple[_Series, float]:
    """Return the series of a statistic, and when it ends: where the states of the same series begin."""
    own = _Series(metric_of(name), unit, "counter" if has_sum else "gauge")
    if entity is None:
        return own, math.inf
    if entity.series.kind not in ("", own.kind):
        # The entity has changed its meaning: one metric cannot hold both.
        return own._replace(metric=f"{own.metric} statistics"), math.inf
    changed = _unit_change(entity.series, unit)
    return changed if isinstance(changed, _Series) else entity.series, entity.begin


def _time_of(columns: set[str], name: str) -> str:
    """Return the expression of a time: seconds since 1970, or text in older versions."""
    return f"coalesce({name}_ts, {name})" if {name, f"{name}_ts"} <= columns else _newest_name(columns, name)


def _newest_name(columns: set[str], name: str) -> str:
    return f"{name}_ts" if f"{name}_ts" in columns else name


def _seconds(time: object) -> float | None:
    """Return the seconds since 1970 of a time, None if it is none; a text is in UTC."""
    if isinstance(time, str):
        try:
            time = datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp()
        except (ValueError, OverflowError):
            return None
    return float(time) if isinstance(time, (int, float)) and 0 <= time <= _LAST_TIME else None


def _text_in(attributes: dict[str, Any], name: str) -> str:
    found = attributes.get(name)
    return found if isinstance(found, str) else ""


def _kind(state_class: str, unit: str, numbers: Sequence[float | None]) -> str:
    """Return the kind of an entity: by its class, else by its unit, and for energy by what the numbers do."""
    if state_class in ("total", "total_increasing"):
        return "counter"
    if state_class or (unit and not is_unit_of_registers(unit)):
        return "gauge"
    if not unit:
        return ""
    changes = [(one, other) for one, other in pairwise(numbers) if one != other]
    rises = all(
        one is not None and other is not None and (other > one or other < _RESET * one)
        for one, other in changes
    )
    return "counter" if rises and len(changes) >= _LEAST_CHANGES else "gauge"


def _unit_change(series: _Series, unit: str) -> _Series | Callable[[str], str] | None:
    """Return what makes a number in `unit` one of the series, None if it is one already.

    If nothing can, this returns the series to which it belongs instead.
    """
    if unit == series.unit or not unit:
        return None
    try:
        factor, offset = convert_factor_offset(unit, series.unit)
    except UnitProblem:
        return series._replace(metric=f"{series.metric} {unit}", unit=unit)
    return lambda text: text if (number := number_of(text)) is None else repr(number * factor + offset)


def _register(total: float | None, state: float | None, ahead: float) -> float | None:
    """Return the register at the end of an hour: the meter's own, as long as it rises with the sum."""
    if total is None:
        return None
    found = round(total + ahead, 9)
    if state is not None and abs(found - state) <= _SAME * max(1.0, abs(state)):
        return state
    return found


def _lines(rows: Sequence[_Reading]) -> bytes:
    """Return the readings as CSV."""
    check_budget()
    texts = _time_cells([time for _, time, _, _ in rows])
    return "".join(
        [f"{row},{text},{cells},{value}\n" for (row, _, cells, value), text in zip(rows, texts, strict=True)]
    ).encode("utf-8", "replace")


def _time_cells(times: Sequence[float | str | None]) -> list[str]:
    """Return instants to the microsecond; a cell without one has the text that is there."""
    seconds = np.array([time if type(time) is float else _seconds(time) for time in times], np.float64)
    is_time = (seconds >= 0) & (seconds <= _LAST_TIME)
    micros = np.round(np.where(is_time, seconds, 0) * 1e6).astype("datetime64[us]")
    cells: list[str] = np.datetime_as_string(micros, timezone="UTC").tolist()
    for at in np.flatnonzero(~is_time).tolist():
        cells[at] = _quoted(f"no time: {shown(str(times[at]))}")
    return cells


def _value(state: object) -> str:
    """Return a state as a cell: a number as it is written, a word such as on as 1."""
    text = state if isinstance(state, str) else "" if state is None else str(state)
    if is_number(text) or text in NO_VALUES:
        return text
    number = number_of(text)
    return _quoted(shown(text)) if number is None else f"{number:g}"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


HOME_ASSISTANT_DATABASE = Format(
    "a SQLite database",
    lambda head: head.startswith(_MAGIC),
    _convert,
    _parts_of,
    needs_file=True,
    notes=_notes,
)
