"""What kind of database keeps the readings, and how large it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from joulebook.telemetry.connection import Connection, translated_errors
from joulebook.telemetry.rollups.state import TABLES, read_chunks

_FIGURES = """
SELECT current_setting('server_version'),
       coalesce((SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'), ''),
       coalesce(current_setting('timescaledb.license', true), ''),
       pg_database_size(current_database())
"""


@dataclass(frozen=True)
class DatabaseFigures:
    """Versions and size of the database; `edition` is `apache` or `timescale` (the Community edition).

    `chunks` counts those of each table of readings and rollups.
    """

    postgresql: str
    timescaledb: str
    edition: str
    size: int
    chunks: dict[str, int]


def read_figures(conn: Connection) -> DatabaseFigures:
    """Return the figures; the size is found by looking at every file. Raises `DatabaseAway`."""
    with translated_errors():
        ((postgresql, timescaledb, edition, size),) = conn.execute(_FIGURES).fetchall()
        chunks = {table: len(found) for table, found in read_chunks(conn, TABLES).items()}
    return DatabaseFigures(
        postgresql=cast("str", postgresql),
        timescaledb=cast("str", timescaledb),
        edition=cast("str", edition),
        size=cast("int", size),
        chunks=chunks,
    )
