"""What this process counts, in Prometheus's text format (version 0.0.4).

Each number has one writer, the event loop or the thread of the group commit, so counting takes no lock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

OUTCOMES = ("stored", "duplicate", "conflict", "replaced", "rejected")

MESSAGE_OUTCOMES = ("stored", "partial", "too_large", "unparsable", "rate", "unavailable", "internal")
"""What becomes of a WebSocket's message: all of it is stored, only a part, or none and why."""

_BATCH_READINGS = (1, 10, 100, 1_000, 10_000, 100_000)
_COMMIT_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_PROBES = frozenset({"/livez", "/readyz", "/metrics"})


class Histogram:
    """How many observations were at most as large as each bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """Count by `bounds`, which rise."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Give the suffix, labels and value of each of the histogram's numbers."""
        total = 0
        for bound, count in zip((*self._bounds, "+Inf"), self._counts, strict=True):
            total += count
            yield "_bucket", {"le": str(bound)}, total
        yield "_sum", {}, self._sum
        yield "_count", {}, total


def _nothing() -> float:
    return 0.0


@dataclass
class IngestMetrics:
    """The numbers of one ingest process; the last three are asked when they are wanted."""

    process: int = 1
    readings: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    requests: Counter[int] = field(default_factory=Counter)
    messages: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MESSAGE_OUTCOMES, 0))
    batch_readings: Histogram = field(default_factory=lambda: Histogram(_BATCH_READINGS))
    commit_seconds: Histogram = field(default_factory=lambda: Histogram(_COMMIT_SECONDS))
    queue_readings: Callable[[], float] = _nothing
    oldest_unflushed: Callable[[], float] = _nothing
    open_connections: Callable[[], float] = _nothing

    def text(self) -> str:
        """Return everything in Prometheus's text format."""
        outcomes = [("", {"outcome": outcome}, float(n)) for outcome, n in self.readings.items()]
        messages = [("", {"outcome": outcome}, float(n)) for outcome, n in self.messages.items()]
        statuses = [("", {"status": str(status)}, float(n)) for status, n in sorted(self.requests.items())]
        families = (
            ("readings_total", "counter", "Readings by what became of them.", outcomes),
            ("requests_total", "counter", "HTTP requests by status, without probes.", statuses),
            ("messages_total", "counter", "Messages of WebSockets by what became of them.", messages),
            ("batch_readings", "histogram", "Readings in one COPY.", self.batch_readings.samples()),
            (
                "commit_seconds",
                "histogram",
                "Time to copy and commit a batch.",
                self.commit_seconds.samples(),
            ),
            ("queue_readings", "gauge", "Readings that wait for their commit.", _one(self.queue_readings)),
            (
                "oldest_unflushed_seconds",
                "gauge",
                "How long the longest waiting reading has waited.",
                _one(self.oldest_unflushed),
            ),
            ("open_connections", "gauge", "Connections that are open.", _one(self.open_connections)),
        )
        return "".join(line for family in families for line in self._lines(*family))

    def _lines(
        self, name: str, kind: str, meaning: str, samples: Iterator[_Sample] | list[_Sample]
    ) -> Iterator[str]:
        name = f"joulebook_ingest_{name}"
        yield f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n"
        for suffix, labels, value in samples:
            named = {"process": str(self.process), **labels}
            inside = ",".join(f'{label}="{text}"' for label, text in named.items())
            yield f"{name}{suffix}{{{inside}}} {value:.15g}\n"


_Sample = tuple[str, dict[str, str], float]


def _one(ask: Callable[[], float]) -> list[_Sample]:
    return [("", {}, ask())]


class CountedRequests:
    """The ASGI application around another one that counts the statuses of its answers."""

    def __init__(self, app: ASGIApp, requests: Counter[int]) -> None:
        """Count the answers of `app` in `requests`."""
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count the status of its answer."""
        if scope["type"] != "http" or scope["path"] in _PROBES:
            await self._app(scope, receive, send)
            return
        requests = self._requests

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                requests[message["status"]] += 1
            await send(message)

        await self._app(scope, receive, counted)
