"""Connections to the telemetry database for the core's functions, in the reader's role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from joulebook.serving.work import stopped_with_client
from joulebook.telemetry.connection import Connection
from joulebook.telemetry.series import SeriesRow, series_by_metric

_CANCEL_SECONDS = 5.0


@contextmanager
def telemetry_connection() -> Iterator[Connection]:
    """Lend Django's connection to the telemetry database, with the driver's errors as Django's own.

    A running statement is cancelled if the request's client disconnects.
    """
    with _lent(connections["telemetry"]) as conn:
        yield conn


def device_series(device_id: str) -> dict[str, SeriesRow]:
    """Return a device's series by metric, in the metrics' order."""
    with telemetry_connection() as conn:
        return series_by_metric(conn, device_id)


@contextmanager
def own_telemetry_connection() -> Iterator[Connection]:
    """Open a connection for one answer, usable by several threads in turn.

    Django's own belongs to a thread, and a thread serves others between two pieces of a long answer.
    """
    own = connections["telemetry"].copy()
    own.inc_thread_sharing()
    try:
        with _lent(own) as conn:
            yield conn
    finally:
        own.close()


@contextmanager
def _lent(telemetry: BaseDatabaseWrapper) -> Iterator[Connection]:
    with telemetry.cursor() as cursor, telemetry.wrap_database_errors:
        conn: Connection = cursor.connection
        with stopped_with_client(lambda: conn.cancel_safe(timeout=_CANCEL_SECONDS)):
            yield conn
