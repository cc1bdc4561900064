"""The running simulator: packets at each tick, sent over a few connections, until it is stopped."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from joulebook.client.buffer import WaitingPackets
from joulebook.client.sender import Sender, http_client
from joulebook.simulator.fleet import MICROSECONDS, Fleet
from joulebook.simulator.tokens import DeviceCredentials

_BACKLOG_BATCH = 500
"""Packets of a request if many wait, after an outage or at the start."""
_TIMEOUT = 15.0
_FLUSH_SECONDS = 3.0
_STRIDE = 5_000
"""Packets made in one go while catching up; then the workers get a turn."""
_TURN = 0.01

# The status line reports for all devices; a log line for each of a thousand devices would bury it.
_log = logging.getLogger("joulebook.simulator")
_log.addHandler(logging.NullHandler())
_log.propagate = False


@dataclass(frozen=True)
class FleetProgress:
    """The counts of all devices so far."""

    sent: int
    """Packets answered by the server."""
    stored: int
    """Readings new to the server."""
    duplicates: int
    """Readings already stored before."""
    refused: int
    """Readings refused for good, and packets refused as a whole."""
    last_refusal: str
    """The device of the last refusals, and the reason."""
    waiting: int
    """Packets without an answer yet."""
    given_up: int
    """Packets dropped because too many were waiting."""
    troubled: dict[str, str]
    """The devices with packets not taken at the moment, and the reasons."""

    @property
    def trouble(self) -> str:
        """The first device in trouble with the reason, and the number of others; empty without trouble."""
        if not self.troubled:
            return ""
        device_id, reason = next(iter(self.troubled.items()))
        others = len(self.troubled) - 1
        return f"{device_id}{f' and {others} more' if others else ''}: {reason}"


class Outbox:
    """The unanswered packets of one device; a queue for `joulebook.client.sender.Sender`.

    Up to `room` packets wait. If there are more, the oldest is given up, because a live reading is worth more
    than one of hours ago; packets that are being sent stay. Safe for two threads: one adds, one sends.
    """

    def __init__(self, *, room: int) -> None:
        self.given_up = 0
        self._room = room
        self._packets: deque[bytes] = deque()
        self._sending = 0
        self._lock = threading.Lock()

    def add(self, packet: bytes) -> None:
        """Add a packet, and give up the oldest one if too many wait."""
        with self._lock:
            if self._sending < len(self._packets) >= self._room:
                del self._packets[self._sending]
                self.given_up += 1
            self._packets.append(packet)

    def oldest(self, *, most: int, most_bytes: int) -> WaitingPackets | None:
        """Return up to `most` packets with up to `most_bytes` in all, at least one; None if none waits.

        Until they are settled, further calls return the same packets, or fewer of them with a smaller `most`.
        """
        bodies: list[bytes] = []
        size = 0
        with self._lock:
            for packet in self._packets:
                size += len(packet)
                if len(bodies) == min(most, self._sending or most) or (bodies and size > most_bytes):
                    break
                bodies.append(packet)
            self._sending = len(bodies)
        return WaitingPackets(0, len(bodies) - 1, bodies) if bodies else None

    def settle(self, waiting: WaitingPackets) -> None:
        """Remove packets: ingest has stored them, or will never accept them."""
        with self._lock:
            for _ in waiting.bodies:
                self._packets.popleft()
            self._sending = 0

    @property
    def is_sending(self) -> bool:
        """Whether packets were sent and have no answer yet."""
        return self._sending > 0

    def __len__(self) -> int:
        return len(self._packets)


class Simulator:
    """Sends a fleet's packets over a few connections; up to `buffer` packets wait for the server, in all."""

    def __init__(
        self,
        fleet: Fleet,
        tokens: list[DeviceCredentials],
        url: str,
        *,
        batch: int,
        buffer: int,
        connections: int,
    ) -> None:
        room = max(batch + 1, buffer // len(tokens))
        self._fleet = fleet
        self._device_ids = [device_id for device_id, _ in tokens]
        self._batch = batch
        self._connections = connections
        self._http = http_client(url, timeout=_TIMEOUT, connections=connections)
        self._outboxes = [Outbox(room=room) for _ in tokens]
        self._senders = [
            Sender(
                url,
                lambda token=token: token,  # type: ignore[misc]
                outbox,
                batch=max(batch, _BACKLOG_BATCH),
                http=self._http,
                logger=_log,
            )
            for (_, token), outbox in zip(tokens, self._outboxes, strict=True)
        ]
        self._room = room
        # The devices of a large batch do not all send at the same second.
        self._due = [1 + number % batch for number in range(len(tokens))]
        self._queue: asyncio.Queue[int] = asyncio.Queue()
        self._queued = [False] * len(tokens)
        self._flushing = False

    @property
    def progress(self) -> FleetProgress:
        """The counts so far."""
        counts = list(zip(self._device_ids, (sender.counts for sender in self._senders), strict=True))
        refusals = [f"{device_id}: {each.last_refusal}" for device_id, each in counts if each.last_refusal]
        return FleetProgress(
            sent=sum(each.sent for _, each in counts),
            stored=sum(each.stored for _, each in counts),
            duplicates=sum(each.duplicates for _, each in counts),
            refused=sum(each.refused for _, each in counts),
            last_refusal=refusals[-1] if refusals else "",
            waiting=sum(map(len, self._outboxes)),
            given_up=sum(outbox.given_up for outbox in self._outboxes),
            troubled={device_id: each.trouble for device_id, each in counts if each.trouble},
        )

    async def run(self, *, since: int, stop: asyncio.Event, on_tick: Callable[[int], None]) -> None:
        """Send everything from `since` on (microseconds since 1970 UTC) at its time, until `stop` is set.

        Packets of the past are sent at once, as far back as the buffer reaches. `on_tick` is called after
        each tick with its time. At the end, packets still waiting have a few seconds to be sent.
        """
        threads = _DaemonThreads(self._connections)
        try:
            async with asyncio.TaskGroup() as group:
                workers = [group.create_task(self._work(threads)) for _ in range(self._connections)]
                await self._make(since, stop, on_tick)
                # Send the rest, batches not full as well, as long as the server takes it at once.
                self._flushing = True
                for number, outbox in enumerate(self._outboxes):
                    if len(outbox) and not self._senders[number].counts.trouble:
                        self._enqueue(number)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_FLUSH_SECONDS):
                        await self._queue.join()
                for worker in workers:
                    worker.cancel()
        finally:
            threads.stop()
            self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    async def _make(self, since: int, stop: asyncio.Event, on_tick: Callable[[int], None]) -> None:
        ticks = self._fleet.ticks
        tick, made = ticks.first_at(since), 0
        while not stop.is_set():
            wait = (ticks.time(tick) - _now()) / MICROSECONDS
            if wait > 0:
                await _sleep(wait, stop)
                continue
            if made > _STRIDE:
                made = 0
                await _sleep(0.0 if self._queue.empty() else _TURN, stop)
            if wait * ticks.rate < -self._room:  # more than there is room for: after a pause of the machine
                tick = ticks.first_at(_now()) - self._room
            for number, packet in self._fleet.packets(tick):
                self._outboxes[number].add(packet)
                self._due[number] -= 1
                if self._due[number] <= 0:
                    self._due[number] = self._batch
                    self._enqueue(number)
            made = made + len(self._outboxes) if wait < -1.0 else 0
            on_tick(ticks.time(tick))
            tick += 1

    def _enqueue(self, number: int) -> None:
        """Let a worker send the device's next batch; a device has one request at a time."""
        if not self._queued[number]:
            self._queued[number] = True
            self._queue.put_nowait(number)

    async def _work(self, threads: _DaemonThreads) -> None:
        loop = asyncio.get_running_loop()
        while True:
            number = await self._queue.get()
            outbox = self._outboxes[number]
            pause = await threads.run(self._senders[number].attempt) if len(outbox) else None
            if pause:
                # Stays marked as queued: new packets do not shorten the pause.
                loop.call_later(pause, self._queue.put_nowait, number)
            else:
                self._queued[number] = False
                if outbox.is_sending or len(outbox) >= (1 if self._flushing else self._batch):
                    self._enqueue(number)
            self._queue.task_done()


class _DaemonThreads:
    """Threads for blocking calls; other than an executor's, they do not delay the end of the process.

    A request to a server without an answer could hold it up for the whole timeout.
    """

    def __init__(self, count: int) -> None:
        self._calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._count = count
        for _ in range(count):
            threading.Thread(target=self._serve, daemon=True).start()

    def run(self, call: Callable[[], float | None]) -> asyncio.Future[float | None]:
        """Make the call in a free thread."""
        future: concurrent.futures.Future[float | None] = concurrent.futures.Future()
        self._calls.put((future, call))
        return asyncio.wrap_future(future)

    def stop(self) -> None:
        """End each thread after its call."""
        for _ in range(self._count):
            self._calls.put(None)

    def _serve(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as exc:  # noqa: BLE001 - raised again where the call was asked for
                future.set_exception(exc)
            else:
                future.set_result(result)


def _now() -> int:
    return time.time_ns() // 1_000


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
