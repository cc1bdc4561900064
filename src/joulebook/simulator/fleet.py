"""Many devices as one source of packets: each device's packet at a tick of the clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from joulebook.simulator.clock import BLOCK, SLOW_STEP
from joulebook.simulator.devices import DEVICE_KINDS, DeviceKind, SimulatedMetric
from joulebook.simulator.home import Home, HomeBlock, HomeState, stand_still
from joulebook.simulator.sun import Site

MICROSECONDS = 1_000_000
_CATCH_UP_BLOCKS = 3_000
"""The most blocks of all homes together to simulate at the start: a few seconds of work."""


@dataclass(frozen=True)
class Ticks:
    """Instants at a rate, counted from 1970: the same ones after a restart."""

    rate: float

    def time(self, tick: int) -> int:
        """Return the instant of a tick in microseconds since 1970 UTC."""
        return round(tick * MICROSECONDS / self.rate)

    def first_at(self, time: int) -> int:
        """Return the first tick at or after `time` (microseconds since 1970 UTC)."""
        tick = int(time * self.rate / MICROSECONDS) - 1
        while self.time(tick) < time:
            tick += 1
        return tick

    def is_slow(self, tick: int) -> bool:
        """Return whether this is the first tick of its ten seconds: slow metrics are reported with it."""
        step = SLOW_STEP * MICROSECONDS
        return self.time(tick) // step != self.time(tick - 1) // step


class _Feed:
    """One home's current block, and the next one once it is needed."""

    def __init__(self, home: Home, state: HomeState) -> None:
        self.home = home
        self.state = state
        self._block, self._after = home.advance(state)
        self._next: tuple[HomeBlock, HomeState] | None = None

    def look_ahead(self) -> HomeBlock:
        """Return the next block, computed once."""
        if self._next is None:
            self._next = self.home.advance(self._after)
        return self._next[0]

    def at(self, second: int) -> tuple[HomeBlock, int]:
        """Return the block of a second not before the current block, and the second's index in it."""
        while second >= self._block.start + BLOCK:
            block = self.look_ahead()
            assert self._next is not None  # noqa: S101 - just computed
            self.state, self._block, self._after, self._next = self._after, block, self._next[1], None
        return self._block, second - self._block.start

    def after(self, second: int) -> tuple[HomeBlock, int]:
        """Return the block of the second after `second`, without moving on."""
        if second + 1 < self._block.start + BLOCK:
            return self._block, second + 1 - self._block.start
        return self.look_ahead(), 0


class Fleet:
    """Devices in a fixed order; three in a row live in one home: its battery, its roof, its grid meter."""

    def __init__(
        self,
        device_ids: Sequence[str],
        *,
        start: int,
        rate: float = 1.0,
        seed: int = 0,
        place: Site | None = None,
        states: Mapping[int, HomeState] | None = None,
    ) -> None:
        """Prepare the homes for `start` (seconds since 1970 UTC).

        The homes have the seeds `seed`, `seed + 1`, …; `states` are known states by seed. The time since a
        home's state is simulated, unless that is too much work for all of them.
        """
        self.device_ids = list(device_ids)
        self.ticks = Ticks(rate)
        homes = [Home(seed + index, place) for index in range(-(-len(device_ids) // len(DEVICE_KINDS)))]
        # Homes cannot go back: a state after `start` is of no use.
        usable = {seed: state for seed, state in (states or {}).items() if state.block <= start // BLOCK}
        begun = [usable.get(home.seed) or home.begin(start) for home in homes]
        missing = sum(start // BLOCK - state.block for state in begun)
        move = Home.seek if missing <= _CATCH_UP_BLOCKS else _skip
        self._feeds = [
            _Feed(home, move(home, state, start)) for home, state in zip(homes, begun, strict=True)
        ]
        self._encoder = msgspec.json.Encoder()
        self._looked_ahead = (0, 0)

    def states(self) -> dict[int, HomeState]:
        """Return the state of each home by its seed, at the start of its current block."""
        return {feed.home.seed: feed.state for feed in self._feeds}

    def packets(self, tick: int) -> Iterator[tuple[int, bytes]]:
        """Yield (number of the device, its packet as JSON) for each device at a tick; ticks only grow."""
        time = self.ticks.time(tick)
        seconds, rest = divmod(time, MICROSECONDS)
        text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        stamp, slow = f"{text}.{rest:06d}Z" if rest else f"{text}Z", self.ticks.is_slow(tick)
        for number in range(len(self.device_ids)):
            packet: dict[str, Any] = {"timestamp": stamp}
            feed = self._feeds[number // len(DEVICE_KINDS)]
            for metric in kind_of(number).metrics:
                if slow or metric.step < SLOW_STEP:
                    # As devices do, `battery.soc` is written as {"battery": {"soc": …}}.
                    *groups, name = metric.name.split(".")
                    inner = packet
                    for group in groups:
                        inner = inner.setdefault(group, {})
                    inner[name] = _value(feed, metric, time)
            yield number, self._encoder.encode(packet)
        self._spread_work(time)

    def _spread_work(self, time: int) -> None:
        """Compute the homes' next blocks little by little, to avoid a burst of work at a block's end."""
        block, within = divmod(time // MICROSECONDS, BLOCK)
        done = self._looked_ahead[1] if self._looked_ahead[0] == block else 0
        due = min(len(self._feeds), (within + 1) * len(self._feeds) * 2 // BLOCK)
        for feed in self._feeds[done:due]:
            feed.look_ahead()
        self._looked_ahead = (block, max(done, due))


def kind_of(number: int) -> DeviceKind:
    """Return the kind of the device with this number in a fleet."""
    return DEVICE_KINDS[number % len(DEVICE_KINDS)]


def _skip(home: Home, state: HomeState, start: int) -> HomeState:
    """Let a home stand still since its state, after the end of the block begun.

    So a register continues from a value never exceeded before.
    """
    if state.block < start // BLOCK:
        _, state = home.advance(state)
    return stand_still(state, start)


def _value(feed: _Feed, metric: SimulatedMetric, time: int) -> float:
    """Return a metric's value at an instant: the second's own, or on the line to the next second's."""
    second, rest = divmod(time, MICROSECONDS)
    block, index = feed.at(second)
    value = float(metric.values(block)[index])
    if not rest:
        return value
    block, index = feed.after(second)
    after = float(metric.values(block)[index])
    return round(value + (after - value) * rest / MICROSECONDS, 4)
