"""Newly committed readings of watched devices, from every process.

While there are viewers, one task queries new rows of all watched devices together, a few times a second. So
writing costs nothing extra, and readings stored by another ingest process or by an import appear like all
others. A query for a device with ten metrics at one reading a second took 0.6 ms, for twenty such devices
6 ms (2 cores, shared with the writers). PostgreSQL's NOTIFY makes commits wait for each other: in one short
measurement eight writers lost a quarter of theirs. A thread runs the queries and reads their rows in pieces.
With twenty devices of ten metrics at 33 readings a second the event loop then stops for 0.1 s at most, and
otherwise for 0.4 s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from joulebook.ingest.connection import Reconnecting
from joulebook.telemetry.connection import Connection, translated_errors
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.kinds.settings import TEXTS
from joulebook.telemetry.readings import from_microseconds, to_microseconds

log = logging.getLogger(__name__)

Fresh = dict[str, list[tuple[float, float | str]]]
"""New readings by metric: (seconds since 1970 UTC, value or text), ascending in time."""

POLL_SECONDS = 0.25
LEAST_REST = 4
"""After a query the task rests this many times its duration: it uses a fifth of one connection at most."""

OVERLAP = 15_000_000
"""Microseconds before a series' newest reading that are queried again: readings arrive out of order."""

FURTHEST = 86_400_000_000
"""Microseconds: an older reading is history when it arrives, and not live."""

_MOST_ROWS = 1_000
"""Newest readings of one series in one query."""

_FIRST_ROWS = 30
"""The same for a series new to the feed: about the readings of the overlap."""

_PIECE = 200

_QUEUE = 64
"""Events that may wait for a viewer before it is dropped."""

# Rows seen before are found again within the overlap. The constant bound excludes all old chunks.
_NEW_READINGS = f"""
SELECT series.id, series.device_id, series.metric, fresh.time, fresh.value,
    CASE WHEN series.form >= {TEXTS} THEN (
        SELECT text FROM series_texts WHERE series_id = series.id AND code = fresh.value
    ) END AS text
FROM series
LEFT JOIN unnest(%(ids)s::int[], %(since)s::timestamptz[]) AS seen (id, since) ON seen.id = series.id
CROSS JOIN LATERAL (
    SELECT time, value FROM readings
    WHERE series_id = series.id AND time >= %(floor)s AND time >= coalesce(seen.since, %(floor)s)
      AND value <> 'NaN'
    ORDER BY time DESC LIMIT CASE WHEN seen.id IS NULL THEN {_FIRST_ROWS} ELSE {_MOST_ROWS} END
) AS fresh
WHERE series.device_id = ANY(%(devices)s)
"""  # noqa: S608 - a number of ours


class TooManyViewers(Exception):
    """All slots for viewers are taken, or all of one ticket, user or address."""


@dataclass(frozen=True)
class Watcher:
    """The owner of a stream: streams are counted by ticket, by user, and by address."""

    ticket: str
    user: str
    address: str


class Viewer:
    """One open stream: the queue of its events, until either side ends it."""

    def __init__(self, device_id: str) -> None:
        self.device_id = device_id
        self.cut: Callable[[], None] = lambda: None
        """Called if the viewer does not keep up: it will not read the waiting events either."""
        self._waiting: asyncio.Queue[Fresh | None] = asyncio.Queue(_QUEUE + 1)
        self._ended = False

    def offer(self, fresh: Fresh) -> None:
        """Queue new readings; end and cut off a viewer that does not keep up."""
        if self._ended:
            return
        if self._waiting.qsize() >= _QUEUE:
            self.end()
            self.cut()
        else:
            self._waiting.put_nowait(fresh)

    def end(self) -> None:
        """End the stream after the waiting events."""
        if not self._ended:
            self._ended = True
            self._waiting.put_nowait(None)

    async def next(self, *, seconds: float) -> Fresh | None:
        """Return new readings, an empty dict after `seconds` without any, or None at the end."""
        try:
            async with asyncio.timeout(seconds):
                return await self._waiting.get()
        except TimeoutError:
            return {}


class LiveFeed:
    """Queries new readings of the watched devices, and passes them to their viewers."""

    def __init__(
        self,
        url: str,
        *,
        most_viewers: int = 500,
        of_a_ticket: int = 4,
        of_a_user: int = 50,
        of_an_address: int = 125,
    ) -> None:
        """Prepare to read at `url`; nothing is opened before the first viewer.

        There are slots for `most_viewers` streams. A page opens one stream with its ticket, and another if
        the first seems dead.
        """
        self._conn = Reconnecting(url)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="live")
        self._most_viewers = most_viewers
        self._most_of = (of_a_ticket, of_a_user, of_an_address)
        self._viewers: defaultdict[str, set[Viewer]] = defaultdict(set)
        self._shares: Counter[tuple[str, str]] = Counter()
        self._memory: dict[str, _DeviceMemory] = {}
        self._task: asyncio.Task[None] | None = None
        self._draining = False

    @property
    def streams(self) -> int:
        """The number of viewers."""
        return sum(map(len, self._viewers.values()))

    @contextmanager
    def watch(self, device_id: str, watcher: Watcher) -> Iterator[Viewer]:
        """Add a viewer of the device for the time of the context. Raises `TooManyViewers`."""
        if self._draining or self.streams >= self._most_viewers:
            raise TooManyViewers("too many people watch at the moment")
        shares = (("ticket", watcher.ticket), ("user", watcher.user), ("address", watcher.address))
        for share, most in zip(shares, self._most_of, strict=True):
            if self._shares[share] >= most:
                raise TooManyViewers(f"this {share[0]} has {most} streams open already, its share")
        viewer = Viewer(device_id)
        self._shares.update(shares)
        self._viewers[device_id].add(viewer)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            yield viewer
        finally:
            self._viewers[device_id].discard(viewer)
            if not self._viewers[device_id]:
                del self._viewers[device_id]
            self._shares.subtract(shares)
            for share in shares:
                if not self._shares[share]:
                    del self._shares[share]

    def drain(self) -> None:
        """End all streams and refuse further viewers."""
        self._draining = True
        for viewers in self._viewers.values():
            for viewer in viewers:
                viewer.end()

    async def close(self) -> None:
        """End the task and the thread, and close the connection."""
        self.drain()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._conn.cut()
        await asyncio.to_thread(self._thread.shutdown)
        self._conn.close()

    async def _run(self) -> None:
        """Query until the last viewer has gone."""
        loop = asyncio.get_running_loop()
        while self._viewers:
            began = loop.time()
            for device_id in self._memory.keys() - self._viewers.keys():
                del self._memory[device_id]
            for device_id in self._viewers.keys() - self._memory.keys():
                self._memory[device_id] = _DeviceMemory()
            try:
                fresh = await loop.run_in_executor(self._thread, self._query, dict(self._memory))
            except DatabaseUnavailable:
                await asyncio.sleep(2)  # pages also poll the history, and show what is wrong
                continue
            except Exception:
                log.exception("the live feed could not query new readings")
                await asyncio.sleep(5)
                continue
            for device_id, new in fresh.items():
                for viewer in self._viewers.get(device_id, ()) if new else ():
                    viewer.offer(new)
            await asyncio.sleep(max(POLL_SECONDS, LEAST_REST * (loop.time() - began)))
        self._memory.clear()

    def _query(self, memory: dict[str, _DeviceMemory]) -> dict[str, Fresh]:
        """Return the new readings of each device; runs in the feed's thread, so that requests do not wait."""
        now = time.time_ns() // 1_000
        since = {number: at for device in memory.values() for number, at in device.since(now).items()}
        parameters = {
            "devices": list(memory),
            "ids": list(since),
            "since": [from_microseconds(at) for at in since.values()],
            "floor": from_microseconds(now - FURTHEST),
        }

        def run(conn: Connection) -> list[Any]:
            rows: list[Any] = []
            with translated_errors():
                found = conn.execute(_NEW_READINGS, parameters)
                # In pieces: the driver blocks all other threads while it makes objects of rows.
                while part := found.fetchmany(_PIECE):
                    rows += part
            return rows

        by_device: defaultdict[str, list[Any]] = defaultdict(list)
        for row in self._conn.run(run):
            by_device[row[1]].append(row)
        return {device_id: device.new_of(by_device[device_id]) for device_id, device in memory.items()}


class _DeviceMemory:
    """The readings of a device seen before: those of each series within the overlap."""

    def __init__(self) -> None:
        self._series: dict[int, dict[int, float | str]] = {}
        self._first = True

    def since(self, now: int) -> dict[int, int]:
        """Return the start of the query for each known series, in microseconds since 1970 UTC."""
        floor = now - FURTHEST
        # A reading with a time in the future must not hide those of the present.
        return {
            number: max(floor, min(now, max(seen)) - OVERLAP) if seen else floor
            for number, seen in self._series.items()
        }

    def new_of(self, rows: list[Any]) -> Fresh:
        """Return the readings that are new since the last query, or have another value.

        The first query returns none: the page has these readings from the history.
        """
        found: dict[int, dict[int, float | str]] = {number: {} for number in self._series}
        names: dict[int, str] = {}
        for number, _, metric, at, value, text in rows:
            found.setdefault(number, {})[to_microseconds(at)] = value if text is None else text
            names[number] = metric
        fresh: Fresh = {}
        for number, readings in found.items():
            seen = self._series.get(number, {})
            new = sorted(at for at, value in readings.items() if seen.get(at) != value)
            if new and not self._first:
                fresh[names[number]] = [(at / 1_000_000, readings[at]) for at in new]
            if readings:
                self._series[number] = readings
        self._first = False
        return fresh
