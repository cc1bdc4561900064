"""Copies the tables of a PostgreSQL database out and in, as listed in its catalogue.

Rows travel in COPY's binary format if the binary form of all columns' types has never changed, else in its
text format: both are independent of chunks, editions and versions. A hypertable is cut
along its chunks, so several connections read it in parallel; the pieces together cover all of time.
"""

from __future__ import annotations

import select
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, LiteralString, TypeVar, cast

import psycopg
from psycopg import sql
from psycopg.pq import ExecStatus

from joulebook.backup.errors import BackupError, Stopped
from joulebook.backup.manifest import SequenceCopy, TableColumn, TableCopy
from joulebook.priority import make_backend_nice
from joulebook.telemetry.connection import Connection, connect, translated_errors

LOCK_PATIENCE = "5s"

_STABLE_TYPES = {
    "boolean", "smallint", "integer", "bigint", "real", "double precision", "text", "bytea", "uuid", "date",
    "timestamp with time zone", "timestamp without time zone", "json", "jsonb", "character varying",
}  # fmt: skip
_READ_BYTES = 1 << 18
_THREADS = 2

# Without the relations of extensions, and without chunks and partitions: their parents are read.
_OURS: LiteralString = """
    namespace.nspname !~ '^pg_' AND namespace.nspname <> 'information_schema'
    AND namespace.nspname !~ '^_timescaledb_'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = class.oid
                    AND deptype = 'e')
    AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = class.oid)
"""
_TABLES: LiteralString = f"""
SELECT namespace.nspname::text, class.relname::text,
       has_schema_privilege(namespace.oid, 'USAGE') AND has_table_privilege(class.oid, 'SELECT'),
       array_agg(attribute.attname::text ORDER BY attnum),
       array_agg(format_type(atttypid, atttypmod) ORDER BY attnum),
       pg_relation_size(class.oid)::int8
FROM pg_class AS class
JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
JOIN pg_attribute AS attribute
  ON attrelid = class.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
WHERE relkind IN ('r', 'p') AND relpersistence <> 't' AND {_OURS}
GROUP BY class.oid, class.relname, namespace.oid, namespace.nspname
ORDER BY 1, 2
"""  # noqa: S608 - fixed text
_SEQUENCES: LiteralString = f"""
SELECT namespace.nspname::text, class.relname::text,
       has_schema_privilege(namespace.oid, 'USAGE') AND has_sequence_privilege(class.oid, 'SELECT'),
       CASE WHEN has_sequence_privilege(class.oid, 'SELECT') THEN pg_sequence_last_value(class.oid) END
FROM pg_class AS class JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
WHERE relkind = 'S' AND relpersistence <> 't' AND {_OURS}
ORDER BY 1, 2
"""  # noqa: S608 - fixed text
_HAS_CHUNKS = "SELECT to_regclass('timescaledb_information.chunks') IS NOT NULL"
_CHUNKS = """
SELECT hypertable_schema::text, hypertable_name::text, primary_dimension::text, range_start,
       coalesce(pg_relation_size(class.oid), 0)::int8
FROM timescaledb_information.chunks AS chunk
LEFT JOIN pg_namespace AS namespace ON namespace.nspname = chunk_schema
LEFT JOIN pg_class AS class ON relnamespace = namespace.oid AND relname = chunk_name
WHERE primary_dimension_type = 'timestamptz'::regtype
ORDER BY range_start
"""
# Keys of a hypertable without references from other tables.
_KEYS = """
SELECT conname::text, pg_get_constraintdef(pg_constraint.oid)
FROM pg_constraint
JOIN pg_class AS class ON class.oid = conrelid
JOIN pg_namespace AS namespace ON namespace.oid = relnamespace
JOIN timescaledb_information.hypertables ON hypertable_schema = nspname AND hypertable_name = relname
WHERE nspname = %s AND relname = %s AND contype IN ('p', 'u')
  AND NOT EXISTS (SELECT FROM pg_constraint AS other WHERE other.confrelid = class.oid)
"""
_WITHOUT_LIMITS = """
SELECT set_config(name, '0', true) FROM pg_settings
WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')
"""


@dataclass(frozen=True)
class DatabaseTable:
    """A table with its columns, without generated ones, and its size in bytes."""

    schema: str
    name: str
    columns: tuple[TableColumn, ...]
    size: int

    @property
    def format(self) -> Literal["binary", "text"]:
        """The format of COPY for its rows."""
        stable = all(column.type.partition("(")[0] in _STABLE_TYPES for column in self.columns)
        return "binary" if stable else "text"

    @property
    def identifier(self) -> sql.Identifier:
        """Its name for a statement."""
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True)
class Piece:
    """Rows of a table: all, or those with a `dimension` in [begin, end); None is no limit."""

    table: DatabaseTable
    size: int
    dimension: str = ""
    begin: datetime | None = None
    end: datetime | None = None

    def copy_out(self) -> sql.Composed:
        """Return the statement to read it."""
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in self.table.columns)
        query = sql.SQL("SELECT {} FROM {}").format(names, self.table.identifier)
        limits = [
            sql.SQL(test).format(sql.Identifier(self.dimension), sql.Literal(limit))
            for test, limit in (("{} >= {}", self.begin), ("{} < {}", self.end))
            if limit is not None
        ]
        if limits:
            query += sql.SQL(" WHERE ") + sql.SQL(" AND ").join(limits)
        return sql.SQL("COPY ({}) TO STDOUT (FORMAT {})").format(query, sql.SQL(self.table.format))


def find_tables(conn: Connection) -> list[DatabaseTable]:
    """Return all tables except those of extensions. Raises `BackupError` if one may not be read."""
    tables, refused = [], []
    for schema, name, may_read, columns, types, size in cast(
        "list[tuple[str, str, bool, list[str], list[str], int]]", conn.execute(_TABLES).fetchall()
    ):
        if not may_read:
            refused.append(f"{schema}.{name}")
        pairs = zip(columns, types, strict=True)
        tables.append(DatabaseTable(schema, name, tuple(TableColumn(*pair) for pair in pairs), size))
    if refused:
        raise BackupError(_may_not_read(conn, refused))
    return tables


def find_sequences(conn: Connection) -> list[SequenceCopy]:
    """Return all used sequences. Raises `BackupError` if one may not be read.

    Sequences do not follow snapshots: read after a snapshot was taken, a sequence has its number of that
    moment or a later one.
    """
    found, refused = [], []
    for schema, name, may_read, last in cast(
        "list[tuple[str, str, bool, int | None]]", conn.execute(_SEQUENCES).fetchall()
    ):
        if not may_read:
            refused.append(f"{schema}.{name}")
        elif last is not None:
            found.append(SequenceCopy(schema, name, last))
    if refused:
        raise BackupError(_may_not_read(conn, refused))
    return found


def cut(conn: Connection, tables: Sequence[DatabaseTable]) -> list[Piece]:
    """Return the tables in pieces: hypertables cut along their chunks, others whole."""
    chunks: dict[tuple[str, str], list[tuple[str, datetime, int]]] = defaultdict(list)
    ((has_chunks,),) = conn.execute(_HAS_CHUNKS).fetchall()
    if has_chunks:
        for schema, name, dimension, begin, size in cast(
            "list[tuple[str, str, str, datetime, int]]", conn.execute(_CHUNKS).fetchall()
        ):
            chunks[schema, name].append((dimension, begin, size))
    pieces = []
    for table in tables:
        own = chunks[table.schema, table.name]
        if len(own) < 2:
            pieces.append(Piece(table, table.size + sum(size for *_, size in own)))
            continue
        begins: list[datetime | None] = [None, *(begin for _, begin, _ in own[1:])]
        ends: list[datetime | None] = [*(begin for _, begin, _ in own[1:]), None]
        for (dimension, _, size), first, last in zip(own, begins, ends, strict=True):
            pieces.append(Piece(table, size, dimension, first, last))
    return pieces


class Snapshot:
    """One moment of a database until `close`: `take` it once, then open any number of `reader`s.

    All tables are first locked against being dropped or rewritten, as `pg_dump` does. So retention waits for
    the end of a backup, and drops chunks then.
    """

    def __init__(self, url: str) -> None:
        """Connect. Raises `DatabaseUnavailable`."""
        self._url = url
        self.conn = connect(url)
        self.id = ""
        self.tables: list[DatabaseTable] = []

    def close(self) -> None:
        """End the snapshot."""
        self.conn.close()

    def take(self) -> datetime:
        """Begin the snapshot; return the server's time.

        Raises `DatabaseUnavailable` if a lock is not free soon.
        """
        with translated_errors():
            while True:
                expected = find_tables(self.conn)
                self.conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                try:
                    # The first SELECT takes the snapshot: locks come before it.
                    patience = sql.Literal(LOCK_PATIENCE)
                    self.conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(patience))
                    if expected:
                        names = sql.SQL(", ").join(table.identifier for table in expected)
                        self.conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
                    row = self.conn.execute("SELECT pg_export_snapshot(), clock_timestamp()").fetchone()
                    self.conn.execute(_WITHOUT_LIMITS)
                    self.id, now = cast("tuple[str, datetime]", row)
                    found = find_tables(self.conn)
                except BaseException:
                    self.conn.rollback()
                    raise
                # Sizes are no part of a snapshot.
                sizes = {(table.schema, table.name): table.size for table in expected}
                self.tables = [
                    replace(table, size=sizes.get((table.schema, table.name), 0)) for table in found
                ]
                if self.tables == expected:
                    return now
                self.conn.rollback()  # A migration passed between looking and locking.

    @contextmanager
    def reader(self, *, is_nice: bool = False) -> Iterator[Connection]:
        """Open a further connection to this snapshot; with `is_nice` one of low priority."""
        with translated_errors(), connect(self._url) as conn:
            if is_nice:
                make_backend_nice(conn.info.backend_pid, conn.fileno())
            conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            conn.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(self.id)))
            conn.execute(_WITHOUT_LIMITS)
            yield conn


_Result = TypeVar("_Result")


def run_in_parallel(name: str, work: Callable[[], _Result], stopped: threading.Event) -> list[_Result]:
    """Run `work` in a few threads; return the results.

    `stopped` is set at the end, also by the first failure: `work` watches it and raises `Stopped`. An error
    is raised again, one other than `Stopped` if there is one.
    """
    with ThreadPoolExecutor(_THREADS, name) as pool:
        futures = [pool.submit(work) for _ in range(_THREADS)]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            stopped.set()
    failed = [exc for future in futures if (exc := future.exception()) is not None]
    if failed:
        # One thread raises `Stopped` because the other one failed: report the failure itself.
        raise min(failed, key=lambda exc: isinstance(exc, Stopped))
    return [future.result() for future in futures]


def copy_out(conn: Connection, piece: Piece, write: Callable[[bytes], None], stopped: threading.Event) -> int:
    """Call `write` with blocks of a piece's rows; return the number of rows. Raises psycopg's errors.

    libpq is used directly: `psycopg.Cursor.copy` runs Python code for each row and takes half as long again.
    """
    pgconn = conn.pgconn
    begun = pgconn.exec_(piece.copy_out().as_bytes(conn))
    if begun.status != ExecStatus.COPY_OUT:
        raise psycopg.errors.error_from_result(begun)
    blocks: list[memoryview] = []
    size = 0
    while True:
        count, data = pgconn.get_copy_data(1)
        if count > 0:
            blocks.append(data)
            size += count
            if size >= _READ_BYTES:
                if stopped.is_set():
                    raise Stopped
                write(b"".join(blocks))
                blocks.clear()
                size = 0
        elif count == 0:
            while not select.select([pgconn.socket], [], [], 1.0)[0]:
                if stopped.is_set():
                    raise Stopped
            pgconn.consume_input()
        else:
            break
    if blocks:
        write(b"".join(blocks))
    rows = 0
    while (ended := pgconn.get_result()) is not None:
        if ended.status != ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(ended)
        rows = ended.command_tuples or 0
    return rows


@contextmanager
def without_keys(conn: Connection, table: TableCopy) -> Iterator[None]:
    """Drop a hypertable's keys for the time of the block, and build them afterwards.

    Belongs in a transaction. Building an index from all rows takes about half as long as inserting each row.
    """
    keys = cast("list[tuple[str, str]]", conn.execute(_KEYS, [table.schema, table.name]).fetchall())
    name = sql.Identifier(table.schema, table.name)
    for key, _ in keys:
        conn.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(name, sql.Identifier(key)))
    yield
    for key, definition in keys:
        # The definition is the server's own text.
        conn.execute(
            sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
                name, sql.Identifier(key), sql.SQL(definition)
            )
        )


def copy_in(conn: Connection, table: TableCopy, blocks: Iterable[bytes]) -> int:
    """Append rows to a table, all or nothing; return their number."""
    names = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT {})").format(
        sql.Identifier(table.schema, table.name), names, sql.SQL(table.format)
    )
    with conn.cursor() as cursor:
        with cursor.copy(statement) as copy:
            for block in blocks:
                copy.write(block)
        return cursor.rowcount


def set_sequences(conn: Connection, sequences: Sequence[SequenceCopy]) -> None:
    """Set sequences to their last numbers; create those of the user's own."""
    for each in sequences:
        identifier = sql.Identifier(each.schema, each.name)
        name = identifier.as_string(conn)
        if conn.execute("SELECT to_regclass(%s)", [name]).fetchone() == (None,):
            conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(each.schema)))
            conn.execute(sql.SQL("CREATE SEQUENCE {}").format(identifier))
        conn.execute("SELECT setval(%s::regclass, %s)", [name, each.last_value])


def _may_not_read(conn: Connection, names: Sequence[str]) -> str:
    return (
        f"the role {conn.info.user} may not read {', '.join(names)}, so a backup would not be whole: "
        "run `joulebook migrate`, or grant SELECT on it"
    )
