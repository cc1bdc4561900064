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
    """Open a connection for the core's functions: autocommit, and quick to notice a lost server.

    It works through a pooler with another session of the server for each transaction: nothing is prepared on
    the server, and users of the connection set nothing beyond a transaction (`SET LOCAL`).

    Raises `DatabaseUnavailable` if the server cannot be reached.
    """
    with translated_errors():
        return psycopg.connect(
            url, autocommit=True, connect_timeout=5, keepalives_idle=10, keepalives_interval=5,
            application_name="joulebook-writer", prepare_threshold=None,
        )  # fmt: skip


@contextmanager
def one_snapshot(conn: Connection) -> Iterator[None]:
    """Run all statements inside in one snapshot, taken by the first of them; none may write.

    The connection must be in autocommit. Inside a transaction of the caller this does nothing.
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
    """Return whether the server rolled a transaction back in favour of another, as in a deadlock."""
    # psycopg's exceptions for SQLSTATE class 40 have no common parent of their own.
    return (exc.sqlstate or "").startswith("40")


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise the driver's errors as the core's; transaction rollbacks (class 40) pass unchanged."""
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
    """Return the result of `work`, retried if a deadlock or the like rolled it back.

    Inside a transaction of the caller nothing is retried, and the error passes: the caller must retry its
    whole transaction. Raises `DatabaseUnavailable` after the last attempt, and the driver's errors as the
    core's.
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
