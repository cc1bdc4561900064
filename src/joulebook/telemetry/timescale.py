"""The readings' database as TimescaleDB sees it: chunks, sizes, compression and versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString, cast

from joulebook.telemetry.connection import Connection, translated_errors
from joulebook.telemetry.readings import to_microseconds

# Bytes of a row with its index, if there are too few rows to measure.
_BYTES_PER_ROW = {"readings": 80.0}
_BYTES_PER_ROLLUP_ROW = 260.0

# Rows are PostgreSQL's own estimate, or from the size where a chunk has not been analysed yet.
_CHUNKS = """
SELECT chunk.range_start, chunk.range_end, sizes.total_bytes::int8,
       CASE WHEN class.reltuples >= 0 THEN class.reltuples::int8
            ELSE (pg_relation_size(class.oid) / %(row)s)::int8 END
FROM timescaledb_information.chunks AS chunk
JOIN chunks_detailed_size(%(table)s::text::regclass) AS sizes USING (chunk_schema, chunk_name)
JOIN pg_class AS class ON class.oid = format('%%I.%%I', chunk.chunk_schema, chunk.chunk_name)::regclass
WHERE chunk.hypertable_schema = 'public' AND chunk.hypertable_name = %(table)s::text
ORDER BY chunk.range_start
"""


_CHUNK_RANGES = """
SELECT hypertable_name, range_start, range_end FROM timescaledb_information.chunks
WHERE hypertable_schema = 'public' AND hypertable_name = ANY(%(tables)s)
ORDER BY range_start
"""

Range = tuple[int, int]
"""Half-open, in microseconds since 1970 UTC."""


@dataclass(frozen=True)
class Chunk:
    """One chunk: its half-open range in microseconds since 1970 UTC, its bytes, and about how many rows."""

    begin: int
    end: int
    size: int
    rows: int


def read_chunk_sizes(conn: Connection, table: str) -> list[Chunk]:
    """Return the chunks of a table in the order of time."""
    parameters = {"table": table, "row": int(typical_bytes(table) * 2 / 3)}
    return [
        Chunk(
            to_microseconds(cast("datetime", begin)),
            to_microseconds(cast("datetime", end)),
            cast("int", size),
            cast("int", rows),
        )
        for begin, end, size, rows in conn.execute(_CHUNKS, parameters).fetchall()
    ]


def read_chunks(conn: Connection, tables: Sequence[str]) -> dict[str, list[Range]]:
    """Return by table the ranges of its chunks, in order."""
    chunks: dict[str, list[Range]] = {table: [] for table in tables}
    for table, start, end in cast(
        "list[tuple[str, datetime, datetime]]",
        conn.execute(_CHUNK_RANGES, {"tables": list(tables)}).fetchall(),
    ):
        chunks[table].append((to_microseconds(start), to_microseconds(end)))
    return chunks


def typical_bytes(table: str) -> float:
    """Return the usual bytes of a row of readings or of a rollup, with its index."""
    return _BYTES_PER_ROW.get(table, _BYTES_PER_ROLLUP_ROW)


COMMUNITY = "timescale"
"""The value of `timescaledb.license` in the Community edition; in the Apache edition it is `apache`."""

# Existing compression settings of a table stay: an administrator may have made them.
_EDITION = """
SELECT current_setting('timescaledb.license', true),
       (SELECT compression_enabled FROM timescaledb_information.hypertables
        WHERE hypertable_schema = 'public' AND hypertable_name = 'readings')
"""
_COMPRESS: LiteralString = """
ALTER TABLE readings SET (
    timescaledb.compress, timescaledb.compress_segmentby = 'series_id', timescaledb.compress_orderby = 'time')
"""
_AFTER_A_WEEK: LiteralString = """
SELECT add_compression_policy('readings', INTERVAL '7 days', if_not_exists => true)
"""


def compression_statements(edition: str | None, *, is_enabled: bool) -> tuple[LiteralString, ...]:
    """Return the statements to enable compression; none if the edition lacks it or it is enabled."""
    if edition != COMMUNITY or is_enabled:
        return ()
    return (_COMPRESS, _AFTER_A_WEEK)


def switch_compression_on(conn: Connection) -> bool:
    """Enable the compression of readings if the server has it; return whether anything was changed.

    `conn` is the owner's, in autocommit. Raises psycopg's errors.
    """
    ((edition, is_enabled),) = conn.execute(_EDITION).fetchall()
    statements = compression_statements(cast("str | None", edition), is_enabled=bool(is_enabled))
    with conn.transaction():
        for statement in statements:
            conn.execute(statement)
    return bool(statements)


_FIGURES = """
SELECT current_setting('server_version'),
       coalesce((SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'), ''),
       coalesce(current_setting('timescaledb.license', true), ''),
       pg_database_size(current_database())
"""


@dataclass(frozen=True)
class DatabaseFigures:
    """Versions and size of the database; `edition` is `apache` or `timescale` (the Community edition).

    `chunks` counts those of each table.
    """

    postgresql: str
    timescaledb: str
    edition: str
    size: int
    chunks: dict[str, int]


def read_figures(conn: Connection, tables: Sequence[str]) -> DatabaseFigures:
    """Return the figures of the database and of `tables`. Raises `DatabaseUnavailable`.

    PostgreSQL looks at every file of the database to find its size.
    """
    with translated_errors():
        ((postgresql, timescaledb, edition, size),) = conn.execute(_FIGURES).fetchall()
        chunks = {table: len(found) for table, found in read_chunks(conn, tables).items()}
    return DatabaseFigures(
        postgresql=cast("str", postgresql),
        timescaledb=cast("str", timescaledb),
        edition=cast("str", edition),
        size=cast("int", size),
        chunks=chunks,
    )
