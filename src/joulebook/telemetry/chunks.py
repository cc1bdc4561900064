"""The chunks of a table: their time, their bytes, and about how many rows they hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import cast

from joulebook.telemetry.connection import Connection
from joulebook.telemetry.readings import to_microseconds

# What a row takes with its index where there are too few to measure it.
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


@dataclass(frozen=True)
class Chunk:
    """One chunk: its half-open range in microseconds since 1970 UTC, its bytes, and about how many rows."""

    begin: int
    end: int
    size: int
    rows: int


def read_chunk_sizes(conn: Connection, table: str) -> list[Chunk]:
    """Return the chunks of a table in the order of time."""
    asked = {"table": table, "row": int(typical_bytes(table) * 2 / 3)}
    return [
        Chunk(
            to_microseconds(cast("datetime", begin)),
            to_microseconds(cast("datetime", end)),
            cast("int", size),
            cast("int", rows),
        )
        for begin, end, size, rows in conn.execute(_CHUNKS, asked).fetchall()
    ]


def typical_bytes(table: str) -> float:
    """Return what a row of readings or of a rollup usually takes with its index."""
    return _BYTES_PER_ROW.get(table, _BYTES_PER_ROLLUP_ROW)
