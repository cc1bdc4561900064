"""The progress of an import, stored beside the readings in the transactions of those readings.

A process that runs an import holds a lease, a number that only grows. It calls `record_progress` or
`record_undo` in each of its transactions; they fail unless its lease is the latest. So a process whose
lease was taken over can commit nothing more.
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
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import Checkpoint

# Columns of JSON are read as text: how a driver converts them depends on the settings of the connection.
_COLUMNS = "lease, device_id, identity, checkpoint::text, report::text, undo::text, bytes_read, updated_at"
_READ = f"SELECT {_COLUMNS} FROM import_progress WHERE import_id = %(import_id)s"  # noqa: S608 - fixed names
_TAKE = f"""
INSERT INTO import_progress AS stored (import_id, lease) VALUES (%(import_id)s, %(lease)s)
ON CONFLICT (import_id) DO UPDATE SET lease = EXCLUDED.lease, updated_at = clock_timestamp()
    WHERE stored.lease <= EXCLUDED.lease AND (stored.undo IS NULL OR %(is_undo)s)
RETURNING {_COLUMNS}
"""  # noqa: S608 - fixed names
_RECORD = """
UPDATE import_progress
SET checkpoint = %(checkpoint)s::json, report = %(report)s::json, device_id = %(device_id)s,
    identity = %(identity)s, bytes_read = %(bytes_read)s, updated_at = clock_timestamp()
WHERE import_id = %(import_id)s AND lease = %(lease)s AND undo IS NULL
"""
_RECORD_UNDO = """
UPDATE import_progress SET undo = %(undo)s::json, updated_at = clock_timestamp()
WHERE import_id = %(import_id)s AND lease = %(lease)s
"""
_RENEW = """
UPDATE import_progress SET updated_at = clock_timestamp()
WHERE import_id = %(import_id)s AND lease = %(lease)s
"""
_BEGINNING_BYTES = 64 * 1024

_NO_IDLING = "SET LOCAL idle_in_transaction_session_timeout = '60s'"


class LeaseLost(TelemetryError):
    """Another process runs the import now, or it is being undone; nothing more is stored here."""

    def __init__(self, import_id: int, lease: int) -> None:
        super().__init__(f"lease {lease} of import {import_id} is not valid any more: it was taken over")


class NumberTaken(TelemetryError):
    """Readings of another file are stored here under the import's number."""

    def __init__(self, import_id: int) -> None:
        super().__init__(
            f"readings of another file are stored here as import {import_id}: the accounts seem to be a copy "
            "from before that; import the file again, which gives it another number"
        )


@dataclass(frozen=True)
class Progress:
    """The progress of an import. `report` is a state of `ImportReport`, `undo` the state of an `UndoRun`.

    `checkpoint` is None until a block is stored, `report` until a block is read, and `undo` until an undo
    begins. `device_id` is the device of columns without a device of their own. `identity` identifies the file
    (see `identity_of`); it is empty until a block is stored.
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
    """Return the progress of an import, or None before its beginning. Raises `DatabaseUnavailable`."""
    with translated_errors():
        row = conn.execute(_READ, {"import_id": import_id}).fetchone()
    return None if row is None else _progress(row)


def take_lease(
    conn: Connection, *, import_id: int, lease: int, identity: str = "", is_undo: bool = False
) -> Progress:
    """Take the import over from a process with an earlier lease, and return its progress.

    Raises `NumberTaken` if progress of another `identity` is stored, unless `is_undo`. Raises `LeaseLost`
    if a later lease was taken, or if the import is being undone, unless `is_undo`. Raises
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
    """Let the server end the transaction after a minute without a statement.

    A process that is suspended, but not dead, must not keep its locks.
    """
    conn.execute(_NO_IDLING)


def identity_of(source: FileSource, columns: Sequence[str], *, device_id: str) -> str:
    """Return a digest of the file's size, beginning and columns, and of the device.

    The reading settings are not part of it: another version of Joulebook may describe them differently,
    and continues the import all the same.
    """
    digest = hashlib.sha256(source.beginning(_BEGINNING_BYTES))
    digest.update(json.dumps([source.size, list(columns), device_id]).encode())
    return digest.hexdigest()


def record_progress(
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
    """Record where the import continues, in the transaction of the readings stored up to there.

    Raises `LeaseLost`; the caller must roll back that transaction.
    """
    _update(
        conn,
        _RECORD,
        import_id=import_id,
        lease=lease,
        device_id=device_id,
        identity=identity,
        checkpoint=None if checkpoint is None else json.dumps(checkpoint.as_json()),
        report=json.dumps(report),
        bytes_read=bytes_read,
    )


def renew_lease(conn: Connection, *, import_id: int, lease: int) -> None:
    """Renew the lease. In autocommit this waits for the disk, and so for all earlier commits.

    Raises `LeaseLost` and `DatabaseUnavailable`.
    """
    with translated_errors():
        _update(conn, _RENEW, import_id=import_id, lease=lease)


def record_undo(conn: Connection, *, import_id: int, lease: int, undo: dict[str, Any]) -> None:
    """Record the progress of an undo, in the transaction of its changes. Raises `LeaseLost`."""
    _update(conn, _RECORD_UNDO, import_id=import_id, lease=lease, undo=json.dumps(undo))


def _update(
    conn: Connection, statement: LiteralString, *, import_id: int, lease: int, **more: object
) -> None:
    """Change the import's row under this lease. Raises `LeaseLost`."""
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
