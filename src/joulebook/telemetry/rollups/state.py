"""What rollups stand for at a moment: what is closed, what is marked, and from when on data are kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString, cast

from psycopg import sql

from joulebook.telemetry.connection import Connection
from joulebook.telemetry.readings import from_microseconds, to_microseconds
from joulebook.telemetry.timescale import Range

WRITERS_LOCK = 7_406_001
"""Shared by writers through `begin_writing` in the database; who takes it alone waits for those in flight."""

ROLLERS_LOCK = 7_406_002

UNDO_LOCK = 7_406_003
"""For who undoes an import, or overwrites what others stored: one at a time, before the writers' lock."""

_LOCK = "SELECT pg_advisory_xact_lock(%(key)s)"
_PATIENCE: LiteralString = "SET LOCAL lock_timeout = {}"


def take_lock(conn: Connection, key: int, *, patience: str | None = None) -> None:
    """Take a lock until the transaction ends.

    `patience`, such as `1s`, is how long this and every further lock of the transaction is waited for;
    beyond it psycopg raises `LockNotAvailable`. Writers queue behind one that waits, so not for long.
    """
    if patience is not None:
        be_patient(conn, patience)
    conn.execute(_LOCK, {"key": key})


def be_patient(conn: Connection, patience: str) -> None:
    """Let the transaction wait so long for any lock, and no longer."""
    conn.execute(sql.SQL(_PATIENCE).format(sql.Literal(patience)))


READINGS_TABLE = "readings"
TABLES = (READINGS_TABLE, "readings_1m", "readings_5m", "readings_1h")
"""All that retention may drop chunks of, from fine to coarse."""

_STATE = """
SELECT closed_until, writable_from,
       readings_kept_from, readings_1m_kept_from, readings_5m_kept_from, readings_1h_kept_from
FROM rollup_state
"""
_MARKED = """
SELECT series_id, begins_at, ends_at FROM rollup_dirty
WHERE (series_id = ANY(%(series)s) OR series_id IS NULL) AND ends_at > %(start)s AND begins_at < %(end)s
"""


@dataclass(frozen=True)
class RollupState:
    """Instants in microseconds since 1970 UTC.

    Before `closed_until` readings are rolled up, or marked. Before `writable_from` no reading is written
    or removed any more, but by retention. `kept_from` gives for each of `TABLES` from when on it is whole:
    before that, chunks may have been dropped. It never rises from fine to coarse, nor above the former.
    """

    closed_until: int
    writable_from: int
    kept_from: dict[str, int]


def finest_width(state: RollupState, start: int) -> int:
    """Return the shortest buckets in which all from `start` on is kept, in seconds; 0 where readings are."""
    widths = (0, 60, 300, 3600)
    return next(
        (width for table, width in zip(TABLES, widths, strict=True) if state.kept_from[table] <= start),
        widths[-1],
    )


def read_state(conn: Connection) -> RollupState:
    """Return the state as the statement's snapshot shows it."""
    ((closed_until, writable_from, *kept_from),) = conn.execute(_STATE).fetchall()
    return RollupState(
        closed_until=to_microseconds(cast("datetime", closed_until)),
        writable_from=to_microseconds(cast("datetime", writable_from)),
        kept_from={
            table: to_microseconds(cast("datetime", instant))
            for table, instant in zip(TABLES, kept_from, strict=True)
        },
    )


def read_marks(
    conn: Connection, series: Sequence[int], start: int, end: int
) -> defaultdict[int | None, list[Range]]:
    """Return what is marked of these series in [start, end), by series; None stands for all of them."""
    limits = {"series": list(series), "start": from_microseconds(start), "end": from_microseconds(end)}
    marked: defaultdict[int | None, list[Range]] = defaultdict(list)
    for series_id, begins_at, ends_at in cast(
        "list[tuple[int | None, datetime, datetime]]", conn.execute(_MARKED, limits).fetchall()
    ):
        marked[series_id].append((to_microseconds(begins_at), to_microseconds(ends_at)))
    return marked
