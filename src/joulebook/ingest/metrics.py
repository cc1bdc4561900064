"""What an ingest process counts, and how one answer of `/metrics` tells of all processes on its port.

Each number here has one writer, the event loop or the thread of the group commit, so counting takes no
lock. They become Prometheus's metrics when they are asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from joulebook.serving.metrics import (
    Histogram,
    RequestMetrics,
    Snapshot,
    Snapshots,
    exposition,
    new_registry,
    take_snapshot,
)

OUTCOMES = ("stored", "duplicate", "conflict", "replaced", "rejected")

MESSAGE_OUTCOMES = ("stored", "partial", "too_large", "unparsable", "rate", "unavailable", "internal")
"""What becomes of a WebSocket's message: all of it is stored, only a part, or none and why."""

PROBES = frozenset({"/livez", "/readyz", "/metrics"})

_BATCH_READINGS = (1, 10, 100, 1_000, 10_000, 100_000)
_COMMIT_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SIBLING_SECONDS = 2.0
"""How long another process may take to tell its numbers; without them the answer is of the others."""


def _nothing() -> float:
    return 0.0


@dataclass(eq=False)
class IngestMetrics(Collector):
    """The numbers of one ingest process; the gauges are asked when they are wanted."""

    process: int = 1
    readings: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    requests: RequestMetrics = field(default_factory=lambda: RequestMetrics("ingest"))
    messages: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MESSAGE_OUTCOMES, 0))
    batch_readings: Histogram = field(default_factory=lambda: Histogram(_BATCH_READINGS))
    commit_seconds: Histogram = field(default_factory=lambda: Histogram(_COMMIT_SECONDS))
    queue_readings: Callable[[], float] = _nothing
    oldest_unflushed: Callable[[], float] = _nothing
    open_connections: Callable[[], float] = _nothing
    live_streams: Callable[[], float] = _nothing

    def collect(self) -> Iterator[Metric]:
        """Give the metrics."""
        statuses = {str(status): n for status, n in self.requests.by_status(without=PROBES).items()}
        yield _counters("readings", "Readings by what became of them.", "outcome", self.readings)
        yield _counters("requests", "HTTP requests by status, without probes.", "status", statuses)
        yield _counters(
            "messages", "Messages of WebSockets by what became of them.", "outcome", self.messages
        )
        yield _histogram("batch_readings", "Readings in one COPY.", self.batch_readings)
        yield _histogram("commit_seconds", "Time to copy and commit a batch.", self.commit_seconds)
        for name, meaning, ask in (
            ("queue_readings", "Readings that wait for their commit.", self.queue_readings),
            (
                "oldest_unflushed_seconds",
                "How long the longest waiting reading has waited.",
                self.oldest_unflushed,
            ),
            ("open_connections", "Connections that are open.", self.open_connections),
            ("live_streams", "Streams of readings that are open for pages.", self.live_streams),
        ):
            yield GaugeMetricFamily(f"joulebook_ingest_{name}", meaning, value=ask())


def _counters(name: str, meaning: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(f"joulebook_ingest_{name}", meaning, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _histogram(name: str, meaning: str, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(f"joulebook_ingest_{name}", meaning)
    family.add_metric([], histogram.buckets(), histogram.sum)
    return family


class Siblings:
    """The ingest processes on one port: each tells its numbers to the others over a socket in `folder`.

    The kernel chooses which process answers a scrape, so that one asks the others. `folder` is the
    parent's, readable by its user alone; None where there is one process.
    """

    def __init__(self, metrics: IngestMetrics, *, home: Path, folder: Path | None) -> None:
        self._process = str(metrics.process)
        self._folder = folder
        self._registry: CollectorRegistry = new_registry(home, metrics.requests, metrics)
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Begin to answer the other processes."""
        if self._folder is not None:
            path = self._folder / self._process
            path.unlink(missing_ok=True)  # of a process with this number that died
            self._server = await asyncio.start_unix_server(self._tell, path)

    async def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()

    async def text(self, accept: str) -> tuple[bytes, str]:
        """Return the numbers of all processes and their content type; in threads, not in the event loop."""
        found = await asyncio.gather(
            asyncio.to_thread(self._snapshot), *(self._ask(path) for path in self._other_paths())
        )
        snapshots = Snapshots([snapshot for snapshot in found if snapshot is not None])
        return await asyncio.to_thread(exposition, snapshots, accept)

    def _snapshot(self) -> Snapshot:
        return take_snapshot(self._registry, {"process": self._process})

    def _other_paths(self) -> list[Path]:
        if self._folder is None:
            return []
        return [path for path in sorted(self._folder.iterdir()) if path.name != self._process]

    async def _ask(self, path: Path) -> Snapshot | None:
        try:
            async with asyncio.timeout(_SIBLING_SECONDS):
                reader, writer = await asyncio.open_unix_connection(path)
                with contextlib.closing(writer):
                    return msgspec.json.decode(await reader.read(), type=Snapshot)
        except (OSError, TimeoutError, msgspec.DecodeError):
            return None

    async def _tell(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            writer.write(msgspec.json.encode(await asyncio.to_thread(self._snapshot)))
            await writer.drain()
