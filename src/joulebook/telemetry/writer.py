"""Writes a batch of readings into the hypertable, exactly once per (series, time).

A key is a series and a time. There are two paths. The straight one is a single binary COPY into `readings`.
If a key of the batch is stored already, PostgreSQL refuses the COPY as a whole, and the batch takes the
careful path: a staging table separates stored rows from new ones. On both paths, readings of already
rolled-up time are marked in the same transaction. The function returns after the commit; inside a transaction
of the caller, the caller commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import cast
from weakref import WeakKeyDictionary

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import errors, generators, sql
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn

from joulebook.telemetry.batch import READING_COLUMNS, Batch, are_in_order
from joulebook.telemetry.binary import PACKED_TIMES, PACKED_VALUES, times_from, values_from
from joulebook.telemetry.connection import Connection, retried, translated_errors
from joulebook.telemetry.corrections.originals import are_corrected, find_originals
from joulebook.telemetry.readings import OLDEST, from_microseconds
from joulebook.telemetry.replaced import record_replaced
from joulebook.telemetry.rollups.marks import LATE, begin_writing, mark_changed
from joulebook.telemetry.rollups.state import UNDO_LOCK, read_state, take_lock

_PIECE = 128 * 1024


def copy_in_one_trip(conn: Connection, statements: bytes, rows: bytes) -> None:
    """Run `statements`, the last one a COPY … FROM STDIN of `rows`, and commit.

    The connection must be in autocommit and outside a transaction. If this raises (psycopg's
    errors), nothing is stored, and the connection is outside a transaction again.
    """
    with conn.lock:
        conn.wait(_conversation(conn.pgconn, statements, rows))


def _conversation(pgconn: PGconn, statements: bytes, rows: bytes) -> PQGen[None]:
    pgconn.send_query(statements)
    results = yield from generators.execute(pgconn)
    if results[-1].status != ExecStatus.COPY_IN:
        raise errors.error_from_result(results[-1])
    for begin in range(0, len(rows), _PIECE):
        yield from generators.copy_to(pgconn, rows[begin : begin + _PIECE])
    yield from generators.copy_end(pgconn, None)


_FIND = f"""
SELECT series_id, {PACKED_TIMES}, {PACKED_VALUES}, bool_or(import_id < 0)
FROM (
    SELECT series_id, time, value, import_id FROM readings
    WHERE series_id = ANY(%(series)s) AND time >= %(oldest)s AND time <= %(newest)s
    LIMIT %(limit)s
) AS stored
GROUP BY series_id
"""  # noqa: S608 - our own text


@dataclass(frozen=True)
class StoredValues:
    """For each row of a batch: whether its key is stored, and the stored value, NaN if there is none."""

    is_present: NDArray[np.bool_]
    value: NDArray[np.float64]


def find_stored(conn: Connection, batch: Batch, *, most_rows: int) -> StoredValues | None:
    """Return the stored values of a batch's keys; None if reading them would take too long.

    This reads all rows of the batch's series between the first and the last time of the batch, and returns
    None if there are `most_rows` or more, or a corrected one. So it suits a batch without gaps, such as a
    part of a file imported before. Raises `DatabaseUnavailable`.
    """
    present = np.zeros(len(batch), np.bool_)
    value = np.full(len(batch), np.nan)
    if not len(batch):
        return StoredValues(present, value)
    limits = {
        "series": np.unique(batch.series_id).tolist(),
        "oldest": from_microseconds(int(batch.time.min())),
        "newest": from_microseconds(int(batch.time.max())),
        "limit": most_rows,
    }
    with translated_errors(), conn.cursor(binary=True) as cursor:
        # Never a generic plan: the constants of the range exclude chunks.
        found = cursor.execute(_FIND, limits, prepare=False).fetchall()
    is_long = sum(len(cast("bytes", times)) for _, times, _, _ in found) >= most_rows * 8
    if is_long or any(has_corrected for _, _, _, has_corrected in found):
        return None
    for series_id, times, values, _ in found:
        rows = np.flatnonzero(batch.series_id == series_id)
        time = times_from(cast("bytes", times))
        order = np.argsort(time)
        at = np.minimum(np.searchsorted(time, batch.time[rows], sorter=order), len(time) - 1)
        hit = order[at]
        is_there = time[hit] == batch.time[rows]
        present[rows] = is_there
        value[rows[is_there]] = values_from(cast("bytes", values))[hit[is_there]]
    return StoredValues(present, value)


class Outcome(IntEnum):
    """The outcome of one row of a batch."""

    STORED = 0
    """New, and stored."""
    DUPLICATE = 1
    """The same value was stored already, if only before a correction: a success."""
    CONFLICT = 2
    """Another value was stored already, and stays."""
    REPLACED = 3
    """Another value was stored already; this one replaced it."""
    TOO_OLD = 4
    """Not stored: readings of this time are past retention."""


_COPY_COLUMNS = ", ".join(READING_COLUMNS)
_COPY_STRAIGHT = f"COPY readings ({_COPY_COLUMNS}) FROM STDIN (FORMAT BINARY)"
_CREATE_STAGED = """
CREATE TEMPORARY TABLE IF NOT EXISTS staged_readings (
    time timestamptz NOT NULL, value float8 NOT NULL, series_id int NOT NULL, import_id int NOT NULL,
    "row" int NOT NULL
) ON COMMIT DELETE ROWS
"""
_COPY_STAGED = f'COPY staged_readings ({_COPY_COLUMNS}, "row") FROM STDIN (FORMAT BINARY)'
# The range of the batch lets the planner exclude all other chunks.
_TAKE_PRESENT = """
DELETE FROM staged_readings AS staged USING readings AS stored
WHERE stored.series_id = staged.series_id AND stored.time = staged.time
  AND stored.time >= %(oldest)s AND stored.time <= %(newest)s
RETURNING staged."row", stored.value, stored.import_id
"""
_STORE_FRESH = """
WITH fresh AS (
    INSERT INTO readings (time, value, series_id, import_id)
    SELECT time, value, series_id, import_id FROM staged_readings ORDER BY series_id, time
    ON CONFLICT (series_id, time) DO NOTHING
    RETURNING series_id, time
)
DELETE FROM staged_readings AS staged USING fresh
WHERE staged.series_id = fresh.series_id AND staged.time = fresh.time
"""

_REPLACE = """
UPDATE readings AS stored SET value = new.value, import_id = %(import_id)s
FROM unnest(%(series_id)s::int[], %(time)s::timestamptz[], %(value)s::float8[])
    AS new (series_id, time, value)
WHERE stored.series_id = new.series_id AND stored.time = new.time AND stored.import_id >= 0
  AND stored.time >= %(oldest)s AND stored.time <= %(newest)s
"""

# The end of rolled-up time when each connection last read it, in microseconds since 1970 UTC. It only grows,
# so storing older readings in one trip would be refused.
_closed_until: WeakKeyDictionary[Connection, int] = WeakKeyDictionary()


def write_batch(
    conn: Connection, batch: Batch, *, import_id: int = 0, replace: bool = False
) -> NDArray[np.int8]:
    """Store a batch and return the `Outcome` of each row.

    `import_id` is written beside every stored row; 0 stands for live data. With `replace` a different value
    replaces the stored one. Values replaced by an import are recorded, and undoing the import restores them
    (in a transaction of the caller, `UNDO_LOCK` must be taken first).

    Rows may be in any order. Of rows with the same key only the first is written, or with `replace` the last.
    The others are compared with the value stored before, or with the written row if there was none. They are
    `DUPLICATE` if equal, else `CONFLICT`, or with `replace` `REPLACED`.

    A corrected reading stays, also with `replace`: a row is `DUPLICATE` if it equals the value before or
    after the corrections, else `CONFLICT`. A deleted or moved one is `DUPLICATE`, whatever the row's value.

    On a connection without an open transaction the rows are committed when this returns; inside one, they
    become part of it. Conflicts with other transactions are retried. Raises `DatabaseUnavailable` if the
    database cannot be used now (the outcome is then unknown, and sending the batch again is harmless), and
    `BatchRefused` if it refuses the values.
    """
    if not len(batch):
        return np.empty(0, np.int8)
    if replace:
        # The last of equal keys is the first of the reversed batch.
        backwards = _write(conn, batch.take(slice(None, None, -1)), import_id=import_id, replace=True)
        return backwards[::-1]
    return _write(conn, batch, import_id=import_id, replace=False)


def write_whole_batch(conn: Connection, batch: Batch, *, replace: bool = False) -> NDArray[np.int8]:
    """Store a batch only if none of its rows is a conflict or too old; return the outcome of each row.

    If one is, nothing is stored, and `STORED` means that the row would have been. For the rest, see
    `write_batch`.
    """

    def write() -> NDArray[np.int8]:
        with conn.transaction() as transaction:
            outcome = write_batch(conn, batch, replace=replace)
            if np.isin(outcome, (Outcome.CONFLICT, Outcome.TOO_OLD)).any():
                raise psycopg.Rollback(transaction)
        return outcome

    return retried(conn, write)


class _NotRetained(Exception):
    """Some rows are older than `writable_from` (microseconds since 1970 UTC), so they may not be written."""

    def __init__(self, writable_from: int) -> None:
        super().__init__(writable_from)
        self.writable_from = writable_from


def _write(conn: Connection, batch: Batch, *, import_id: int, replace: bool) -> NDArray[np.int8]:
    order, leads = _order_by_key(batch)
    unique = batch.take(order[leads])
    try:
        stored = retried(conn, lambda: _store(conn, unique, import_id=import_id, replace=replace))
    except _NotRetained as exc:
        outcome = np.full(len(batch), Outcome.TOO_OLD, np.int8)
        retained = batch.time >= exc.writable_from
        if retained.any():
            outcome[retained] = _write(conn, batch.take(retained), import_id=import_id, replace=replace)
        return outcome
    if stored is None:
        if len(unique) == len(batch):
            return np.full(len(batch), Outcome.STORED, np.int8)
        stored = _Keys.of(unique)
    return _outcomes(batch, order=order, leads=leads, stored=stored, replace=replace)


def _order_by_key(batch: Batch) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the stable order by (series, time), and a mask, in this order, of the first row of each key."""
    series_id, instant = batch.series_id, batch.time
    if are_in_order(series_id, instant, are_distinct=True):
        return np.arange(len(batch)), np.ones(len(batch), np.bool_)
    order = np.lexsort((instant, series_id))
    series_id, instant = series_id[order], instant[order]
    leads = np.ones(len(batch), np.bool_)
    leads[1:] = (series_id[1:] != series_id[:-1]) | (instant[1:] != instant[:-1])
    return order, leads


@dataclass(frozen=True)
class _Keys:
    """What was stored for distinct keys of a batch: `value` is the row's own if nothing was.

    `is_corrected` is where a correction stands; `original` is the value before it, NaN if none was sent, and
    `is_hidden` where it deletes or moves what was sent.
    """

    is_present: NDArray[np.bool_]
    value: NDArray[np.float64]
    is_corrected: NDArray[np.bool_]
    original: NDArray[np.float64]
    is_hidden: NDArray[np.bool_]

    @classmethod
    def of(cls, batch: Batch) -> _Keys:
        """Return the keys of a batch as not stored before."""
        no = np.zeros(len(batch), np.bool_)
        return cls(no.copy(), batch.value.copy(), no.copy(), np.full(len(batch), np.nan), no.copy())


def _store(conn: Connection, batch: Batch, *, import_id: int, replace: bool) -> _Keys | None:
    """Store rows with distinct keys; return what was stored for them before, None if all keys are new.

    Raises `_NotRetained`.
    """
    try:
        _store_straight(conn, batch, import_id=import_id)
    except psycopg.errors.UniqueViolation:
        with conn.transaction():
            if replace and import_id:
                take_lock(conn, UNDO_LOCK)
            closed_until = _begin_writing(conn, int(batch.time.min()))
            stored = _store_carefully(conn, batch, import_id=import_id)
            changed = ~stored.is_present
            if replace:
                replaced = stored.is_present & (stored.value != batch.value) & ~stored.is_corrected
                _replace(conn, batch, replaced, import_id=import_id)
                changed |= replaced
            mark_changed(conn, batch.series_id[changed], batch.time[changed], closed_until=closed_until)
            return stored
    return None


def _store_straight(conn: Connection, batch: Batch, *, import_id: int) -> None:
    """Copy new rows. Raises `UniqueViolation` if a key is stored already, and `_NotRetained`."""
    rows = batch.copy_bytes(import_id=import_id)
    oldest = int(batch.time.min())
    is_outside_transaction = conn.info.transaction_status == TransactionStatus.IDLE
    if is_outside_transaction and oldest >= _closed_until.get(conn, OLDEST):
        begin = sql.SQL("SELECT begin_writing_from({})").format(from_microseconds(oldest))
        try:
            copy_in_one_trip(conn, begin.as_bytes(conn) + b"; " + _COPY_STRAIGHT.encode(), rows)
        except psycopg.Error as exc:
            if exc.sqlstate != LATE:
                raise
        else:
            return
    with conn.transaction():
        closed_until = _closed_until[conn] = _begin_writing(conn, oldest)
        _copy(conn, _COPY_STRAIGHT, rows)
        mark_changed(conn, batch.series_id, batch.time, closed_until=closed_until)


def _begin_writing(conn: Connection, oldest: int) -> int:
    """Return the end of rolled-up time. Raises `_NotRetained` if `oldest` is too old to be stored."""
    closed_until = begin_writing(conn)
    if oldest < closed_until:
        # `begin_writing` has taken the writers' lock, so `writable_from` stays until the transaction ends.
        writable_from = read_state(conn).writable_from
        if oldest < writable_from:
            raise _NotRetained(writable_from)
    return closed_until


def _copy(conn: Connection, statement: str, rows: bytes) -> None:
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(rows)


def _store_carefully(conn: Connection, batch: Batch, *, import_id: int) -> _Keys:
    """Store the rows whose keys are not stored yet; return what was stored for all of them before."""
    conn.execute(_CREATE_STAGED)
    # A sender may drop a reading reported as a duplicate, but the import that stored it may not have waited
    # for the disk yet. TRUNCATE is logged, so this commit waits for the disk even if nothing is stored.
    conn.execute("TRUNCATE staged_readings")
    _copy(conn, _COPY_STAGED, batch.staged_copy_bytes(import_id=import_id))
    stored = _Keys.of(batch)
    limits = {
        "oldest": from_microseconds(int(batch.time.min())),
        "newest": from_microseconds(int(batch.time.max())),
    }
    layout = [("row", np.int64), ("value", np.float64), ("import_id", np.int64)]
    waiting = len(batch)
    while waiting:
        with conn.cursor(binary=True) as cursor:
            # Never a generic plan: the constants of the range exclude chunks.
            cursor.execute(_TAKE_PRESENT, limits, prepare=False)
            found = np.array(cursor.fetchall(), dtype=layout)
        stored.is_present[found["row"]] = True
        stored.value[found["row"]] = found["value"]
        stored.is_corrected[found["row"]] = found["import_id"] < 0
        waiting -= len(found)
        if waiting:
            # Rows stored meanwhile by another transaction stay staged, and the next turn finds them stored.
            waiting -= conn.execute(_STORE_FRESH, prepare=False).rowcount
    if stored.is_corrected.any():
        _look_below_corrections(conn, batch, stored)
    return stored


def _look_below_corrections(conn: Connection, batch: Batch, stored: _Keys) -> None:
    """Fill in what was sent for the corrected keys."""
    rows = np.flatnonzero(stored.is_corrected)
    keys = list(zip(batch.series_id[rows].tolist(), batch.time[rows].tolist(), strict=True))
    found = find_originals(conn, keys)
    lost = [key for key in keys if key not in found]
    if lost and not are_corrected(conn, lost):
        raise psycopg.errors.SerializationFailure("a correction was undone since its reading was found")
    for row, key in zip(rows.tolist(), keys, strict=True):
        for original in found.get(key, ()):
            if original.key == key and original.was_sent:
                is_elsewhere = original.shown_at != original.time
                stored.is_hidden[row] = is_elsewhere or np.isnan(stored.value[row])
                stored.original[row] = original.value


def _replace(conn: Connection, batch: Batch, rows: NDArray[np.bool_], *, import_id: int) -> None:
    """Replace the stored values of these rows by the batch's.

    Values overwritten by an import are recorded for its undo; live values are never undone.
    """
    if not rows.any():
        return
    new = batch.take(rows)
    times = [from_microseconds(time) for time in new.time.tolist()]
    if import_id:
        record_replaced(conn, import_id=import_id, series_id=new.series_id.tolist(), time=times)
    found = conn.execute(
        _REPLACE,
        {
            "import_id": import_id,
            "series_id": new.series_id.tolist(),
            "time": times,
            "value": new.value.tolist(),
            "oldest": min(times),
            "newest": max(times),
        },
        prepare=False,
    )
    if found.rowcount < len(new):
        # An undo has removed a reading since it was found: the next attempt stores it as new.
        raise psycopg.errors.SerializationFailure("a reading to be replaced is gone")


def _outcomes(
    batch: Batch,
    *,
    order: NDArray[np.intp],
    leads: NDArray[np.bool_],
    stored: _Keys,
    replace: bool,
) -> NDArray[np.int8]:
    """Return the outcome of each row, in the batch's order, from what was stored for each key."""
    key = np.cumsum(leads) - 1
    sent = batch.value[order]
    same = (sent == stored.value[key]) | (sent == stored.original[key]) | stored.is_hidden[key]
    is_replaced = np.full(len(batch), replace) & ~stored.is_corrected[key]
    other = np.where(is_replaced, np.int8(Outcome.REPLACED), np.int8(Outcome.CONFLICT))
    in_order = np.where(same, np.int8(Outcome.DUPLICATE), other).astype(np.int8)
    in_order[leads & ~stored.is_present[key]] = Outcome.STORED
    outcome = np.empty(len(batch), np.int8)
    outcome[order] = in_order
    return outcome
