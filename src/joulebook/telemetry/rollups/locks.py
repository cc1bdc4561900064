"""The advisory locks by which writers, rollers and retention keep clear of each other."""

from __future__ import annotations

from typing import LiteralString

from psycopg import sql

from joulebook.telemetry.connection import Connection

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
