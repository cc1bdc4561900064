"""The readings of watched devices as they are committed, by whichever process.

One task looks for new rows of all watched devices together, a few times a second, and only while
somebody watches. So the write path pays nothing, not even when nobody is told, and what another ingest
process, an import or a gateway stored is seen like everything else. A look at a device with ten metrics
at one reading a second took 0.6 ms, at twenty such devices 6 ms (2 cores, shared with the writers);
PostgreSQL's NOTIFY makes commits wait for each other: in one short measurement eight writers lost a
quarter of theirs. Everything but the passing on is done in a thread, and in pieces: with twenty devices
of ten metrics at 33 readings a second the event loop stands still for 0.1 s at most, and else for 0.4 s.
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

from joulebook.ingest.connection import PatientConnection
from joulebook.telemetry.connection import Connection, translated_errors
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.readings import from_microseconds, to_microseconds

log = logging.getLogger(__name__)

Fresh = dict[str, list[tuple[float, float]]]
"""New readings by metric: (seconds since 1970 UTC, value), ascending in time."""

POLL_SECONDS = 0.25
LEAST_REST = 4
"""The task rests so many times as long as a look has taken: at most a fifth of one connection is used."""

OVERLAP = 15_000_000
"""Microseconds before a series' newest reading that are looked at again: readings come out of order."""

FURTHEST = 86_400_000_000
"""Microseconds: a reading older than this is history when it arrives, and not live."""

_MOST_ROWS = 1_000
"""Newest readings of one series that one look takes."""

_FIRST_ROWS = 30
"""The same for a series that is new to the feed: about what came within the overlap."""

_PIECE = 200

_QUEUE = 64
"""Looks with something new that may wait for a viewer before it is dropped."""

# Rows that were seen are found again within the overlap. The constant bound leaves out all old chunks.
_LOOK = f"""
SELECT series.id, series.device_id, series.metric, fresh.time, fresh.value
FROM series
LEFT JOIN unnest(%(ids)s::int[], %(since)s::timestamptz[]) AS seen (id, since) ON seen.id = series.id
CROSS JOIN LATERAL (
    SELECT time, value FROM readings
    WHERE series_id = series.id AND time >= %(floor)s AND time >= coalesce(seen.since, %(floor)s)
    ORDER BY time DESC LIMIT CASE WHEN seen.id IS NULL THEN {_FIRST_ROWS} ELSE {_MOST_ROWS} END
) AS fresh
WHERE series.device_id = ANY(%(devices)s)
"""  # noqa: S608 - a number of ours


class TooManyViewers(Exception):
    """As many people watch as may, or one of them as much as one may."""


@dataclass(frozen=True)
class Watcher:
    """Whose streams are counted together: those of one ticket, of one user, and of one address."""

    ticket: str
    user: str
    address: str


class Viewer:
    """One open stream: what is new for it, until it or the feed ends it."""

    def __init__(self, device_id: str) -> None:
        self.device_id = device_id
        self.cut: Callable[[], None] = _nothing
        """Called when the viewer does not keep up: what waits for it is not read either."""
        self._waiting: asyncio.Queue[Fresh | None] = asyncio.Queue(_QUEUE + 1)
        self._ended = False

    def offer(self, fresh: Fresh) -> None:
        """Pass something new on; a viewer that does not keep up is ended and cut off."""
        if self._ended:
            return
        if self._waiting.qsize() >= _QUEUE:
            self.end()
            self.cut()
        else:
            self._waiting.put_nowait(fresh)

    def end(self) -> None:
        """Let the stream end once it has what waits."""
        if not self._ended:
            self._ended = True
            self._waiting.put_nowait(None)

    async def next(self, *, seconds: float) -> Fresh | None:
        """Return what is new, nothing (an empty dict) after `seconds`, or None at the end."""
        try:
            async with asyncio.timeout(seconds):
                return await self._waiting.get()
        except TimeoutError:
            return {}


def _nothing() -> None:
    """Stand for a stream that nobody has to cut."""


class LiveFeed:
    """Looks for new readings of the devices that somebody watches, and passes them on."""

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

        Up to `most_viewers` watch at a time. A page opens one stream with its ticket, and another where
        the first seems to be dead.
        """
        self._conn = PatientConnection(url)
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
        """How many viewers there are."""
        return sum(map(len, self._viewers.values()))

    @contextmanager
    def watch(self, device_id: str, watcher: Watcher) -> Iterator[Viewer]:
        """Give a viewer of the device. Raises `TooManyViewers`."""
        with self._share(watcher):
            yield from self._watch(device_id)

    @contextmanager
    def _share(self, watcher: Watcher) -> Iterator[None]:
        """Count a stream of the watcher's. Raises `TooManyViewers`."""
        if self._draining or self.streams >= self._most_viewers:
            raise TooManyViewers("too many people watch at the moment")
        shares = (("ticket", watcher.ticket), ("user", watcher.user), ("address", watcher.address))
        for share, most in zip(shares, self._most_of, strict=True):
            if self._shares[share] >= most:
                raise TooManyViewers(f"this {share[0]} has {most} streams open already, its share")
        self._shares.update(shares)
        try:
            yield
        finally:
            self._shares.subtract(shares)
            for share in shares:
                if not self._shares[share]:
                    del self._shares[share]

    def _watch(self, device_id: str) -> Iterator[Viewer]:
        viewer = Viewer(device_id)
        self._viewers[device_id].add(viewer)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look_again_and_again())
        try:
            yield viewer
        finally:
            self._viewers[device_id].discard(viewer)
            if not self._viewers[device_id]:
                del self._viewers[device_id]

    def drain(self) -> None:
        """End all streams and take no more viewers."""
        self._draining = True
        for viewers in self._viewers.values():
            for viewer in viewers:
                viewer.end()

    async def close(self) -> None:
        """Let go of the task, the thread and the connection."""
        self.drain()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._conn.cut()
        await asyncio.to_thread(self._thread.shutdown)
        self._conn.close()

    async def _look_again_and_again(self) -> None:
        """Look for as long as somebody watches."""
        loop = asyncio.get_running_loop()
        while self._viewers:
            began = loop.time()
            self._remember_only_watched()
            try:
                fresh = await loop.run_in_executor(self._thread, self._look, dict(self._memory))
            except DatabaseUnavailable:
                await asyncio.sleep(2)  # pages ask the history themselves, and say what is wrong
                continue
            except Exception:
                log.exception("the live feed could not look for new readings")
                await asyncio.sleep(5)
                continue
            self._pass_on(fresh)
            await asyncio.sleep(max(POLL_SECONDS, LEAST_REST * (loop.time() - began)))
        self._memory.clear()

    def _remember_only_watched(self) -> None:
        for device_id in self._memory.keys() - self._viewers.keys():
            del self._memory[device_id]
        for device_id in self._viewers.keys() - self._memory.keys():
            self._memory[device_id] = _DeviceMemory()

    def _look(self, memory: dict[str, _DeviceMemory]) -> dict[str, Fresh]:
        """Return what is new of each device, in the feed's thread: requests must not wait for it."""
        now = time.time_ns() // 1_000
        since = {number: at for device in memory.values() for number, at in device.since(now).items()}
        asked = {
            "devices": list(memory),
            "ids": list(since),
            "since": [from_microseconds(at) for at in since.values()],
            "floor": from_microseconds(now - FURTHEST),
        }

        def run(conn: Connection) -> list[Any]:
            rows: list[Any] = []
            with translated_errors():
                found = conn.execute(_LOOK, asked)
                # In pieces: the driver lets no other thread run while it makes objects of rows.
                while part := found.fetchmany(_PIECE):
                    rows += part
            return rows

        by_device: defaultdict[str, list[Any]] = defaultdict(list)
        for row in self._conn.run(run):
            by_device[row[1]].append(row)
        return {device_id: device.new_of(by_device[device_id]) for device_id, device in memory.items()}

    def _pass_on(self, fresh: dict[str, Fresh]) -> None:
        for device_id, new in fresh.items():
            if new:
                for viewer in self._viewers.get(device_id, ()):
                    viewer.offer(new)


class _DeviceMemory:
    """What has been seen of a device: the readings of each series within the overlap."""

    def __init__(self) -> None:
        self._series: dict[int, dict[int, float]] = {}
        self._first = True

    def since(self, now: int) -> dict[int, int]:
        """Return from when on each known series is looked at, in microseconds since 1970 UTC."""
        floor = now - FURTHEST
        # A reading that claims to be of the future must not hide those of the present.
        return {
            number: max(floor, min(now, max(seen)) - OVERLAP) if seen else floor
            for number, seen in self._series.items()
        }

    def new_of(self, rows: list[Any]) -> Fresh:
        """Return the readings that were not there at the last look, or had another value.

        The first look only learns what is there: the page has it from the history.
        """
        found: dict[int, dict[int, float]] = {number: {} for number in self._series}
        names: dict[int, str] = {}
        for number, _, metric, at, value in rows:
            found.setdefault(number, {})[to_microseconds(at)] = value
            names[number] = metric
        fresh: Fresh = {}
        for number, readings in found.items():
            seen = self._series.get(number, {})
            new = sorted((at, value) for at, value in readings.items() if seen.get(at) != value)
            if new and not self._first:
                fresh[names[number]] = [(at / 1_000_000, value) for at, value in new]
            if readings:
                self._series[number] = readings
        self._first = False
        return fresh
