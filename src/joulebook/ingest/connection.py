"""A connection that survives the database's restarts, and from which a waiting thread can be freed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.errors import BatchRefused, DatabaseUnavailable, TelemetryError

T = TypeVar("T")


class SeriesForgotten(TelemetryError):
    """The connection was opened after the ids of series were asked for: ask again, they may be wrong."""


PATIENCE_SECONDS = 10.0
"""How long a request waits for a database that does not answer before it is told to come again."""


class PatientConnection:
    """One connection for one thread, opened when it is first needed; `cut` may be called by any thread."""

    def __init__(self, url: str) -> None:
        """Prepare to connect to `url`."""
        self.opened = 0
        """How often a connection was opened: behind another one there may be another database."""
        self._url = url
        self._conn: Connection | None = None
        self._handle: socket.socket | None = None
        self._was_cut = False
        self._was_broken = False

    def run(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` makes of the connection.

        A connection that has been idle may have died with its server. So work that finds it broken is
        done once more on a fresh one: it must be harmless to do twice, as everything here is that
        stores or finds by key. Raises `DatabaseUnavailable`, and what `work` raises.
        """
        used_before = self._conn is not None and not self._conn.closed
        try:
            return self._attempt(work)
        except DatabaseUnavailable:
            if not used_before or self._was_cut or not self._was_broken:
                raise
        return self._attempt(work)

    def cut(self) -> None:
        """Break the connection: a thread waiting for its server gets `DatabaseUnavailable` at once."""
        self._was_cut = True
        handle = self._handle
        if handle is not None:
            with suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connection; `run` opens another."""
        conn, self._conn = self._conn, None
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()
        if conn is not None:
            conn.close()

    def _attempt(self, work: Callable[[Connection], T]) -> T:
        try:
            return work(self._open())
        except (BatchRefused, SeriesForgotten):
            raise
        except Exception:
            # A server that is only short of something is not asked again at once.
            self._was_broken = self._conn is not None and self._conn.closed
            self.close()
            raise

    def _open(self) -> Connection:
        if self._conn is None or self._conn.closed:
            self.close()
            self._was_cut = False
            self._conn = connect(self._url)
            self.opened += 1
            # A descriptor of our own: libpq closes and forgets its own in the middle of an error.
            self._handle = socket.socket(fileno=os.dup(self._conn.fileno()))
        return self._conn
