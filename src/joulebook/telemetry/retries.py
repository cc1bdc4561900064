"""Does a transaction again when PostgreSQL rolled it back for the sake of another."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from joulebook.telemetry.connection import Connection, is_rolled_back, translated_errors
from joulebook.telemetry.errors import DatabaseUnavailable

Result = TypeVar("Result")

_ATTEMPTS = 8


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
