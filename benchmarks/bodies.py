"""The readings of measurements, and the requests that carry them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import numpy as np

from joulebook.telemetry.batch import Batch

DEVICES = tuple(f"device_{number}" for number in range(64))
METRICS = tuple(f"metric_{number}" for number in range(10))
STEP = 2_000
"""Microseconds between two readings of a series."""

_encode = msgspec.json.Encoder().encode


class Moments:
    """Gives each measurement times of its own, so that none meets the keys of another.

    They are now, or a little ahead, where they follow each other faster than time passes: devices send
    what they have just measured, and storing something old is another kind of work.
    """

    def __init__(self) -> None:
        self._free = 0

    def take(self, count: int, *, step: int = STEP) -> np.ndarray:
        """Return `count` times in microseconds since 1970 UTC, `step` apart."""
        now = time.time_ns() // 1_000
        begin = max(self._free, now - now % STEP)
        self._free = begin + count * step
        if self._free > now + 540_000_000:
            raise RuntimeError("the measurements' times would be too far ahead of the clock")
        return begin + np.arange(count, dtype=np.int64) * step


@dataclass(frozen=True)
class Sweep:
    """Readings of all devices and metrics at some moments, cut into requests as devices send them.

    `moments` are the times of each series, microseconds since 1970 UTC; each request carries
    `per_request` of them for one device.
    """

    moments: np.ndarray
    per_request: int
    metrics: tuple[str, ...] = METRICS
    devices: tuple[str, ...] = DEVICES

    def __len__(self) -> int:
        return len(self.moments) * len(self.devices) * len(self.metrics)

    @property
    def readings_a_request(self) -> int:
        """How many readings one request carries."""
        return self.per_request * len(self.metrics)

    def values(self) -> np.ndarray:
        """Return the readings' values: by request, moment and metric."""
        shape = (len(self) // self.readings_a_request, self.per_request, len(self.metrics))
        return np.random.default_rng(1).normal(500, 100, shape).round(2)

    def requests(self) -> Iterator[tuple[str, list[int], list[list[float]]]]:
        """Give each request's device, moments, and values by moment and metric."""
        values = iter(self.values().tolist())
        for first in range(0, len(self.moments), self.per_request):
            moments = self.moments[first : first + self.per_request].tolist()
            for device_id in self.devices:
                yield device_id, moments, next(values)

    def bodies(self, write: Callable[..., bytes]) -> list[tuple[str, bytes]]:
        """Return (device, body) of each request; `write` is `packets` or one of its like."""
        return [
            (device, write(device, moments, rows, self.metrics)) for device, moments, rows in self.requests()
        ]

    def batch(self, series: dict[tuple[str, str], int]) -> Batch:
        """Return the same readings as one batch, in the order in which the requests carry them."""
        ids = np.array(
            [[series[device, metric] for metric in self.metrics] for device in self.devices], np.int32
        )
        blocks = len(self.moments) // self.per_request
        shape = (blocks, len(self.devices), self.per_request, len(self.metrics))
        moments = self.moments.reshape(blocks, 1, self.per_request, 1)
        return Batch(
            series_id=np.broadcast_to(np.array(ids, np.int32)[None, :, None, :], shape).ravel(),
            time=np.broadcast_to(moments, shape).ravel(),
            value=self.values().ravel(),
        )


def packets(device_id: str, moments: list[int], rows: list[list[float]], metrics: tuple[str, ...]) -> bytes:  # noqa: ARG001
    """Return an array of packets, or the one packet."""
    made = [
        {"timestamp": _rfc3339(at), **dict(zip(metrics, row, strict=True))}
        for at, row in zip(moments, rows, strict=True)
    ]
    return _encode(made if len(made) > 1 else made[0])


def lines(device_id: str, moments: list[int], rows: list[list[float]], metrics: tuple[str, ...]) -> bytes:
    """Return line protocol with one field a line."""
    return "\n".join(
        f"load,device={device_id} {metric}={value} {at}000"
        for at, row in zip(moments, rows, strict=True)
        for metric, value in zip(metrics, row, strict=True)
    ).encode()


def wide_lines(
    device_id: str, moments: list[int], rows: list[list[float]], metrics: tuple[str, ...]
) -> bytes:
    """Return line protocol with all metrics of a moment on one line."""
    return "\n".join(
        f"load,device={device_id} "
        + ",".join(f"{metric}={value}" for metric, value in zip(metrics, row, strict=True))
        + f" {at}000"
        for at, row in zip(moments, rows, strict=True)
    ).encode()


def _rfc3339(at: int) -> str:
    return (
        datetime.fromtimestamp(at / 1_000_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
