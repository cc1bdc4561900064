"""Tells ingest processes of each other's WebSockets, so that a device has one connection over all of them.

A process announces a connection when it begins, over PostgreSQL's NOTIFY: rare, and never on the way of
a reading. Who hears of a newer connection of a device that is connected here ends the older one; who
hears of an older one announces the newer again. So exactly one stays, in whatever order the news
arrive, and a process that could not listen for a while is told when it can.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import msgspec

from joulebook.ingest.connection import PatientConnection
from joulebook.telemetry.connection import Connection, translated_errors
from joulebook.telemetry.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

_LISTEN = "LISTEN joulebook_connections"
_SEND = "SELECT pg_notify('joulebook_connections', text) FROM unnest(%s::text[]) AS text"
_PAUSE_SECONDS = 2.0


class Begun(NamedTuple):
    """A connection of a device: when it began (nanoseconds since 1970 UTC), and in which process.

    The later of two is the greater one.
    """

    at: int
    process: str


class _News(msgspec.Struct, array_like=True):
    device_id: str
    at: int
    process: str


class ConnectionNews:
    """Announces connections and passes on what others announce; nothing is opened before the first one."""

    def __init__(self, url: str, *, process: str, heard: Callable[[str, Begun], None]) -> None:
        """Prepare to talk over the database at `url`, as `process`.

        `heard` is called in the event loop with a device's id and when its connection elsewhere began, and
        with an empty id whenever talking begins anew: everything here is to be announced then.
        """
        self._connection = PatientConnection(url)
        self._process = process
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._outbox: deque[str] = deque()
        self._talking = False
        self._failing = False
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)
        self._thread: threading.Thread | None = None
        self._stopping = False

    def announce(self, device_id: str, begun: Begun) -> None:
        """Tell the others of a connection here, soon.

        Where that is not possible now, it is asked for again when it is: see `heard`.
        """
        if self._talking:
            self._outbox.append(msgspec.json.encode(_News(device_id, *begun)).decode())
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="connection-news", daemon=True)
            self._thread.start()
        self._wake_thread()

    async def close(self) -> None:
        """Let go of the thread and the connection."""
        self._stopping = True
        if self._thread is not None:
            self._wake_thread()
            self._connection.cut()
            await asyncio.to_thread(self._thread.join, 5)
            if self._thread.is_alive():
                return  # it ends with the process, and needs its pipe until then
        os.close(self._wake)
        os.close(self._woken)

    def _wake_thread(self) -> None:
        with suppress(BlockingIOError):  # it has been woken often enough
            os.write(self._wake, b"x")

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._connection.run(self._talk)
            except DatabaseUnavailable as exc:
                if not self._failing and not self._stopping:
                    log.warning("other processes do not hear of new connections for now: %s", exc)
                self._failing = True
            except Exception:
                log.exception("other processes do not hear of new connections for now")
            self._rest()
        self._connection.close()

    def _rest(self) -> None:
        """Wait before another attempt."""
        until = time.monotonic() + _PAUSE_SECONDS
        while not self._stopping and (left := until - time.monotonic()) > 0:
            self._wait(seconds=left)

    def _talk(self, conn: Connection) -> None:
        """Send and hear until stopped. Raises `DatabaseUnavailable`."""
        self._outbox.clear()
        try:
            with translated_errors():
                conn.execute("SET application_name = 'joulebook-connections'")
                conn.execute(_LISTEN)
                self._talking, self._failing = True, False
                # What began while nobody listened here is told again by whoever has it.
                self._tell(_News("", 0, ""))
                while not self._stopping:
                    self._send(conn)
                    for news in conn.notifies(timeout=0):
                        self._pass_on(news.payload)
                    self._wait(conn.fileno(), seconds=30)
        finally:
            self._talking = False

    def _wait(self, *descriptors: int, seconds: float) -> None:
        """Wait until one of the descriptors can be read, or somebody wakes this thread."""
        # Not select(): it knows no descriptors beyond 1023, and every device has one.
        poll = select.poll()
        for descriptor in (*descriptors, self._woken):
            poll.register(descriptor, select.POLLIN)
        poll.poll(seconds * 1_000)
        with suppress(BlockingIOError):
            os.read(self._woken, 4096)

    def _send(self, conn: Connection) -> None:
        texts = [self._outbox.popleft() for _ in range(len(self._outbox))]
        if texts:
            conn.execute(_SEND, [texts])

    def _pass_on(self, payload: str) -> None:
        try:
            news = msgspec.json.decode(payload, type=_News)
        except msgspec.DecodeError:
            return  # somebody else uses the channel, or another version of ours
        if news.process != self._process:
            self._tell(news)

    def _tell(self, news: _News) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._heard, news.device_id, Begun(news.at, news.process))
