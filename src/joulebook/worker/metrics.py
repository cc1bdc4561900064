"""The worker's counters, and the port serving them: `/metrics`, `/livez`, and nothing else."""

from __future__ import annotations

import logging
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import Counter, Gauge, disable_created_metrics
from prometheus_client.registry import Collector

from joulebook.config import Config, ConfigError
from joulebook.serving.metrics import (
    MetricsRefused,
    RequestMetrics,
    check_metrics_reader,
    exposition,
    new_registry,
)

log = logging.getLogger(__name__)

_MOST_CONNECTIONS = 16
_CONNECTION_SECONDS = 15.0
"""Longest time for one connection, even if its bytes arrive slowly."""


class WorkerMetrics:
    """The counters of one worker; all its threads may use them."""

    def __init__(self, config: Config) -> None:
        """Begin to count; `config` names the home, for the metrics of its disk."""
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.requests = RequestMetrics("worker")
        self.registry = new_registry(config.home, self.requests)
        self.runs = Counter("joulebook_worker_task_runs", "Runs of a task.", ["task"], registry=self.registry)
        self.failures = Counter(
            "joulebook_worker_task_failures",
            "Runs of a task that failed, or did nothing because a database was unavailable.",
            ["task"],
            registry=self.registry,
        )
        self.seconds = Counter(
            "joulebook_worker_task_seconds", "Time spent on a task.", ["task"], registry=self.registry
        )
        self.succeeded_at = Gauge(
            "joulebook_worker_task_success_timestamp_seconds",
            "When a task last succeeded, in seconds since 1970; 0 before its first success.",
            ["task"],
            registry=self.registry,
        )
        self.open_imports = Gauge(
            "joulebook_worker_open_imports", "Imports claimed by this worker.", registry=self.registry
        )
        self.ended_imports = Counter(
            "joulebook_worker_imports",
            "Imports and undos ended by this worker, by final state.",
            ["state"],
            registry=self.registry,
        )

    def count_run(self, task: str, seconds: float, succeeded: bool) -> None:
        """Count one run of a task, at its end."""
        label = task.replace(" ", "_")
        self.runs.labels(label).inc()
        self.seconds.labels(label).inc(seconds)
        failures, succeeded_at = self.failures.labels(label), self.succeeded_at.labels(label)
        if succeeded:
            succeeded_at.set_to_current_time()
        else:
            failures.inc()


def serve_metrics(config: Config, metrics: WorkerMetrics) -> MetricsServer | None:
    """Listen on the configured port, in threads; return None without a port.

    Raises `ConfigError` if the address cannot be listened on.
    """
    if config.worker_metrics_port is None:
        return None
    host, port = config.worker_metrics_host, config.worker_metrics_port
    try:
        server = MetricsServer(host, port, metrics.registry, metrics.requests, token=config.metrics_token)
    except OSError as exc:
        raise ConfigError(
            f"cannot listen on JOULEBOOK_WORKER_METRICS_HOST={host!r}, "
            f"JOULEBOOK_WORKER_METRICS_PORT={port}: {exc.strerror or exc}"
        ) from exc
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    log.info("worker serves its metrics on http://%s:%d/metrics", host, port)
    return server


class MetricsServer(ThreadingHTTPServer):
    """A server of a few short connections at a time."""

    daemon_threads = True

    def __init__(
        self, host: str, port: int, registry: Collector, requests: RequestMetrics, *, token: str | None
    ) -> None:
        """Listen. Raises `OSError`."""
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, address = found[0][0], found[0][4]
        self.registry = registry
        self.requests = requests
        self.token = token
        self._free = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        super().__init__((str(address[0]), int(address[1])), _Handler)

    def server_bind(self) -> None:
        """Bind without asking the name service for the host's name, as the standard library would."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "", int(self.server_address[1])

    def process_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        """Serve a connection in a thread; close it at once if all threads are taken."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: socket.socket, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        """Serve a connection; shut it down after `_CONNECTION_SECONDS`."""
        end = threading.Timer(_CONNECTION_SECONDS, _cut, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Log no traceback for a client closing its connection."""
        log.debug("a connection to /metrics broke")


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # It has already ended.


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer

    def do_GET(self) -> None:
        """Answer one request, and close."""
        self.server.requests.begin()
        path = self.path.partition("?")[0]
        status, content_type, body = self._answer(path)
        route = path if path in {"/livez", "/metrics"} else "unknown"
        self.server.requests.end(route, "GET", status, 0.0)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, path: str) -> tuple[int, str, bytes]:
        plain = "text/plain; charset=utf-8"
        if path == "/livez":
            return 200, "application/json", b'{"status": "ok"}'
        if path != "/metrics":
            return 404, plain, b"there are /metrics and /livez\n"
        try:
            check_metrics_reader(self.server.token, peer=self.client_address[0], header=self.headers.get)
        except MetricsRefused as exc:
            return exc.status, plain, f"{exc}\n".encode()
        body, content_type = exposition(self.server.registry, self.headers.get("Accept", ""))
        return 200, content_type, body

    def version_string(self) -> str:
        """Return the name without versions."""
        return "Joulebook"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log no requests."""
