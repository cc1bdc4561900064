"""Remembers the ids of series, so that a known metric costs no query."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from joulebook.telemetry.errors import DatabaseAway
from joulebook.telemetry.series import SeriesKey, ensure_series
from joulebook.telemetry.writer import Connection, connect, translated_errors


class SeriesDirectory:
    """Knows the series of devices that have sent something; creates those that are new."""

    def __init__(self, url: str, *, device_metrics: int) -> None:
        """Prepare to read and create series at `url`, at most `device_metrics` of them a device."""
        self._url = url
        self._device_metrics = device_metrics
        self._known: dict[str, dict[str, int]] = {}
        self._conn: Connection | None = None
        # One thread and one connection: two requests with the same new metric do not race.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="series")

    def known(self, keys: Sequence[SeriesKey]) -> list[int] | None:
        """Return the ids of the series if all of them are known, without waiting for anything."""
        known = self._known
        try:
            return [known[device_id][metric] for device_id, metric in keys]
        except KeyError:
            return None

    async def ensure(self, keys: Sequence[SeriesKey]) -> dict[SeriesKey, int]:
        """Return the id of each series; those beyond their device's cap are missing in the answer.

        Raises `DatabaseAway`.
        """
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._thread, self._ensure, keys)
        for (device_id, metric), number in found.items():
            self._known.setdefault(device_id, {})[metric] = number
        return found

    async def ping(self) -> None:
        """Raise `DatabaseAway` unless the database answers."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._ping)

    def close(self) -> None:
        """Let go of the thread and the connection."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._conn is not None:
            self._conn.close()

    def _ensure(self, keys: Sequence[SeriesKey]) -> dict[SeriesKey, int]:
        with self._connection() as conn:
            return ensure_series(conn, keys, most_per_device=self._device_metrics)

    def _ping(self) -> None:
        with self._connection() as conn, translated_errors():
            conn.execute("SELECT 1 FROM series LIMIT 1")

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """Lend the connection, opened where it is not; one that failed is not used again."""
        try:
            if self._conn is None or self._conn.closed:
                self._conn = connect(self._url)
            yield self._conn
        except DatabaseAway:
            if self._conn is not None:
                self._conn.close()
                self._conn = None
            raise
