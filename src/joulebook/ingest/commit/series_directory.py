"""Remembers the ids of series, so that a known metric costs no query.

They are remembered for one connection of those who write: when that one was closed, the database behind
the next may be an older state of itself, in which an id stands for another series.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from joulebook.ingest.connection import PATIENCE_SECONDS, PatientConnection
from joulebook.telemetry.connection import Connection, translated_errors
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.series import SeriesKey, ensure_series

T = TypeVar("T")

_PING_SECONDS = 3.0
"""A probe is answered before those who probe lose their own patience."""


class SeriesDirectory:
    """Knows the series of devices that have sent something; creates those that are new."""

    def __init__(self, url: str, *, device_metrics: int) -> None:
        """Prepare to read and create series at `url`, at most `device_metrics` of them a device."""
        self._device_metrics = device_metrics
        self._known: dict[str, dict[str, int]] = {}
        self._known_for = 0
        self._connection = PatientConnection(url)
        # One thread and one connection: two requests with the same new metric do not race.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="series")

    def known(self, keys: Sequence[SeriesKey], *, connection: int) -> list[int] | None:
        """Return the ids of the series if all of them are known, without waiting for anything.

        `connection` is the number of the connection that they are to be written to.
        """
        if connection != self._known_for:
            self._known, self._known_for = {}, connection
        known = self._known
        try:
            return [known[device_id][metric] for device_id, metric in keys]
        except KeyError:
            return None

    async def ensure(self, keys: Sequence[SeriesKey], *, connection: int) -> dict[SeriesKey, int]:
        """Return the id of each series; those beyond their device's cap are missing in the answer.

        They are remembered for this `connection`. Raises `DatabaseUnavailable`.
        """

        def work(conn: Connection) -> dict[SeriesKey, int]:
            return ensure_series(conn, keys, most_per_device=self._device_metrics)

        try:
            found = await self._run(work, seconds=PATIENCE_SECONDS)
        except DatabaseUnavailable:
            self._connection.cut()  # the thread may still wait, and others behind it
            raise
        if connection == self._known_for:
            for (device_id, metric), number in found.items():
                self._known.setdefault(device_id, {})[metric] = number
        return found

    async def ping(self) -> None:
        """Raise `DatabaseUnavailable` unless the database answers."""
        await self._run(_ping, seconds=_PING_SECONDS)

    def close(self) -> None:
        """Let go of the thread and the connection."""
        self._connection.cut()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._connection.close()

    async def _run(self, work: Callable[[Connection], T], *, seconds: float) -> T:
        """Do it in the thread. Raises `DatabaseUnavailable`, also when it takes longer than `seconds`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                return await loop.run_in_executor(self._thread, self._connection.run, work)
        except TimeoutError as exc:
            raise DatabaseUnavailable(f"the database has not answered for {seconds:g} s") from exc


def _ping(conn: Connection) -> None:
    with translated_errors():
        conn.execute("SELECT 1 FROM series LIMIT 1")
