"""Announces WebSockets between ingest processes, so that a device has one connection over all of them.

A process announces each new connection over PostgreSQL's NOTIFY: rarely, and apart from the path of readings.
If the announced connection is newer than the device's connection here, this process ends its own; if it is
older, this process announces its own again. So exactly one remains in any order of arrival. A process that
could not listen for a while receives all announcements again afterwards.
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

from joulebook.ingest.connection import Reconnecting
from joulebook.telemetry.connection import Connection, translated_errors
from joulebook.telemetry.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

_LISTEN = "LISTEN joulebook_connections"
_SEND = "SELECT pg_notify('joulebook_connections', text) FROM unnest(%s::text[]) AS text"
_PAUSE_SECONDS = 2.0


class Begun(NamedTuple):
    """The start of a device's connection (nanoseconds since 1970 UTC), and its process.

    The later of two is the greater one.
    """

    at: int
    process: str


class _Announcement(msgspec.Struct, array_like=True):
    device_id: str
    at: int
    process: str


class Announcements:
    """Sends and receives announcements; opens nothing before the first one."""

    def __init__(self, url: str, *, process: str, received: Callable[[str, Begun], None]) -> None:
        """Prepare to announce over the database at `url`, as `process`.

        `received` is called in the event loop with a device's id and the start of its connection elsewhere.
        It is called with an empty id each time listening starts: it must then announce all connections.
        """
        self._connection = Reconnecting(url)
        self._process = process
        self._received = received
        self._loop = asyncio.get_running_loop()
        self._outbox: deque[str] = deque()
        self._listening = False
        self._failing = False
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)
        self._thread: threading.Thread | None = None
        self._stopping = False

    def announce(self, device_id: str, begun: Begun) -> None:
        """Announce a connection of this process, soon.

        While the database is unavailable this has no effect: `received` asks for it again afterwards.
        """
        if self._listening:
            self._outbox.append(msgspec.json.encode(_Announcement(device_id, *begun)).decode())
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="announcements", daemon=True)
            self._thread.start()
        self._wake_thread()

    async def close(self) -> None:
        """End the thread and close the connection."""
        self._stopping = True
        if self._thread is not None:
            self._wake_thread()
            self._connection.cut()
            await asyncio.to_thread(self._thread.join, 5)
            if self._thread.is_alive():
                return  # the thread ends with the process, and needs its pipe until then
        os.close(self._wake)
        os.close(self._woken)

    def _wake_thread(self) -> None:
        with suppress(BlockingIOError):  # the pipe is full of earlier wake-ups
            os.write(self._wake, b"x")

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._connection.run(self._exchange)
            except DatabaseUnavailable as exc:
                if not self._failing and not self._stopping:
                    log.warning("new connections are not announced to other processes for now: %s", exc)
                self._failing = True
            except Exception:
                log.exception("new connections are not announced to other processes for now")
            until = time.monotonic() + _PAUSE_SECONDS
            while not self._stopping and (left := until - time.monotonic()) > 0:
                self._wait(seconds=left)
        self._connection.close()

    def _exchange(self, conn: Connection) -> None:
        """Send and receive until stopped. Raises `DatabaseUnavailable`."""
        self._outbox.clear()
        try:
            with translated_errors():
                conn.execute("SET application_name = 'joulebook-connections'")
                conn.execute(_LISTEN)
                self._listening, self._failing = True, False
                # Announce all of ours: another process with a newer connection then answers.
                self._call(_Announcement("", 0, ""))
                while not self._stopping:
                    if texts := [self._outbox.popleft() for _ in range(len(self._outbox))]:
                        conn.execute(_SEND, [texts])
                    for notification in conn.notifies(timeout=0):
                        self._receive(notification.payload)
                    self._wait(conn.fileno(), seconds=30)
        finally:
            self._listening = False

    def _wait(self, *descriptors: int, seconds: float) -> None:
        """Wait until one of the descriptors can be read, or `announce` or `close` wakes this thread."""
        # Not select(): its descriptors end at 1023, and every device has one.
        poll = select.poll()
        for descriptor in (*descriptors, self._woken):
            poll.register(descriptor, select.POLLIN)
        poll.poll(seconds * 1_000)
        with suppress(BlockingIOError):
            os.read(self._woken, 4096)

    def _receive(self, payload: str) -> None:
        try:
            announcement = msgspec.json.decode(payload, type=_Announcement)
        except msgspec.DecodeError:
            return  # from another program, or another version of ours
        if announcement.process != self._process:
            self._call(announcement)

    def _call(self, announcement: _Announcement) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(
                self._received, announcement.device_id, Begun(announcement.at, announcement.process)
            )
