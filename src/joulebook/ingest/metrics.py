"""The counts of an ingest process, and `/metrics` for all processes on its port.

Only one thread writes each number, the event loop or the thread of the group commit, so counting needs no
lock. A scrape converts them to metrics of Prometheus.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
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

PROBES = frozenset({"/livez", "/readyz", "/metrics"})

_BATCH_READINGS = (1, 10, 100, 1_000, 10_000, 100_000)
_COMMIT_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SIBLING_SECONDS = 2.0
"""How long another process may take to send its numbers; after that the answer goes without them."""


def _nothing() -> float:
    return 0.0


@dataclass(eq=False)
class IngestMetrics(Collector):
    """The numbers of one ingest process; a scrape calls the gauges."""

    process: int = 1
    readings: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    requests: RequestMetrics = field(default_factory=lambda: RequestMetrics("ingest"))
    batch_readings: Histogram = field(default_factory=lambda: Histogram(_BATCH_READINGS))
    commit_seconds: Histogram = field(default_factory=lambda: Histogram(_COMMIT_SECONDS))
    queue_readings: Callable[[], float] = _nothing
    oldest_unflushed: Callable[[], float] = _nothing
    open_connections: Callable[[], float] = _nothing
    live_streams: Callable[[], float] = _nothing
    wires: Callable[[], Iterable[Metric]] = tuple

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        statuses = {str(status): n for status, n in self.requests.by_status(without=PROBES).items()}
        yield counters("readings", "Readings by what became of them.", "outcome", self.readings)
        yield counters("requests", "HTTP requests by status, without probes.", "status", statuses)
        yield from self.wires()
        yield _histogram("batch_readings", "Readings in one COPY.", self.batch_readings)
        yield _histogram("commit_seconds", "Time to copy and commit a batch.", self.commit_seconds)
        for name, meaning, gauge in (
            ("queue_readings", "Readings that wait for their commit.", self.queue_readings),
            (
                "oldest_unflushed_seconds",
                "How long the longest waiting reading has waited.",
                self.oldest_unflushed,
            ),
            ("open_connections", "Connections that are open.", self.open_connections),
            ("live_streams", "Streams of readings that are open for pages.", self.live_streams),
        ):
            yield GaugeMetricFamily(f"joulebook_ingest_{name}", meaning, value=gauge())


def counters(name: str, meaning: str, label: str, counts: Mapping[str, int]) -> Metric:
    """Return a metric of ingest counting by the values of a label."""
    family = CounterMetricFamily(f"joulebook_ingest_{name}", meaning, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _histogram(name: str, meaning: str, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(f"joulebook_ingest_{name}", meaning)
    family.add_metric([], histogram.buckets(), histogram.sum)
    return family


class Siblings:
    """The ingest processes on one port: each sends its numbers to the others over a socket in `folder`.

    The kernel chooses the process answering a scrape, and that process queries the others. `folder` belongs
    to the parent, and only its user can read it; it is None if there is one process.
    """

    def __init__(self, metrics: IngestMetrics, *, home: Path, folder: Path | None) -> None:
        self._process = str(metrics.process)
        self._folder = folder
        self._registry: CollectorRegistry = new_registry(home, metrics.requests, metrics)
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Start answering the other processes."""
        if self._folder is not None:
            path = self._folder / self._process
            path.unlink(missing_ok=True)  # left by a dead process with this number
            self._server = await asyncio.start_unix_server(self._send, path)

    async def close(self) -> None:
        """Stop answering the other processes."""
        if self._server is not None:
            self._server.close()

    async def text(self, accept: str) -> tuple[bytes, str]:
        """Return the numbers of all processes and their content type; the work is done in threads."""
        others = [] if self._folder is None else sorted(self._folder.iterdir())
        found = await asyncio.gather(
            asyncio.to_thread(self._snapshot),
            *(self._fetch(path) for path in others if path.name != self._process),
        )
        snapshots = Snapshots([snapshot for snapshot in found if snapshot is not None])
        return await asyncio.to_thread(exposition, snapshots, accept)

    def _snapshot(self) -> Snapshot:
        return take_snapshot(self._registry, {"process": self._process})

    async def _fetch(self, path: Path) -> Snapshot | None:
        try:
            async with asyncio.timeout(_SIBLING_SECONDS):
                reader, writer = await asyncio.open_unix_connection(path)
                with contextlib.closing(writer):
                    return msgspec.json.decode(await reader.read(), type=Snapshot)
        except (OSError, TimeoutError, msgspec.DecodeError):
            return None

    async def _send(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            writer.write(msgspec.json.encode(await asyncio.to_thread(self._snapshot)))
            await writer.drain()
