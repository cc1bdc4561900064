"""The originals of corrected readings, and what a reading shows under the corrections that stand.

An original is a reading as it was sent, or as a correction filled it in. Each correction of it is a step. A
reading shows its original after all its steps in the order of their numbers; its time is that of the last
step that moves it. So undoing corrections in any order leaves the readings as if the undone ones had never
run.

`readings` holds the result. Every key of an original, and every key a standing step moved it to, stays taken
there: by the shown value, or else by NaN. Such rows have an `import_id` below zero: a writer that meets one
asks `find_originals`. One key may belong to several originals, such as when all readings of a range move by
an hour; at most one of them is shown there, because a correction moves a reading only to a key whose other
originals it moves away as well.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import LiteralString, cast

import numpy as np
from numpy.typing import NDArray

from joulebook.telemetry.connection import Connection
from joulebook.telemetry.corrections.edits import Edit, EditKind
from joulebook.telemetry.readings import from_microseconds, to_microseconds
from joulebook.telemetry.rollups.marks import mark_changed

Key = tuple[int, int]
"""A series, and an instant in microseconds since 1970 UTC."""

_KEYS: LiteralString = "unnest(%(series_id)s::int[], %(time)s::timestamptz[]) AS key (series_id, time)"
_FIND: LiteralString = f"""
WITH touching AS (
    SELECT series_id, time FROM corrected_readings JOIN {_KEYS} USING (series_id, time)
    UNION
    SELECT step.series_id, step.time FROM correction_steps AS step
    JOIN {_KEYS} ON step.series_id = key.series_id AND step.moved_to = key.time
)
SELECT own.series_id, own.time, own.value, own.import_id, step.correction_id, step.moved_to
FROM touching JOIN corrected_readings AS own USING (series_id, time)
LEFT JOIN correction_steps AS step USING (series_id, time)
ORDER BY own.series_id, own.time, step.correction_id
"""  # noqa: S608 - our own text
_ARE_CORRECTED = f"""
SELECT count(*) FROM readings AS stored JOIN {_KEYS} USING (series_id, time) WHERE stored.import_id < 0
"""  # noqa: S608 - our own text
_EDITS = "SELECT correction_id, edit::text FROM corrections WHERE correction_id = ANY(%(numbers)s)"
_SHOW = """
UPDATE readings AS stored SET value = new.value, import_id = new.import_id
FROM unnest(%(series_id)s::int[], %(time)s::timestamptz[], %(value)s::float8[], %(import_id)s::int[])
    AS new (series_id, time, value, import_id)
WHERE stored.series_id = new.series_id AND stored.time = new.time
  AND stored.time >= %(oldest)s AND stored.time <= %(newest)s
"""
_FREE = f"""
DELETE FROM readings AS stored USING {_KEYS}
WHERE stored.series_id = key.series_id AND stored.time = key.time AND stored.import_id < 0
  AND stored.time >= %(oldest)s AND stored.time <= %(newest)s
"""  # noqa: S608 - our own text
_FORGET = f"""
DELETE FROM corrected_readings AS own USING {_KEYS}
WHERE own.series_id = key.series_id AND own.time = key.time
"""  # noqa: S608 - our own text
_FORGET_STEPS = f"""
DELETE FROM correction_steps AS step USING {_KEYS}
WHERE step.series_id = key.series_id AND step.time = key.time
"""  # noqa: S608 - our own text
_OF_IMPORT = """
SELECT own.series_id, own.time, below.value, below.replaced_import_id
FROM corrected_readings AS own
LEFT JOIN import_replaced AS below USING (import_id, series_id, time)
WHERE own.import_id = %(import_id)s AND own.series_id = ANY(%(series)s)
  AND own.time >= %(begin)s AND own.time < %(end)s
"""
_RESTORE = """
UPDATE corrected_readings AS own SET value = new.value, import_id = new.import_id
FROM unnest(%(series_id)s::int[], %(time)s::timestamptz[], %(value)s::float8[], %(import_id)s::int[])
    AS new (series_id, time, value, import_id)
WHERE own.series_id = new.series_id AND own.time = new.time
"""
_FORGET_OLD = """
WITH gone AS (
    DELETE FROM corrected_readings WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM corrected_readings AS own
        WHERE time < %(before)s AND NOT EXISTS (
            SELECT FROM correction_steps AS step
            WHERE step.series_id = own.series_id AND step.time = own.time AND step.moved_to >= %(before)s)
        LIMIT %(limit)s))
    RETURNING series_id, time
), steps AS (
    DELETE FROM correction_steps AS step USING gone
    WHERE step.series_id = gone.series_id AND step.time = gone.time
)
SELECT count(*) FROM gone
"""
_FORGOTTEN_AT_ONCE = 50_000


@dataclass
class Original:
    """A reading before its corrections: its key and value, and each standing step's number and new time."""

    series_id: int
    time: int
    value: float
    import_id: int
    """0 for a live reading, a number below zero for one filled in by a correction."""
    steps: list[tuple[int, int | None]] = field(default_factory=list)

    @property
    def key(self) -> Key:
        """Its series and time before any step."""
        return self.series_id, self.time

    @property
    def was_sent(self) -> bool:
        """Whether a device or a file has sent it."""
        return self.import_id >= 0

    @property
    def shown_at(self) -> int:
        """Its time after all steps."""
        return next((moved_to for _, moved_to in reversed(self.steps) if moved_to is not None), self.time)

    @property
    def number(self) -> int:
        """The number of the last correction of it."""
        return self.steps[-1][0] if self.steps else -self.import_id

    def taken_keys(self) -> set[Key]:
        """Return the keys taken by it."""
        return {self.key, *((self.series_id, at) for _, at in self.steps if at is not None)}

    def shown(self, edits: Mapping[int, Edit]) -> float:
        """Return its value after all steps, NaN if it is deleted."""
        value = self.value
        for number, _ in self.steps:
            edit = edits[number]
            if edit.kind is EditKind.DELETE:
                return math.nan
            value = edit.value_after(self.series_id, value)
        return value


def key_columns(keys: Iterable[Key]) -> dict[str, list[object]]:
    """Return keys as the parameters `series_id` and `time` of a statement."""
    pairs = list(keys)
    return {
        "series_id": [series_id for series_id, _ in pairs],
        "time": [from_microseconds(time) for _, time in pairs],
    }


def find_originals(conn: Connection, keys: Iterable[Key]) -> dict[Key, list[Original]]:
    """Return for each of the keys the originals it belongs to; keys of none are left out."""
    asked = set(keys)
    found: defaultdict[Key, list[Original]] = defaultdict(list)
    last: Original | None = None
    for series_id, time, value, import_id, number, moved_to in cast(
        "list[tuple[int, datetime, float, int, int | None, datetime | None]]",
        conn.execute(_FIND, key_columns(asked), prepare=False).fetchall() if asked else [],
    ):
        at = to_microseconds(time)
        if last is None or last.key != (series_id, at):
            if last is not None:
                _add(found, last, asked)
            last = Original(series_id, at, value, import_id)
        if number is not None:
            last.steps.append((number, None if moved_to is None else to_microseconds(moved_to)))
    if last is not None:
        _add(found, last, asked)
    return dict(found)


def _add(found: defaultdict[Key, list[Original]], original: Original, asked: set[Key]) -> None:
    for key in original.taken_keys() & asked:
        found[key].append(original)


def are_corrected(conn: Connection, keys: Sequence[Key]) -> bool:
    """Return whether the readings of all these distinct keys are stored as corrected."""
    ((number,),) = conn.execute(_ARE_CORRECTED, key_columns(keys), prepare=False).fetchall()
    return number == len(keys)


def read_edits(conn: Connection, numbers: Iterable[int]) -> dict[int, Edit]:
    """Return what the corrections of these numbers do."""
    rows = conn.execute(_EDITS, {"numbers": sorted(set(numbers))}).fetchall()
    return {int(str(number)): Edit.from_json(json.loads(cast("str", edit))) for number, edit in rows}


def forget_originals(conn: Connection, keys: Iterable[Key]) -> None:
    """Remove the originals of these keys with their steps."""
    columns = key_columns(keys)
    conn.execute(_FORGET_STEPS, columns, prepare=False)
    conn.execute(_FORGET, columns, prepare=False)


def show_again(conn: Connection, keys: Iterable[Key], *, closed_until: int, writable_from: int) -> None:
    """Set the readings at these keys to what their originals show, after a change of originals or steps.

    `keys` are all keys the changed originals had or have. An original without steps becomes a usual
    reading; a key of no original becomes free. Readings before `writable_from` stay. Belongs in a
    transaction under `UNDO_LOCK` and the writers' lock.
    """
    asked = set(keys)
    found = find_originals(conn, asked)
    originals = {each.key: each for several in found.values() for each in several}
    edits = read_edits(conn, (number for each in originals.values() for number, _ in each.steps))
    plain: list[Key] = []
    rows: list[tuple[int, int, float, int]] = []
    free: list[Key] = []
    for key in sorted(asked):
        if key[1] < writable_from:
            continue
        if key not in found:
            free.append(key)
            continue
        value = math.nan
        for each in found[key]:
            if each.shown_at == key[1]:
                shown = each.shown(edits)
                value = value if math.isnan(shown) else shown
        import_id = -max(each.number for each in found[key])
        if len(found[key]) == 1 and not found[key][0].steps and found[key][0].was_sent:
            import_id = found[key][0].import_id
            plain.append(key)
        rows.append((*key, value, import_id))
    if rows:
        store_shown(conn, rows)
    if free:
        limits = {"oldest": from_microseconds(min(time for _, time in free)),
                  "newest": from_microseconds(max(time for _, time in free))}  # fmt: skip
        conn.execute(_FREE, {**key_columns(free), **limits}, prepare=False)
    if plain:
        conn.execute(_FORGET, key_columns(plain), prepare=False)
    mark_keys(
        conn, [*((series_id, time) for series_id, time, _, _ in rows), *free], closed_until=closed_until
    )


def store_shown(conn: Connection, rows: Sequence[tuple[int, int, float, int]]) -> int:
    """Set value and import of stored readings, as (series, time, value, import); return their number."""
    series_id, time, value, import_id = zip(*rows, strict=True)
    parameters = {
        "series_id": list(series_id),
        "time": [from_microseconds(each) for each in time],
        "value": list(value),
        "import_id": list(import_id),
        "oldest": from_microseconds(min(time)),
        "newest": from_microseconds(max(time)),
    }
    return conn.execute(_SHOW, parameters, prepare=False).rowcount


def mark_keys(conn: Connection, keys: Sequence[Key], *, closed_until: int) -> None:
    """Mark the readings of these keys for the rollups."""
    table: NDArray[np.int64] = np.array(keys, np.int64).reshape(-1, 2)
    mark_changed(conn, table[:, 0].astype(np.int32), table[:, 1], closed_until=closed_until)


def undo_import_of_originals(
    conn: Connection,
    *,
    import_id: int,
    series: Sequence[int],
    begin: datetime,
    end: datetime,
    closed_until: int,
    writable_from: int,
) -> tuple[int, int]:
    """Undo an import for corrected readings of the series in [begin, end); return those removed and restored.

    An original whose value the import had replaced gets that value back; one that the import had stored goes,
    with its corrections. Belongs in the transaction of the undo, before the records of replaced values go.
    """
    where = {"import_id": import_id, "series": list(series), "begin": begin, "end": end}
    rows = cast(
        "list[tuple[int, datetime, float | None, int | None]]",
        conn.execute(_OF_IMPORT, where, prepare=False).fetchall(),
    )
    if not rows:
        return 0, 0
    keys = [(series_id, to_microseconds(time)) for series_id, time, _, _ in rows]
    found = find_originals(conn, keys)
    touched = {
        key
        for several in found.values()
        for each in several
        if each.key in set(keys)
        for key in each.taken_keys()
    }
    gone = [key for key, row in zip(keys, rows, strict=True) if row[3] is None]
    restored = [row for row in rows if row[3] is not None]
    if gone:
        forget_originals(conn, gone)
    if restored:
        names = ("series_id", "time", "value", "import_id")
        conn.execute(
            _RESTORE, dict(zip(names, map(list, zip(*restored, strict=True)), strict=True)), prepare=False
        )
    show_again(conn, touched, closed_until=closed_until, writable_from=writable_from)
    return len(gone), len(restored)


def forget_old_originals(conn: Connection, before: datetime) -> int:
    """Remove originals shown before an instant and stored before it, in portions; return their number.

    For time without retained readings, and on a connection in autocommit.
    """
    forgotten = 0
    while True:
        limits = {"before": before, "limit": _FORGOTTEN_AT_ONCE}
        ((gone,),) = conn.execute(_FORGET_OLD, limits).fetchall()
        if not gone:
            return forgotten
        forgotten += cast("int", gone)
