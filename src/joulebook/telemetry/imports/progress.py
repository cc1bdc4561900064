"""How far an import is: kept beside the readings, and written in the transactions that store them.

Whoever runs an import holds a lease, a number that only grows. All that is written for the import is
committed together with `keep` or `keep_undo`, which insists that the lease is still the last one: of one
that was taken over, nothing is committed any more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, cast

from joulebook.telemetry.connection import Connection, translated_errors
from joulebook.telemetry.errors import TelemetryError
from joulebook.telemetry.files.parsed import Checkpoint
from joulebook.telemetry.files.source import FileSource

# Columns of JSON are read as text: what a driver makes of them depends on who has opened the connection.
_COLUMNS = "lease, device_id, identity, checkpoint::text, report::text, undo::text, bytes_read, updated_at"
_READ = f"SELECT {_COLUMNS} FROM import_progress WHERE import_id = %(import_id)s"  # noqa: S608 - fixed names
_TAKE = f"""
INSERT INTO import_progress AS kept (import_id, lease) VALUES (%(import_id)s, %(lease)s)
ON CONFLICT (import_id) DO UPDATE SET lease = EXCLUDED.lease, updated_at = clock_timestamp()
    WHERE kept.lease <= EXCLUDED.lease AND (kept.undo IS NULL OR %(is_undo)s)
RETURNING {_COLUMNS}
"""  # noqa: S608 - fixed names
_KEEP = """
UPDATE import_progress
SET checkpoint = %(checkpoint)s::json, report = %(report)s::json, device_id = %(device_id)s,
    identity = %(identity)s, bytes_read = %(bytes_read)s, updated_at = clock_timestamp()
WHERE import_id = %(import_id)s AND lease = %(lease)s AND undo IS NULL
"""
_KEEP_UNDO = """
UPDATE import_progress SET undo = %(undo)s::json, updated_at = clock_timestamp()
WHERE import_id = %(import_id)s AND lease = %(lease)s
"""
_TOUCH = """
UPDATE import_progress SET updated_at = clock_timestamp()
WHERE import_id = %(import_id)s AND lease = %(lease)s
"""
_BEGINNING = 64 * 1024

_NO_IDLING = "SET LOCAL idle_in_transaction_session_timeout = '60s'"


class LeaseLost(TelemetryError):
    """Somebody else runs the import now, or it is being undone; nothing more is stored here."""

    def __init__(self, import_id: int, lease: int) -> None:
        super().__init__(f"lease {lease} of import {import_id} is not valid any more: it was taken over")


class NumberTaken(TelemetryError):
    """The import's number is that of another file, of which readings are stored here."""

    def __init__(self, import_id: int) -> None:
        super().__init__(
            f"readings of another file are stored here as import {import_id}: the accounts seem to be a copy "
            "from before that; import the file again, which gives it another number"
        )


@dataclass(frozen=True)
class Progress:
    """How far an import is. `report` and `undo` are what `ImportReport.state` and `UndoRun` have kept.

    `checkpoint` is None as long as no block is stored, `report` as long as none is read, and `undo`
    where nobody has begun to take the import back. `device_id` is the device of columns that name none,
    `identity` tells one file from another.
    """

    lease: int
    device_id: str
    identity: str
    checkpoint: Checkpoint | None
    report: dict[str, Any] | None
    undo: dict[str, Any] | None
    bytes_read: int
    updated_at: datetime


def read_progress(conn: Connection, import_id: int) -> Progress | None:
    """Return how far an import is, or None where it was not begun. Raises `DatabaseUnavailable`."""
    with translated_errors():
        row = conn.execute(_READ, {"import_id": import_id}).fetchone()
    return None if row is None else _progress(row)


def take_lease(
    conn: Connection, *, import_id: int, lease: int, identity: str = "", is_undo: bool = False
) -> Progress:
    """Take the import over from whoever holds an earlier lease, and return how far it is.

    Raises `NumberTaken` where an account is kept of another `identity` and this is no undo, `LeaseLost`
    where a later lease was taken, or the import is being undone and this is no undo, and
    `DatabaseUnavailable`.
    """
    before = None if is_undo else read_progress(conn, import_id)
    if before is not None and before.identity not in {"", identity}:
        raise NumberTaken(import_id)
    with translated_errors():
        row = conn.execute(_TAKE, {"import_id": import_id, "lease": lease, "is_undo": is_undo}).fetchone()
    if row is None:
        raise LeaseLost(import_id, lease)
    return _progress(row)


def end_where_idle(conn: Connection) -> None:
    """Let the server end the transaction where it stands still for a minute.

    A process that is stopped, but not dead, must not hold on to what it has locked.
    """
    conn.execute(_NO_IDLING)


def identity_of(source: FileSource, columns: Sequence[str], *, device_id: str) -> str:
    """Return what tells this file, for this device, from others: its size, its beginning, its columns.

    How it is read is not part of it: another version may describe that in other words, and goes on where
    this one was.
    """
    with source.path.open("rb") as file:
        digest = hashlib.sha256(file.read(_BEGINNING))
    digest.update(json.dumps([source.size, list(columns), device_id]).encode())
    return digest.hexdigest()


def keep(
    conn: Connection,
    *,
    import_id: int,
    lease: int,
    device_id: str,
    identity: str,
    checkpoint: Checkpoint | None,
    report: dict[str, Any],
    bytes_read: int,
) -> None:
    """Note where the import goes on, in the transaction of what was stored until there.

    Raises `LeaseLost`, which has to roll back that transaction.
    """
    _update(
        conn,
        _KEEP,
        import_id=import_id,
        lease=lease,
        device_id=device_id,
        identity=identity,
        checkpoint=None if checkpoint is None else json.dumps(checkpoint.as_json()),
        report=json.dumps(report),
        bytes_read=bytes_read,
    )


def touch(conn: Connection, *, import_id: int, lease: int) -> None:
    """Note that the holder of this lease still runs the import.

    Raises `LeaseLost` and `DatabaseUnavailable`.
    """
    with translated_errors():
        _update(conn, _TOUCH, import_id=import_id, lease=lease)


def keep_undo(conn: Connection, *, import_id: int, lease: int, undo: dict[str, Any]) -> None:
    """Note how far the import is taken back, in the transaction that does it. Raises `LeaseLost`."""
    _update(conn, _KEEP_UNDO, import_id=import_id, lease=lease, undo=json.dumps(undo))


def _update(
    conn: Connection, statement: LiteralString, *, import_id: int, lease: int, **more: object
) -> None:
    """Change the row of who holds this lease. Raises `LeaseLost`."""
    if conn.execute(statement, {"import_id": import_id, "lease": lease, **more}).rowcount != 1:
        raise LeaseLost(import_id, lease)


def _progress(row: tuple[object, ...]) -> Progress:
    lease, device_id, identity, checkpoint, report, undo, bytes_read, updated_at = row
    parsed = _parsed(checkpoint)
    return Progress(
        lease=cast("int", lease),
        device_id=cast("str", device_id),
        identity=cast("str", identity),
        checkpoint=None if parsed is None else Checkpoint.from_json(parsed),
        report=_parsed(report),
        undo=_parsed(undo),
        bytes_read=cast("int", bytes_read),
        updated_at=cast("datetime", updated_at),
    )


def _parsed(text: object) -> dict[str, Any] | None:
    return None if text is None else cast("dict[str, Any]", json.loads(cast("str", text)))
