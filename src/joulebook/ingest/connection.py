"""Database connections of ingest: opened again after a restart, and cut if the database does not answer."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from joulebook.telemetry.connection import Connection, connect, translated_errors
from joulebook.telemetry.errors import BatchRefused, DatabaseUnavailable

T = TypeVar("T")

TIMEOUT_SECONDS = 10.0
"""How long a request waits for a silent database before it is answered 503."""

_PROBE_SECONDS = 3.0
"""How long a probe waits for the database: shorter than the timeouts of common health checks."""


class Reconnecting:
    """One connection for one thread, opened on first use; any thread may call `cut`."""

    def __init__(self, url: str) -> None:
        """Prepare to connect to `url`."""
        self._url = url
        self._conn: Connection | None = None
        self._handle: socket.socket | None = None
        self._was_cut = False
        self._was_broken = False

    def run(self, work: Callable[[Connection], T]) -> T:
        """Return `work(connection)`.

        An idle connection may have died with its server. `work` then runs a second time, on a fresh
        connection, so it must be safe to repeat: everything here stores or finds rows by their key.
        Raises `DatabaseUnavailable`, and the errors of `work`.
        """
        used_before = self._conn is not None and not self._conn.closed
        try:
            return self._attempt(work)
        except DatabaseUnavailable:
            if not used_before or self._was_cut or not self._was_broken:
                raise
        return self._attempt(work)

    def cut(self) -> None:
        """Break the connection: a thread waiting for the server gets `DatabaseUnavailable` at once."""
        self._was_cut = True
        handle = self._handle
        if handle is not None:
            with suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; `run` opens another."""
        conn, self._conn = self._conn, None
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()
        if conn is not None:
            conn.close()

    def _attempt(self, work: Callable[[Connection], T]) -> T:
        try:
            if self._conn is None or self._conn.closed:
                self.close()
                self._was_cut = False
                self._conn = connect(self._url)
                # A duplicate of the descriptor: libpq closes its own in the middle of an error.
                self._handle = socket.socket(fileno=os.dup(self._conn.fileno()))
            return work(self._conn)
        except BatchRefused:
            raise
        except Exception:
            # Repeat only if the connection broke: a server short of memory or disk needs a pause.
            self._was_broken = self._conn is not None and self._conn.closed
            self.close()
            raise


class DatabaseProbe:
    """Checks that the telemetry database answers, on a connection and in a thread of its own."""

    def __init__(self, url: str) -> None:
        """Prepare to connect to `url`."""
        self._connection = Reconnecting(url)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="probe")

    async def check(self) -> None:
        """Raise `DatabaseUnavailable` unless the database answers within 3 s."""

        def select(conn: Connection) -> None:
            with translated_errors():
                conn.execute("SELECT 1 FROM series LIMIT 1")

        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await loop.run_in_executor(self._thread, self._connection.run, select)
        except TimeoutError as exc:
            self._connection.cut()  # the next probe gets a fresh connection
            raise DatabaseUnavailable(f"the database has not answered for {_PROBE_SECONDS:g} s") from exc

    def close(self) -> None:
        """End the thread and close the connection."""
        self._connection.cut()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._connection.close()
