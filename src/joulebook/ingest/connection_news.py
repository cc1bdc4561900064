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

from joulebook.ingest.patient_connection import PatientConnection
from joulebook.telemetry.connection import Connection, translated_errors
from joulebook.telemetry.errors import DatabaseAway

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

        `heard` is called in the event loop with a device's id and when its connection elsewhere began; with
        an empty id after a time in which nothing could be heard.
        """
        self._connection = PatientConnection(url)
        self._process = process
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._outbox: deque[str] = deque()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)
        self._thread: threading.Thread | None = None
        self._stopping = False

    def announce(self, device_id: str, begun: Begun) -> None:
        """Tell the others of a connection here, soon."""
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
        failing = False
        while not self._stopping:
            try:
                self._connection.run(self._talk)
            except DatabaseAway as exc:
                if not failing and not self._stopping:
                    log.warning("other processes do not hear of new connections for now: %s", exc)
                failing = True
            except Exception:
                log.exception("other processes do not hear of new connections for now")
            self._rest()
        self._connection.close()

    def _rest(self) -> None:
        """Wait before another attempt; what is announced meanwhile is told when it succeeds."""
        until = time.monotonic() + _PAUSE_SECONDS
        while not self._stopping and (left := until - time.monotonic()) > 0:
            select.select([self._woken], [], [], left)
            self._take_wakes()

    def _talk(self, conn: Connection) -> None:
        """Send and hear until stopped. Raises `DatabaseAway`."""
        with translated_errors():
            conn.execute("SET application_name = 'joulebook-connections'")
            conn.execute(_LISTEN)
            # What began while nobody listened here is told again by whoever has it.
            self._tell(_News("", 0, ""))
            while not self._stopping:
                self._send(conn)
                for news in conn.notifies(timeout=0):
                    self._pass_on(news.payload)
                select.select([conn.fileno(), self._woken], [], [], 30)
                self._take_wakes()

    def _send(self, conn: Connection) -> None:
        texts = [self._outbox.popleft() for _ in range(len(self._outbox))]
        if not texts:
            return
        try:
            conn.execute(_SEND, [texts])
        except Exception:
            self._outbox.extendleft(reversed(texts))
            raise

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

    def _take_wakes(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._woken, 4096)
