"""Has readings compressed after a week where the server's edition of TimescaleDB can, which it is asked."""

from __future__ import annotations

from typing import LiteralString, cast

from joulebook.telemetry.connection import Connection

COMMUNITY = "timescale"
"""What `timescaledb.license` says of the Community edition; the Apache edition says `apache`."""

# A table's settings are left alone once somebody has made them: they may be the administrator's own.
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
    """Return what switches compression on at a server of this edition: nothing where it cannot, or is on."""
    if edition != COMMUNITY or is_enabled:
        return ()
    return (_COMPRESS, _AFTER_A_WEEK)


def switch_compression_on(conn: Connection) -> bool:
    """Have readings compressed where the server can; return whether anything was changed.

    `conn` is the owner's, in autocommit. Raises what psycopg raises.
    """
    ((edition, is_enabled),) = conn.execute(_EDITION).fetchall()
    statements = compression_statements(cast("str | None", edition), is_enabled=bool(is_enabled))
    with conn.transaction():
        for statement in statements:
            conn.execute(statement)
    return bool(statements)
