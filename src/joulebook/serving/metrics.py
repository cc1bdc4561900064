"""The metrics of every service: its requests, process, build and disk; and the check of their reader."""

from __future__ import annotations

import hmac
import os
import platform
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from joulebook import __version__

_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""All others share one label: a client's text must not become a label."""

_FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip", "via")


class Histogram:
    """The number of observed values up to each bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """Count by ascending `bounds`."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def add(self, other: Histogram) -> None:
        """Add the counts of another histogram with the same bounds."""
        self._counts = [own + more for own, more in zip(self._counts, other._counts, strict=True)]
        self._sum += other._sum

    def copy(self) -> Histogram:
        """Return a histogram with the same counts."""
        copied = Histogram(self._bounds)
        copied.add(self)
        return copied

    @property
    def count(self) -> int:
        """The number of values."""
        return sum(self._counts)

    def buckets(self) -> list[tuple[str, float]]:
        """Return the cumulative counts by upper bound."""
        total, found = 0, []
        for bound, count in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            total += count
            found.append((str(bound), float(total)))
        return found

    @property
    def sum(self) -> float:
        """The sum of all values."""
        return self._sum


class RequestMetrics(Collector):
    """Requests of one service by route, method and status, their durations, and those in flight.

    Threads count with `begin`, `end` and `give_up`. A service with one thread, such as ingest, changes
    `in_flight` and the histograms of `durations` directly: this costs a request less.
    """

    def __init__(self, service: str) -> None:
        """Count for `service`, the value of a label."""
        self._service = service
        self._lock = threading.Lock()
        self.in_flight = 0
        # One look-up a request: the histogram's count is the number of requests.
        self._seconds: dict[tuple[str, str, int], Histogram] = {}
        self.turned_away: Counter[int] = Counter()
        """Answers by status on connections without a slot: they never reach a route."""

    def durations(self, route: str, method: str, status: int) -> Histogram:
        """Return the histogram of such requests, in seconds; `route` is a template, never a client's path."""
        key = route, method if method in METHODS else "other", status
        return self._seconds.get(key) or self._seconds.setdefault(key, Histogram(_REQUEST_SECONDS))

    def begin(self) -> None:
        """Count a request as in flight."""
        with self._lock:
            self.in_flight += 1

    def end(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count the answer to a request in flight."""
        with self._lock:
            self.in_flight -= 1
            self.durations(route, method, status).observe(seconds)

    def give_up(self) -> None:
        """Forget a request in flight without an answer: its client has disconnected."""
        with self._lock:
            self.in_flight -= 1

    def by_status(self, *, without: frozenset[str]) -> dict[int, int]:
        """Return the number of requests by status, except those for the routes in `without`."""
        found = Counter(self.turned_away)
        with self._lock:
            for (route, _, status), histogram in self._seconds.items():
                if route not in without:
                    found[status] += histogram.count
        return dict(sorted(found.items()))

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        with self._lock:
            in_flight = self.in_flight
            histograms = {key: histogram.copy() for key, histogram in sorted(self._seconds.items())}
        counts = [(key, histogram.count) for key, histogram in histograms.items()]
        counts += [(("turned away", "other", status), n) for status, n in self.turned_away.items()]
        durations: dict[tuple[str, str], Histogram] = {}
        for (route, method, _), histogram in histograms.items():
            durations.setdefault((route, method), Histogram(_REQUEST_SECONDS)).add(histogram)
        requests = CounterMetricFamily(
            "joulebook_http_requests",
            "HTTP requests by route, method and status.",
            labels=["service", "route", "method", "status"],
        )
        for (route, method, status), count in counts:
            requests.add_metric([self._service, route, method, str(status)], count)
        seconds = HistogramMetricFamily(
            "joulebook_http_request_seconds",
            "Time from a request's head to the end of its answer.",
            labels=["service", "route", "method"],
        )
        for (route, method), histogram in durations.items():
            seconds.add_metric([self._service, route, method], histogram.buckets(), histogram.sum)
        flight = GaugeMetricFamily(
            "joulebook_http_requests_in_flight", "HTTP requests without a whole answer.", labels=["service"]
        )
        flight.add_metric([self._service], in_flight)
        yield from (requests, seconds, flight)


class _Machine(Collector):
    """The build, and the space where Joulebook keeps its files."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        build = {"version": __version__, "python": platform.python_version()}
        yield InfoMetricFamily("joulebook_build", "Versions of Joulebook and Python.", value=build)
        try:
            found = os.statvfs(self._home)
        except OSError:
            return  # the folder does not exist
        yield GaugeMetricFamily(
            "joulebook_disk_free_bytes",
            "Space that is left for files in JOULEBOOK_HOME.",
            value=found.f_bavail * found.f_frsize,
        )
        yield GaugeMetricFamily(
            "joulebook_disk_size_bytes",
            "Size of the filesystem with JOULEBOOK_HOME.",
            value=found.f_blocks * found.f_frsize,
        )


def new_registry(home: Path, *collectors: Collector) -> CollectorRegistry:
    """Return a registry of the metrics of every service and of these collectors."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(_Machine(home))
    for collector in collectors:
        registry.register(collector)
    return registry


def exposition(registry: Collector, accept: str) -> tuple[bytes, str]:
    """Return the text of all metrics and its content type, chosen by the scraper's Accept header."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class MetricsRefused(Exception):
    """This request may not read the metrics; `status` is 401 or 403, the message has the remedy."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def check_metrics_reader(token: str | None, *, peer: str, header: Callable[[str], str | None]) -> None:
    """Raise `MetricsRefused` unless a request may read the metrics.

    With a token in the settings, the request must carry it. Without one, it must come from this machine
    and not through a proxy: it carries no forwarding header, and its Host is a loopback name. `header`
    returns a header of the request by its lower-case name.
    """
    if token is not None:
        scheme, _, given = (header("authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
            raise MetricsRefused(401, "send the token of JOULEBOOK_METRICS_TOKEN: Authorization: Bearer …")
        return
    is_forwarded = any(header(name) is not None for name in _FORWARDED)
    host = header("host") or ""
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    is_local = _is_loopback(peer) and (name == "localhost" or _is_loopback(name))
    if is_forwarded or not is_local:
        raise MetricsRefused(
            403, "metrics are read from this machine only, or anywhere with JOULEBOOK_METRICS_TOKEN set"
        )


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address.removeprefix("::ffff:")).is_loopback
    except ValueError:
        return False


Snapshot = list[tuple[str, str, str, list[tuple[str, dict[str, str], float]]]]
"""Metrics as plain values: (name, documentation, type, [(sample's name, labels, value)])."""


def take_snapshot(collector: Collector, labels: Mapping[str, str]) -> Snapshot:
    """Return the metrics with further labels on every sample."""
    return [
        (
            metric.name,
            metric.documentation,
            metric.type,
            [(sample.name, {**labels, **sample.labels}, sample.value) for sample in metric.samples],
        )
        for metric in collector.collect()
    ]


class Snapshots(Collector):
    """The metrics of several processes as one collector."""

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self._snapshots = snapshots

    def collect(self) -> Iterator[Metric]:
        """Yield each metric once, with the samples of all processes."""
        merged: dict[str, Metric] = {}
        for snapshot in self._snapshots:
            for name, documentation, kind, samples in snapshot:
                metric = merged.setdefault(name, Metric(name, documentation, kind))
                for sample, labels, value in samples:
                    metric.add_sample(sample, dict(labels), value)
        yield from merged.values()
