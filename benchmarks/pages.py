"""Open device pages, as their code asks: the tail of the last 24 hours again and again, and live streams."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from benchmarks.archive import DEVICE, END
from benchmarks.bodies import METRICS
from benchmarks.load import Plan
from benchmarks.reading import VIEWS
from benchmarks.stack import Stack
from benchmarks.wires import AnyBody, get
from joulebook.config import Config
from joulebook.live_ticket import issue_ticket
from joulebook.secret_key import load_secret_key

PEOPLE = 40
"""Each has a device's page open that shows the last 24 hours and goes with the time."""
RESTLESS = 8

_SHOWN = METRICS[:8]
# What static/joulebook/tail.js does for a sheet of 24 hours, whose buckets are of five minutes.
_NEWEST_EVERY, _NEWEST_REACH = 5, timedelta(seconds=15)
_BUCKETS_EVERY, _BUCKETS = 30, 10
_BUCKET = timedelta(minutes=5)
_ANOTHER_EVERY = 60
"""Seconds after which a person opens another page, and then looks at each of the benchmark's ranges."""
_CONNECTIONS = 16


def plan_pages(stack: Stack, devices: Sequence[str], seconds: int) -> Plan:
    """Plan what the pages of `PEOPLE` ask for in so many seconds from now on, evenly spread."""
    begin = datetime.now(UTC)
    due: list[tuple[float, bytes]] = []
    for person, device in zip(range(PEOPLE), devices, strict=False):
        part = person / PEOPLE
        for at in _times(_NEWEST_EVERY, part, seconds):
            now = begin + timedelta(seconds=at)
            due.append((at, _history(stack, device, now - _NEWEST_REACH, now + timedelta(seconds=1), 750)))
        for at in _times(_BUCKETS_EVERY, part, seconds):
            now = begin + timedelta(seconds=at)
            due.append((at, _history(stack, device, now - _BUCKETS * _BUCKET, now, _BUCKETS)))
        for at in _times(_ANOTHER_EVERY, part, seconds):
            due.append((at, _get(stack, f"/devices/{device}/")))
            due += [(at, view) for view in _views(stack, len(due))]
    messages = [message for _, message in sorted(due)]
    return Plan(stack.web.port, AnyBody(), messages, _CONNECTIONS, rate=len(messages) / seconds)


def plan_restless(stack: Stack, seconds: int) -> Plan:
    """Plan sessions that ask for the next view as soon as they have one, for so many seconds."""
    most = 400 * seconds // len(VIEWS)
    messages = [view for number in range(most) for view in _views(stack, number)]
    return Plan(stack.web.port, AnyBody(), messages, RESTLESS, seconds=seconds)


@contextmanager
def open_streams(stack: Stack, devices: Sequence[str]) -> Iterator[None]:
    """Keep the live streams of `PEOPLE` open and take what they tell. Raises RuntimeError where one fails."""
    key = load_secret_key(Config.from_environ())
    with selectors.DefaultSelector() as selector:
        for device in devices[:PEOPLE]:
            ticket, _ = issue_ticket(key, device, user=1, origin=stack.web.url, now=time.time())
            one = socket.create_connection(("127.0.0.1", stack.ingest.port))
            selector.register(one, selectors.EVENT_READ)
            one.sendall(get(f"/live/{device}?{urlencode({'ticket': ticket})}"))
            if not one.recv(65_536).startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"the live stream of {device} was refused")
        ended = threading.Event()
        taking = threading.Thread(target=_take, args=(selector, ended))
        taking.start()
        try:
            yield
        finally:
            ended.set()
            taking.join()
            for registered in list(selector.get_map().values()):
                if isinstance(registered.fileobj, socket.socket):
                    registered.fileobj.close()


def _take(selector: selectors.BaseSelector, ended: threading.Event) -> None:
    while not ended.is_set():
        for registered, _ in selector.select(0.5):
            if isinstance(registered.fileobj, socket.socket):
                registered.fileobj.recv(262_144)


def _times(every: int, part: float, seconds: int) -> list[float]:
    """Return when a person asks, every so often and each at a moment of their own."""
    return [every * (turn + part) for turn in range(-(-seconds // every)) if every * (turn + part) < seconds]


def _views(stack: Stack, number: int) -> list[bytes]:
    """Return requests for each view of the archive, with an end that no other number has."""
    end = END - timedelta(seconds=number)
    return [_history(stack, DEVICE, end - length, end) for length in VIEWS.values()]


def _history(
    stack: Stack, device: str, begin: datetime, end: datetime, max_points: int | None = None
) -> bytes:
    query: list[tuple[str, str]] = [("start", begin.isoformat()), ("end", end.isoformat())]
    if max_points is not None:
        query += [("max_points", str(max_points)), *(("metric", metric) for metric in _SHOWN)]
    return _get(stack, f"/api/history/{device}?{urlencode(query)}")


def _get(stack: Stack, path: str) -> bytes:
    return get(path, cookie=stack.session_cookie())
