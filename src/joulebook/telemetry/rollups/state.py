"""The state of the rollups at a moment: closed time, marks, and retained time; and the locks around it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString, cast

from psycopg import sql

from joulebook.telemetry.connection import Connection
from joulebook.telemetry.readings import to_microseconds

WRITERS_LOCK = 7_406_001
"""Shared by writers (`begin_writing` in the database); taking it exclusively waits for those in flight."""

ROLLERS_LOCK = 7_406_002

UNDO_LOCK = 7_406_003
"""Taken before the writers' lock to undo an import or to replace stored readings, one at a time."""

_LOCK = "SELECT pg_advisory_xact_lock(%(key)s)"
_PATIENCE: LiteralString = "SET LOCAL lock_timeout = {}"


def take_lock(conn: Connection, key: int, *, patience: str | None = None) -> None:
    """Take a lock until the transaction ends.

    `patience`, such as `1s`, is the longest wait for this and every further lock of the transaction; after it
    psycopg raises `LockNotAvailable`. It must be short: writers queue behind a waiting transaction.
    """
    if patience is not None:
        limit_lock_waits(conn, patience)
    conn.execute(_LOCK, {"key": key})


def limit_lock_waits(conn: Connection, patience: str) -> None:
    """Let the transaction wait for any lock up to `patience`."""
    conn.execute(sql.SQL(_PATIENCE).format(sql.Literal(patience)))


READINGS_TABLE = "readings"
TABLES = (READINGS_TABLE, "readings_1m", "readings_5m", "readings_1h")
"""The tables under retention, from fine to coarse."""

_STATE = """
SELECT closed_until, writable_from,
       readings_kept_from, readings_1m_kept_from, readings_5m_kept_from, readings_1h_kept_from
FROM rollup_state
"""


@dataclass(frozen=True)
class RollupState:
    """Instants in microseconds since 1970 UTC.

    Before `closed_until` readings are rolled up, or marked. Before `writable_from` no reading is written or
    removed any more, except by retention. Each of `TABLES` is whole from its instant in `retained_from` on:
    before it, chunks may have been dropped. These instants do not rise from fine to coarse, nor above
    `writable_from`.
    """

    closed_until: int
    writable_from: int
    retained_from: dict[str, int]


def finest_width(state: RollupState, start: int) -> int:
    """Return the seconds of the shortest buckets retained from `start` on; 0 if readings are retained."""
    widths = (0, 60, 300, 3600)
    return next(
        (width for table, width in zip(TABLES, widths, strict=True) if state.retained_from[table] <= start),
        widths[-1],
    )


def read_state(conn: Connection) -> RollupState:
    """Return the state in the statement's snapshot."""
    ((closed_until, writable_from, *retained_from),) = conn.execute(_STATE).fetchall()
    return RollupState(
        closed_until=to_microseconds(cast("datetime", closed_until)),
        writable_from=to_microseconds(cast("datetime", writable_from)),
        retained_from={
            table: to_microseconds(cast("datetime", instant))
            for table, instant in zip(TABLES, retained_from, strict=True)
        },
    )
