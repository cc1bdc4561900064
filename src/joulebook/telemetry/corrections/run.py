"""Runs a correction, or its undo, in small transactions; another process can continue after a crash.

A correction goes through its series one after the other, each from its first reading to its last, or the
other way round where readings move forward: a reading then moves to a key whose reading has moved already.
Each slice is one transaction with its progress. A correction changes what is stored when it gets there; a
reading that arrives later in its range stays as sent.

An undo takes the steps of its correction away, slice by slice: what is left of them is its progress.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, LiteralString, cast

import numpy as np

from joulebook.telemetry.connection import Connection, retried, translated_errors
from joulebook.telemetry.corrections.edits import Edit, EditKind
from joulebook.telemetry.corrections.originals import (
    Key,
    Original,
    find_originals,
    forget_originals,
    key_columns,
    mark_keys,
    show_again,
    store_shown,
)
from joulebook.telemetry.errors import TelemetryError
from joulebook.telemetry.readings import from_microseconds, to_microseconds
from joulebook.telemetry.rollups.marks import begin_writing
from joulebook.telemetry.rollups.state import UNDO_LOCK, read_state, take_lock

SLICE_READINGS = 20_000
"""Most readings in one transaction."""

_NO_IDLING = "SET LOCAL idle_in_transaction_session_timeout = '60s'"
# Changes to compressed readings unpack them; the server's limit on unpacking would only stop the correction.
_UNPACK = """
SELECT set_config(name, '0', true) FROM pg_settings
WHERE name = 'timescaledb.max_tuples_decompressed_per_dml_transaction'
"""
_TAKE = """
INSERT INTO corrections AS stored (correction_id, lease, identity, edit, is_undoing)
VALUES (%(number)s, %(lease)s, %(identity)s, %(edit)s::json, %(is_undoing)s)
ON CONFLICT (correction_id) DO UPDATE
    SET lease = EXCLUDED.lease, is_undoing = EXCLUDED.is_undoing, updated_at = clock_timestamp()
    WHERE stored.lease <= EXCLUDED.lease AND stored.is_undoing <= EXCLUDED.is_undoing
      AND stored.identity = EXCLUDED.identity
RETURNING edit::text, progress::text, report::text
"""
_IDENTITY = "SELECT identity FROM corrections WHERE correction_id = %(number)s"
_RECORD = """
UPDATE corrections
SET progress = %(progress)s::json, report = %(report)s::json, updated_at = clock_timestamp()
WHERE correction_id = %(number)s AND lease = %(lease)s AND is_undoing = %(is_undoing)s
"""
_ROWS: LiteralString = """
SELECT time, value, import_id FROM readings
WHERE series_id = %(series)s AND time >= %(begin)s AND time < %(end)s
  AND value <> 'NaN' AND import_id <> -%(number)s::int {points}
ORDER BY time {order} LIMIT %(limit)s
"""
_AT_POINTS: LiteralString = "AND time = ANY(%(points)s)"
_IS_TAKEN = """
SELECT time, value, import_id FROM readings
WHERE series_id = %(series)s AND time = ANY(%(times)s) AND time >= %(oldest)s AND time <= %(newest)s
"""
_LAST_BEFORE = """
SELECT time, value FROM readings
WHERE series_id = %(series)s AND time < %(instant)s AND value <> 'NaN' AND import_id <> -%(number)s::int
ORDER BY time DESC LIMIT 1
"""
_FIRST_FROM = """
SELECT time, value FROM readings
WHERE series_id = %(series)s AND time >= %(instant)s AND value <> 'NaN' AND import_id <> -%(number)s::int
ORDER BY time LIMIT 1
"""
_ADD = """
INSERT INTO readings (time, value, series_id, import_id)
SELECT time, value, %(series)s, -%(number)s::int
FROM unnest(%(times)s::timestamptz[], %(values)s::float8[]) AS new (time, value)
ON CONFLICT (series_id, time) DO NOTHING
RETURNING time
"""
_KEEP = """
INSERT INTO corrected_readings (time, value, series_id, import_id)
SELECT time, value, %(series)s, import_id
FROM unnest(%(times)s::timestamptz[], %(values)s::float8[], %(imports)s::int[])
    AS new (time, value, import_id)
"""
_KEEP_STEPS = """
INSERT INTO correction_steps (time, moved_to, series_id, correction_id)
SELECT time, moved_to, %(series)s, %(number)s
FROM unnest(%(times)s::timestamptz[], %(moved_to)s::timestamptz[]) AS new (time, moved_to)
"""
_STEPS_OF: LiteralString = """
SELECT series_id, time FROM correction_steps WHERE correction_id = %(number)s
ORDER BY series_id {order}, time {order} LIMIT %(limit)s
"""
_FILLED_BY = """
SELECT series_id, time FROM corrected_readings WHERE import_id = -%(number)s::int
ORDER BY series_id, time LIMIT %(limit)s
"""
_DROP_STEPS = """
DELETE FROM correction_steps AS step
USING unnest(%(series_id)s::int[], %(time)s::timestamptz[]) AS key (series_id, time)
WHERE step.series_id = key.series_id AND step.time = key.time AND step.correction_id = %(number)s
"""


class CorrectionLost(TelemetryError):
    """Another process runs the correction now, or it is being undone; nothing more is stored here."""

    def __init__(self, number: int, lease: int) -> None:
        super().__init__(f"lease {lease} of correction {number} is not valid any more: it was taken over")


class CorrectionNumberTaken(TelemetryError):
    """Another correction has changed readings here under the same number."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"another correction has changed readings here as correction {number}: the accounts seem to be a "
            "copy from before that; make the correction again, which gives it another number"
        )


@dataclass(frozen=True)
class _Row:
    """A reading as it is shown now."""

    time: int
    value: float
    import_id: int


class _Run:
    """What a correction and its undo share: the lease, the transaction of a slice, the record of progress."""

    _is_undo: ClassVar[bool]

    def __init__(
        self,
        conn: Connection,
        *,
        number: int,
        lease: int,
        identity: str,
        edit: Edit,
        slice_readings: int = SLICE_READINGS,
        pause: Callable[[str], None] = lambda _point: None,
    ) -> None:
        """Take the correction over; a run with an earlier `lease` can store nothing from here on.

        A correction being undone is not run again. `conn` is the writer's, in autocommit. `pause` is called
        with the name of each point between two statements: tests stop there. Raises `CorrectionLost`,
        `CorrectionNumberTaken`, `DatabaseUnavailable`.
        """
        self._conn = conn
        self._number, self._lease = number, lease
        self._most = slice_readings
        self._pause = pause
        parameters = {
            "number": number,
            "lease": lease,
            "identity": identity,
            "edit": json.dumps(edit.as_json()),
            "is_undoing": self._is_undo,
        }
        with translated_errors():
            row = conn.execute(_TAKE, parameters).fetchone()
            if row is None:
                stored = conn.execute(_IDENTITY, parameters).fetchone()
                if stored is not None and stored[0] != identity:
                    raise CorrectionNumberTaken(number)
                raise CorrectionLost(number, lease)
        self._edit = Edit.from_json(json.loads(cast("str", row[0])))
        self._progress: dict[str, Any] = json.loads(cast("str", row[1] or "{}"))
        self.report: dict[str, Any] = json.loads(cast("str", row[2] or "{}"))

    def _open(self) -> tuple[int, int]:
        """Begin a transaction's work; return the end of rolled-up time, and of time too old to be changed."""
        self._conn.execute(_NO_IDLING)
        take_lock(self._conn, UNDO_LOCK)
        closed_until = begin_writing(self._conn)
        writable_from = read_state(self._conn).writable_from
        self._conn.execute(_UNPACK)
        return closed_until, writable_from

    def _record(self, progress: dict[str, Any], report: dict[str, Any]) -> None:
        """Record the progress in the open transaction. Raises `CorrectionLost`."""
        parameters = {
            "number": self._number,
            "lease": self._lease,
            "is_undoing": self._is_undo,
            "progress": json.dumps(progress),
            "report": json.dumps(report),
        }
        if self._conn.execute(_RECORD, parameters).rowcount != 1:
            raise CorrectionLost(self._number, self._lease)


class CorrectionRun(_Run):
    """One correction, from its beginning or from where an earlier run ended.

    `report` has for each metric the number of changed readings (`changed`), of those that stay because
    their new key is taken (`conflicts`), and the first and last changed instant in microseconds (`first`,
    `last`).
    """

    _is_undo = False

    def step(self) -> bool:
        """Correct the next slice in one transaction; return False when there is none left.

        Raises `CorrectionLost` and `DatabaseUnavailable`.
        """
        index = self._progress.get("series", 0)
        if index >= len(self._edit.series_ids):
            return False
        self._progress, self.report = retried(self._conn, lambda: self._slice(index))
        return True

    def _slice(self, index: int) -> tuple[dict[str, Any], dict[str, Any]]:
        series = self._edit.series_ids[index]
        with self._conn.transaction():
            closed_until, writable_from = self._open()
            slice_ = EditSlice(
                self._conn, self._number, self._edit, series, most=self._most, writable_from=writable_from,
                pause=self._pause,
            )  # fmt: skip
            rest = slice_.apply(self._progress.get("at"), closed_until=closed_until)
            progress = {"series": index, "at": rest} if rest is not None else {"series": index + 1}
            report = _added(self.report, self._edit.series[series].metric, slice_)
            self._record(progress, report)
            self._pause("progress recorded")
        return progress, report


def _added(report: dict[str, Any], metric: str, slice_: EditSlice) -> dict[str, Any]:
    before = report.get(metric, {"changed": 0, "conflicts": 0, "first": None, "last": None})
    times = [*slice_.changed, *(each for each in (before["first"], before["last"]) if each is not None)]
    after = {
        "changed": before["changed"] + slice_.count,
        "conflicts": before["conflicts"] + len(slice_.conflicts),
        "first": min(times, default=None),
        "last": max(times, default=None),
    }
    return {**report, metric: after}


class EditSlice:
    """The part of an edit in one series and one transaction.

    `changed` are the instants of changed readings, and of those they moved to; `count` is the number of
    changed readings, `conflicts` the instants of readings that cannot move.
    """

    def __init__(
        self,
        conn: Connection,
        number: int,
        edit: Edit,
        series: int,
        *,
        most: int,
        writable_from: int,
        pause: Callable[[str], None] = lambda _point: None,
    ) -> None:
        self._conn, self._number, self._edit, self._series = conn, number, edit, series
        self._most, self._writable_from, self._pause = most, writable_from, pause
        self.changed: list[int] = []
        self.count = 0
        self.conflicts: list[int] = []

    def apply(self, at: int | None, *, closed_until: int) -> int | None:
        """Edit up to `most` readings from `at` on (None: the beginning); return where the next slice begins.

        Returns None at the end of the series.
        """
        if self._edit.kind is EditKind.FILL:
            added, rest = self.fill(at)
            self._store_filled(added)
        else:
            rows, rest = self.rows(at, lock=True)
            if self._edit.kind is EditKind.SHIFT:
                self._store_moved(self.moves(rows))
            else:
                self._store_values(rows)
        mark_keys(self._conn, [(self._series, time) for time in self.changed], closed_until=closed_until)
        self._pause("marked")
        return rest

    def rows(self, at: int | None, *, lock: bool = False) -> tuple[list[_Row], int | None]:
        """Return the next readings to be edited, in their order, and where the slice after them begins."""
        is_backwards = self._edit.kind is EditKind.SHIFT and self._edit.by > 0
        begin, end = max(self._edit.start, self._writable_from), self._edit.end
        if at is not None:
            begin, end = (begin, at) if is_backwards else (max(begin, at), end)
        if begin >= end:
            return [], None
        statement = _ROWS.format(
            points=_AT_POINTS if self._edit.points else "", order="DESC" if is_backwards else "ASC"
        )
        found = self._fetch(
            statement + (" FOR UPDATE" if lock else ""),
            begin=from_microseconds(begin),
            end=from_microseconds(end),
            points=[from_microseconds(each) for each in self._edit.points],
            limit=self._most,
        )
        if len(found) < self._most:
            return found, None
        return found, found[-1].time if is_backwards else found[-1].time + 1

    def moves(self, rows: Sequence[_Row]) -> list[tuple[Original, int, float]]:
        """Return the originals of the readings that can move, each with its new time and its value.

        The others are in `conflicts`.
        """
        by = self._edit.by
        originals = self._originals(rows)
        targets = [row.time + by for row in rows]
        taken = {each.time: each for each in self._at(targets)}
        around = find_originals(
            self._conn, [(self._series, each.time) for each in taken.values() if each.import_id < 0]
        )
        moving: set[Key] = set()
        moved = []
        for row, original in zip(rows, originals, strict=True):
            target = row.time + by
            stored = taken.get(target)
            is_free = target >= self._writable_from
            if stored is not None:
                others = around.get((self._series, target), [])
                # A reading of this range that has not been corrected before has no original yet.
                is_leaving = bool(others) or (self._series, target) in moving
                is_free = is_free and is_leaving and all(
                    each.key in moving or each.key == original.key or self._number in dict(each.steps)
                    for each in others
                )  # fmt: skip
            if is_free:
                moving.add(original.key)
                moved.append((original, target, row.value))
                self.count += 1
                self.changed += [row.time, target]
            else:
                self.conflicts.append(row.time)
        return moved

    def fill(self, at: int | None) -> tuple[list[tuple[int, float]], int | None]:
        """Return the next readings to be filled in, as (time, value), and where the slice after them
        begins."""
        edit = self._edit
        begin = edit.start if at is None else at
        if begin < self._writable_from:
            begin += -(-(self._writable_from - begin) // edit.step) * edit.step
        instants = list(range(begin, edit.end, edit.step))[: self._most]
        if not instants:
            return [], None
        rest = instants[-1] + edit.step
        taken = {each.time for each in self._at(instants)}
        free = [time for time in instants if time not in taken]
        value = edit.series[self._series].value
        added = self._on_line(free) if value is None else [(time, value) for time in free]
        return added, rest if rest < edit.end else None

    def _on_line(self, times: list[int]) -> list[tuple[int, float]]:
        """Return those of the instants that lie between two readings, each with its value on their line."""
        if not times:
            return []
        inner = self._fetch(
            _ROWS.format(points="", order="ASC"), begin=from_microseconds(times[0]),
            end=from_microseconds(times[-1]), limit=None,
        )  # fmt: skip
        before = self._fetch(_LAST_BEFORE, instant=from_microseconds(times[0]))
        after = self._fetch(_FIRST_FROM, instant=from_microseconds(times[-1]))
        known = [*before, *inner, *after]
        at = np.searchsorted(np.array([each.time for each in known], np.int64), np.array(times, np.int64))
        found = []
        for time, index in zip(times, at.tolist(), strict=True):
            if 0 < index < len(known):
                left, right = known[index - 1], known[index]
                share = (time - left.time) / (right.time - left.time)
                found.append((time, left.value + (right.value - left.value) * share))
        return found

    def _originals(self, rows: Sequence[_Row]) -> list[Original]:
        """Return the original of each reading; an uncorrected one has none yet, so it is made of the
        reading."""
        keys = [(self._series, row.time) for row in rows if row.import_id < 0]
        found = find_originals(self._conn, keys)
        originals = []
        for row in rows:
            if row.import_id >= 0:
                originals.append(Original(self._series, row.time, row.value, row.import_id))
            else:
                several = found[self._series, row.time]
                originals.append(next(each for each in several if each.shown_at == row.time))
        return originals

    def _store_values(self, rows: Sequence[_Row]) -> None:
        """Edit the values of readings that stay where they are."""
        if not rows:
            return
        originals = self._originals(rows)
        self._keep(originals, [None] * len(rows))
        self._pause("originals kept")
        after = [self._edit.value_after(self._series, row.value) for row in rows]
        store_shown(
            self._conn,
            [(self._series, row.time, value, -self._number) for row, value in zip(rows, after, strict=True)],
        )
        self.count += len(rows)
        self.changed += [row.time for row in rows]

    def _store_moved(self, moved: Sequence[tuple[Original, int, float]]) -> None:
        """Move readings; their former keys stay taken."""
        if not moved:
            return
        before = [original.shown_at for original, _, _ in moved]
        self._keep([original for original, _, _ in moved], [target for _, target, _ in moved])
        self._pause("originals kept")
        shown = dict.fromkeys(before, math.nan) | {target: value for _, target, value in moved}
        rows = list(shown.items())
        new = self._add(rows)
        if len(new) < len(rows):
            kept = [(self._series, time, value, -self._number) for time, value in rows if time not in new]
            store_shown(self._conn, kept)

    def _store_filled(self, added: Sequence[tuple[int, float]]) -> None:
        """Add filled readings, except those whose key was taken meanwhile."""
        new = self._add(added)
        stored = [(time, value) for time, value in added if time in new]
        if stored:
            originals = [Original(self._series, time, value, -self._number) for time, value in stored]
            self._store_originals(originals)
        self.count += len(stored)
        self.changed += [time for time, _ in stored]

    def _add(self, rows: Sequence[tuple[int, float]]) -> set[int]:
        """Store rows whose keys are free; return the instants of those stored."""
        parameters = {
            "series": self._series,
            "number": self._number,
            "times": [from_microseconds(time) for time, _ in rows],
            "values": [value for _, value in rows],
        }
        found = self._conn.execute(_ADD, parameters, prepare=False).fetchall()
        return {to_microseconds(cast("datetime", time)) for (time,) in found}

    def _keep(self, originals: Sequence[Original], moved_to: Sequence[int | None]) -> None:
        """Store new originals, and the step of this correction for each."""
        self._store_originals([each for each in originals if each.was_sent and not each.steps])
        parameters = {
            "series": self._series,
            "number": self._number,
            "times": [from_microseconds(each.time) for each in originals],
            "moved_to": [None if each is None else from_microseconds(each) for each in moved_to],
        }
        self._conn.execute(_KEEP_STEPS, parameters, prepare=False)

    def _store_originals(self, originals: Sequence[Original]) -> None:
        parameters = {
            "series": self._series,
            "times": [from_microseconds(each.time) for each in originals],
            "values": [each.value for each in originals],
            "imports": [each.import_id for each in originals],
        }
        self._conn.execute(_KEEP, parameters, prepare=False)

    def _at(self, times: Sequence[int]) -> list[_Row]:
        """Return the stored rows at these instants, those with the value NaN as well."""
        if not times:
            return []
        instants = [from_microseconds(each) for each in times]
        return self._fetch(_IS_TAKEN, times=instants, oldest=min(instants), newest=max(instants))

    def _fetch(self, statement: LiteralString, **parameters: object) -> list[_Row]:
        # Never a generic plan: the constants of the range exclude chunks.
        found = self._conn.execute(
            statement, {"series": self._series, "number": self._number, **parameters}, prepare=False
        ).fetchall()
        return [
            _Row(to_microseconds(cast("datetime", row[0])), cast("float", row[1]), int(str((*row, 0)[2])))
            for row in found
        ]


class CorrectionUndo(_Run):
    """The undo of one correction, from its beginning or from where an earlier run ended.

    `undone` counts the readings whose step it took away in this run.
    """

    _is_undo = True
    undone = 0

    def step(self) -> bool:
        """Undo the next slice in one transaction; return False when there is none left.

        Raises `CorrectionLost` and `DatabaseUnavailable`.
        """
        undone = retried(self._conn, self._slice)
        self.undone += undone
        return bool(undone)

    def _slice(self) -> int:
        with self._conn.transaction():
            closed_until, writable_from = self._open()
            # The other way round than the correction: what moved to a key goes before its former reading
            # returns.
            order: LiteralString = "ASC" if self._edit.by > 0 else "DESC"
            stepped = self._keys(_STEPS_OF.format(order=order))
            filled = self._keys(_FILLED_BY) if self._edit.kind is EditKind.FILL else []
            undone = [*stepped, *filled]
            if undone:
                asked = set(undone)
                found = find_originals(self._conn, asked)
                changed = {
                    key
                    for several in found.values()
                    for each in several
                    if each.key in asked
                    for key in each.taken_keys()
                }
                self._conn.execute(
                    _DROP_STEPS, {**key_columns(stepped), "number": self._number}, prepare=False
                )
                if filled:
                    forget_originals(self._conn, filled)
                self._pause("steps dropped")
                show_again(self._conn, changed, closed_until=closed_until, writable_from=writable_from)
            self._record(self._progress, self.report)
            self._pause("progress recorded")
        return len(undone)

    def _keys(self, statement: LiteralString) -> list[Key]:
        rows = self._conn.execute(statement, {"number": self._number, "limit": self._most}).fetchall()
        return [(cast("int", series), to_microseconds(cast("datetime", time))) for series, time in rows]
