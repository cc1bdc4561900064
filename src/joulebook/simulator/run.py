"""The simulator at work: packets at each tick, sent by a few workers, until told to stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from joulebook.simulator.client import Client, Counts
from joulebook.simulator.fleet import MICROSECONDS, Fleet
from joulebook.simulator.outbox import Outbox
from joulebook.simulator.tokens import DeviceToken

_BACKLOG_BATCH = 500
"""Packets of a request when many wait, after an outage or at the start."""
_FLUSH_SECONDS = 3.0
_STRIDE = 5_000
"""Packets that are made in one go while catching up; then the workers get a turn."""
_TURN = 0.01


@dataclass(frozen=True)
class Progress:
    """A look at the simulator: what was counted, how many packets wait, and how many were given up."""

    counts: Counts
    waiting: int
    given_up: int
    devices: int


class Simulator:
    """Sends a fleet's packets. `buffer` is the most packets that may wait for the server, in all."""

    def __init__(
        self,
        fleet: Fleet,
        tokens: list[DeviceToken],
        client: Client,
        *,
        batch: int,
        buffer: int,
        connections: int,
    ) -> None:
        room = max(batch + 1, buffer // len(tokens))
        self._fleet = fleet
        self._client = client
        self._batch = batch
        self._connections = connections
        self._outboxes = [
            Outbox(device_id, token, room=room, largest=max(batch, _BACKLOG_BATCH))
            for device_id, token in tokens
        ]
        self._room = room
        # The devices of a large batch do not all send at the same second.
        self._due = [1 + number % batch for number in range(len(tokens))]
        self._queue: asyncio.Queue[int] = asyncio.Queue()
        self._queued = [False] * len(tokens)
        self._flushing = False

    @property
    def progress(self) -> Progress:
        """What became of the packets so far."""
        return Progress(
            counts=self._client.counts,
            waiting=sum(len(outbox) for outbox in self._outboxes),
            given_up=sum(outbox.given_up for outbox in self._outboxes),
            devices=len(self._outboxes),
        )

    async def run(self, *, since: int, stop: asyncio.Event, on_tick: Callable[[int], None]) -> None:
        """Send everything from `since` on (microseconds since 1970 UTC) at its time, until `stop` is set.

        What lies in the past is sent at once, as far back as the buffer reaches. `on_tick` is called after
        each tick with its time. At the end a few seconds are given to what still waits.
        """
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(self._work()) for _ in range(self._connections)]
            await self._make(since, stop, on_tick)
            await self._flush()
            for worker in workers:
                worker.cancel()

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
            self._make_one(tick)
            made = made + len(self._outboxes) if wait < -1.0 else 0
            on_tick(ticks.time(tick))
            tick += 1

    def _make_one(self, tick: int) -> None:
        for number, packet in self._fleet.packets(tick):
            self._outboxes[number].add(packet)
            self._due[number] -= 1
            if self._due[number] <= 0:
                self._due[number] = self._batch
                self._enqueue(number)

    async def _flush(self) -> None:
        """Send what is left, also of batches that are not full, as long as the server takes it at once."""
        self._flushing = True
        for number, outbox in enumerate(self._outboxes):
            if len(outbox) and not outbox.failures:
                self._enqueue(number)
        try:
            async with asyncio.timeout(_FLUSH_SECONDS):
                await self._queue.join()
        except TimeoutError:
            return

    def _enqueue(self, number: int) -> None:
        """Let a worker send the device's next batch; a device has one request at a time."""
        if not self._queued[number]:
            self._queued[number] = True
            self._queue.put_nowait(number)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            number = await self._queue.get()
            outbox = self._outboxes[number]
            pause = await self._client.deliver(outbox) if len(outbox) else 0.0
            if pause:
                # Stays marked as queued, so that new packets do not shorten the pause.
                loop.call_later(pause, self._queue.put_nowait, number)
            else:
                self._queued[number] = False
                if outbox.sending or len(outbox) >= (1 if self._flushing else self._batch):
                    self._enqueue(number)
            self._queue.task_done()


def _now() -> int:
    return time.time_ns() // 1_000


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
