"""`/metrics` of the web: its own requests, and the figures of the databases shared by all services.

The web reports the shared figures because it has a port, reads both databases, and survives the worker: an
alert sees the growing lag of the rollups after the worker's death.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

from django.conf import settings
from django.db import DatabaseError, connections
from django.db.models import Count, Min
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from joulebook.config import sqlite_path
from joulebook.logs import REQUEST_ID_HEADER, request_id
from joulebook.serving.metrics import (
    MetricsRefused,
    RequestMetrics,
    check_metrics_reader,
    exposition,
    new_registry,
)
from joulebook.serving.observing import UNKNOWN_ROUTE, choose_request_id
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.rollups.state import TABLES
from joulebook.telemetry.rollups.status import RollupProgress, read_rollup_progress
from joulebook.telemetry.rollups.tables import WIDTHS
from joulebook.telemetry.timescale import DatabaseFigures, read_figures
from joulebook.web.imports.models import Import
from joulebook.web.telemetry import telemetry_connection

Handler = Callable[[HttpRequest], HttpResponseBase]

METRICS = RequestMetrics("web")
"""The requests of this process."""


class RequestMetricsMiddleware:
    """The outermost middleware: counts an answer, streamed ones too, once it has been sent."""

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass the request on; the answer carries its id in `X-Request-ID`."""
        own = choose_request_id(
            request.headers.get(REQUEST_ID_HEADER),
            peer=request.META.get("REMOTE_ADDR", ""),
            trusted=settings.CONFIG.trusted_proxies,
        )
        token = request_id.set(own)
        METRICS.begin()
        began = time.perf_counter()
        try:
            response = self._get_response(request)
        except BaseException:
            # Django answers every error itself: this is the end of the process, or of a test.
            METRICS.give_up()
            request_id.reset(token)
            raise
        response[REQUEST_ID_HEADER] = own

        def count() -> None:
            METRICS.end(
                _route(request), request.method or "", response.status_code, time.perf_counter() - began
            )
            if request_id.get() == own:  # else the thread already works on another request
                request_id.set("")

        response._resource_closers.append(count)  # type: ignore[attr-defined]
        return response


def _route(request: HttpRequest) -> str:
    """Return the template of the request's address."""
    if request.resolver_match is not None:
        return f"/{request.resolver_match.route}"
    if request.path_info.startswith(settings.STATIC_URL):
        return f"{settings.STATIC_URL}{{path}}"
    return request.path_info if request.path_info in _ANSWERED_BY_MIDDLEWARE else UNKNOWN_ROUTE


_ANSWERED_BY_MIDDLEWARE = frozenset({"/livez", "/readyz", "/metrics"})


log = logging.getLogger(__name__)

T = TypeVar("T")

QUEUE_SECONDS = 10.0
"""The greatest age of the figures of imports and rollups."""

SIZE_SECONDS = 60.0
"""The greatest age of sizes: a database looks at each of its files for its own."""

_FIRST_SECONDS = 3.0
"""The wait of the first scrape for figures; later ones take the last figures."""

_EXPIRE_SECONDS = 300.0
"""Figures older than this are left out: they are no longer true."""


class Cached(Generic[T]):
    """A value read by a thread, again on the first request after `seconds`."""

    def __init__(self, read: Callable[[], T], *, seconds: float) -> None:
        """Cache the result of `read` for `seconds`."""
        self._read = read
        self._seconds = seconds
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._value: T | None = None
        self._read_at = float("-inf")
        self.is_up = True
        """Whether the last call of `read` succeeded."""

    def get(self) -> T | None:
        """Return the value; None if it cannot be read."""
        with self._lock:
            age = time.monotonic() - self._read_at
            if age > self._seconds and self._idle.is_set():
                self._idle.clear()
                threading.Thread(target=self._refresh, name="figures", daemon=True).start()
        if self._value is None:
            self._idle.wait(_FIRST_SECONDS)
        return self._value if time.monotonic() - self._read_at < _EXPIRE_SECONDS else None

    def _refresh(self) -> None:
        try:
            self._value = self._read()
            self._read_at = time.monotonic()
            self.is_up = True
        except (DatabaseError, DatabaseUnavailable) as exc:
            if self.is_up:
                log.warning("figures for /metrics cannot be read: %s", exc)
            self.is_up = False
        except Exception:
            log.exception("figures for /metrics cannot be read")
            self.is_up = False
        finally:
            connections.close_all()  # this thread's own
            self._idle.set()


@dataclass(frozen=True)
class _Queue:
    """The number of imports in each state, and the start of the oldest one's wait."""

    by_state: dict[str, int]
    oldest_queued_at: datetime | None


def _read_queue() -> _Queue:
    counts = dict(Import.objects.order_by().values_list("state").annotate(Count("pk")))
    oldest = Import.objects.filter(state=Import.State.QUEUED).aggregate(oldest=Min("queued_at"))["oldest"]
    return _Queue({state: counts.get(state, 0) for state in Import.State.values}, oldest)


def _read_progress() -> RollupProgress:
    with telemetry_connection() as conn:
        return read_rollup_progress(conn)


def _read_figures() -> DatabaseFigures:
    with telemetry_connection() as conn:
        return read_figures(conn, TABLES)


def _read_accounts_size() -> int:
    file = sqlite_path(settings.CONFIG.database_url)
    if file is not None:
        parts = (Path(f"{file}{suffix}") for suffix in ("", "-wal", "-shm"))
        return sum(part.stat().st_size for part in parts if part.exists())
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        return int(cursor.fetchone()[0])


class SharedFigures(Collector):
    """The databases' figures, read in the background: frequent scrapes cost the databases little."""

    def __init__(self) -> None:
        self._queue = Cached(_read_queue, seconds=QUEUE_SECONDS)
        self._progress = Cached(_read_progress, seconds=QUEUE_SECONDS)
        self._figures = Cached(_read_figures, seconds=SIZE_SECONDS)
        self._accounts_size = Cached(_read_accounts_size, seconds=SIZE_SECONDS)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; unreadable ones are left out."""
        queue, progress = self._queue.get(), self._progress.get()
        figures, accounts_size = self._figures.get(), self._accounts_size.get()
        up = GaugeMetricFamily(
            "joulebook_database_up", "1 if the database answered at the last look.", labels=["database"]
        )
        up.add_metric(["accounts"], float(self._queue.is_up))
        up.add_metric(["telemetry"], float(self._progress.is_up))
        yield up
        yield from _queue_metrics(queue)
        yield from _rollup_metrics(progress)
        sizes = GaugeMetricFamily("joulebook_database_bytes", "Size of a database.", labels=["database"])
        if accounts_size is not None:
            sizes.add_metric(["accounts"], accounts_size)
        if figures is not None:
            sizes.add_metric(["telemetry"], figures.size)
            names = ["postgresql", "timescaledb", "edition"]
            server = GaugeMetricFamily(
                "joulebook_telemetry_server_info",
                "Versions of the server storing the readings.",
                labels=names,
            )
            server.add_metric([figures.postgresql, figures.timescaledb, figures.edition], 1)
            yield server
            chunks = GaugeMetricFamily("joulebook_chunks", "Chunks of a table.", labels=["table"])
            for table, count in figures.chunks.items():
                chunks.add_metric([table], count)
            yield chunks
        yield sizes


def _queue_metrics(queue: _Queue | None) -> Iterator[Metric]:
    if queue is None:
        return
    imports = GaugeMetricFamily("joulebook_imports", "Imports by state.", labels=["state"])
    for state, count in queue.by_state.items():
        imports.add_metric([state], count)
    yield imports
    oldest = queue.oldest_queued_at
    yield GaugeMetricFamily(
        "joulebook_imports_oldest_queued_seconds",
        "How long the oldest queued import has waited for a worker; 0 without one.",
        value=0.0 if oldest is None else max(0.0, (timezone.now() - oldest).total_seconds()),
    )


def _rollup_metrics(progress: RollupProgress | None) -> Iterator[Metric]:
    if progress is None:
        return
    now = to_microseconds(timezone.now())
    lag = GaugeMetricFamily(
        "joulebook_rollup_lag_seconds",
        "Time since the end of the first bucket not yet rolled up.",
        labels=["table"],
    )
    for width, table in WIDTHS.items():
        lag.add_metric([table], progress.lag(width, now=now) / 1_000_000)
    yield lag
    yield GaugeMetricFamily(
        "joulebook_rollup_waiting_seconds",
        "Closed time waiting to be rolled up for all series.",
        value=progress.waiting / 1_000_000,
    )
    yield GaugeMetricFamily(
        "joulebook_rollup_marks",
        "Marks of single series, left by late and changed readings, waiting to be rolled up.",
        value=progress.marks,
    )


_registry = new_registry(settings.CONFIG.home, METRICS, SharedFigures())


class MetricsMiddleware:
    """Answers `/metrics` before the check of hosts and HTTPS: a scraper may use an IP address."""

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer the request, or pass it on."""
        if request.path_info != "/metrics":
            return self._get_response(request)
        if request.method not in {"GET", "HEAD"}:
            return HttpResponse(status=405, headers={"Allow": "GET, HEAD"})
        peer = request.META.get("REMOTE_ADDR", "")
        try:
            check_metrics_reader(settings.CONFIG.metrics_token, peer=peer, header=request.headers.get)
        except MetricsRefused as exc:
            refused = HttpResponse(f"{exc}\n", status=exc.status, content_type="text/plain; charset=utf-8")
            if exc.status == 401:
                refused["WWW-Authenticate"] = "Bearer"
            return refused
        text, content_type = exposition(_registry, request.headers.get("Accept", ""))
        return HttpResponse(text, content_type=content_type, headers={"Cache-Control": "no-store"})
