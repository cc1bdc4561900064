"""Connections to the telemetry database: opening one, one snapshot, the core's errors, and retries."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from joulebook.telemetry.errors import BatchRefused, DatabaseUnavailable

Connection = psycopg.Connection[tuple[object, ...]]
Result = TypeVar("Result")

_ATTEMPTS = 8


def connect(url: str) -> Connection:
    """Open a connection for the core's functions: autocommit, and quick to notice a server that is gone.

    It works through a pooler that gives each transaction another session of the server: nothing is prepared
    on the server, and whoever uses the connection sets nothing beyond a transaction (`SET LOCAL`).

    Raises `DatabaseUnavailable` where the server cannot be reached.
    """
    with translated_errors():
        return psycopg.connect(
            url, autocommit=True, connect_timeout=5, keepalives_idle=10, keepalives_interval=5,
            application_name="joulebook-writer", prepare_threshold=None,
        )  # fmt: skip


@contextmanager
def one_snapshot(conn: Connection) -> Iterator[None]:
    """Let all statements inside see the database as it is at the first of them, and write nothing.

    The connection must be in autocommit. Inside a transaction of the caller's it does nothing.
    """
    if conn.info.transaction_status != TransactionStatus.IDLE:
        yield
        return
    conn.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("ROLLBACK")


def is_rolled_back(exc: psycopg.Error) -> bool:
    """Say whether the server rolled a transaction back for the sake of another: a deadlock or the like."""
    # psycopg's classes for the SQLSTATEs of class 40 have no common parent but that of all.
    return (exc.sqlstate or "").startswith("40")


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the driver's errors into the core's; transaction rollbacks (class 40) pass unchanged."""
    try:
        yield
    except psycopg.Error as exc:
        state = exc.sqlstate
        message = str(exc).strip() or type(exc).__name__
        if state is None or state[:2] in {"08", "25", "53", "55", "57", "58", "XX"}:
            raise DatabaseUnavailable(message) from exc
        if state[:2] in {"22", "23"}:
            raise BatchRefused(message) from exc
        raise


def retried(conn: Connection, work: Callable[[], Result]) -> Result:
    """Return what `work` returns, and do it again where a deadlock or the like has rolled it back.

    Inside a transaction of the caller's another attempt is its caller's too, and the error passes. Raises
    `DatabaseUnavailable` when all attempts were in vain, and the driver's errors in the core's words.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with translated_errors():
                return work()
        except psycopg.Error as exc:
            if not is_rolled_back(exc) or conn.info.transaction_status != TransactionStatus.IDLE:
                raise
            if attempt == _ATTEMPTS:
                raise DatabaseUnavailable(f"transactions kept failing each other: {exc}") from exc
            time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - spreads retries, guards nothing
    raise AssertionError("the last attempt has returned or raised")
