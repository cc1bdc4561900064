"""A statement and a COPY in one transaction and one round trip.

psycopg sends them one after the other, with BEGIN and COMMIT around them: four round trips, which for
a batch of a few readings take longer than storing them. PostgreSQL runs statements that arrive in one
simple query in one transaction and commits it at their end ("Multiple Statements in a Simple Query" in
the documentation of its protocol). In READ COMMITTED each still has a snapshot of its own.
"""

from __future__ import annotations

from psycopg import errors, generators
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn

from joulebook.telemetry.connection import Connection

_PIECE = 128 * 1024


def copy_in_one_trip(conn: Connection, statements: bytes, rows: bytes) -> None:
    """Run `statements`, the last of which is a COPY … FROM STDIN that takes `rows`, and commit.

    The connection must be in autocommit and outside a transaction. When this raises (as psycopg does),
    nothing is stored, and the connection is outside a transaction again.
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
