"""A load generator in processes of its own: many connections that each send, wait for the answer, send.

It reads and writes sockets itself and compares each answer with the one that is expected, byte by byte at
its end, because on two cores a client library would be most of the figure. `python -m benchmarks` measures
it against a service that stores nothing, which shows how far it is from being the bottleneck.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

_FIRST_REST = 0.05
_SILENCE_SECONDS = 60.0


class Wire(Protocol):
    """What is spoken over one kind of connection."""

    def opening(self, number: int) -> bytes:
        """Return what connection `number` sends before its first message; nothing for none."""

    def answered(self, data: bytes) -> bool:
        """Tell whether `data` is a whole answer. Raises RuntimeError where it is not the expected one."""


@dataclass(frozen=True)
class Load:
    """What was sent and how it went; `latency` is each message's own, in seconds."""

    messages: int
    seconds: float
    latency: np.ndarray

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    def percentile(self, percent: float) -> float:
        """Return a percentile of the messages' latencies in milliseconds."""
        return float(np.percentile(self.latency, percent) * 1000)


@dataclass(frozen=True)
class Plan:
    """What is sent to which port, over how many connections.

    Messages are dealt to the connections in turn, and each connection sends as soon as it has its answer.
    With `rate` any free connection sends the next message instead, one is due every 1/rate seconds, and
    its latency counts from that moment, whether or not a connection was free. With `seconds` nothing is
    sent after that time.
    """

    port: int
    wire: Wire
    messages: Sequence[bytes]
    connections: int
    rate: float | None = None
    seconds: float | None = None


def send_all(plan: Plan, *, processes: int = 1) -> Load:
    """Send each message once and wait for its answer. Raises RuntimeError for an unexpected one."""
    return start_sending(plan, processes=processes)()


def start_sending(plan: Plan, *, processes: int = 1) -> Callable[[], Load]:
    """Begin to send; return the function that waits for the end and gives the result."""
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(processes)
    running = []
    for part in range(processes):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_run, args=(sender, ready, plan, part, processes))
        process.start()
        sender.close()
        running.append((process, receiver))

    def finish() -> Load:
        outcomes = []
        for process, receiver in running:
            outcomes.append(receiver.recv())
            process.join()
        for outcome in outcomes:
            if isinstance(outcome, str):
                raise RuntimeError(outcome)  # noqa: TRY004 - a text is the failure's message
        begin, end = min(one[0] for one in outcomes), max(one[1] for one in outcomes)
        latency = np.concatenate([one[2] for one in outcomes])
        return Load(messages=len(latency), seconds=end - begin, latency=latency)

    return finish


def _run(sender: Any, ready: Any, plan: Plan, part: int, processes: int) -> None:
    gc.disable()
    # As a client on another machine, not one of the session whose processor time the kernel shares out.
    os.setsid()
    try:
        mine = _Sender(plan, part, processes)
        ready.wait()
        outcome: object = mine.run()
    except Exception as exc:  # noqa: BLE001 - told to the parent
        ready.abort()
        outcome = f"{type(exc).__name__}: {exc}"
    sender.send(outcome)
    # Without the parent's exit handlers: the database is not this process's to stop.
    os._exit(0)


class _Sender:
    """One process's share of a plan."""

    def __init__(self, plan: Plan, part: int, processes: int) -> None:
        self._answered = plan.wire.answered
        shared = iter(plan.messages[part::processes])
        self._total = len(plan.messages[part::processes])
        self._waiting: dict[int, Iterator[bytes]] = {}
        self._interval = processes / plan.rate if plan.rate else None
        self._seconds = plan.seconds
        self._end = float("inf")
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        for number in range(part, plan.connections, processes):
            one = socket.create_connection(("127.0.0.1", plan.port))
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open(one, plan.wire, number)
            self._sockets[one.fileno()] = one
            self._waiting[one.fileno()] = (
                shared if plan.rate else iter(plan.messages[number :: plan.connections])
            )
            self._poll.register(one.fileno(), select.EPOLLIN)
        self._since: dict[int, float] = {}
        self._partial: dict[int, bytes] = {}
        self._latency: list[float] = []

    def _open(self, one: socket.socket, wire: Wire, number: int) -> None:
        opening = wire.opening(number)
        if not opening:
            return
        one.sendall(opening)
        answer = b""
        while b"\r\n\r\n" not in answer:
            more = one.recv(65_536)
            answer += more
            if not more or not b"HTTP/1.1 101".startswith(answer[:12]):
                raise RuntimeError(answer.decode(errors="replace")[:500])

    def run(self) -> tuple[float, float, np.ndarray]:
        """Send everything; return when it began and ended, and the latencies."""
        begin = time.perf_counter()
        if self._seconds is not None:
            self._end = begin + self._seconds
        if self._interval is None:
            for number in self._sockets:
                self._send(number, time.perf_counter())
            self._answer_all()
        else:
            self._send_in_time(self._interval)
        return begin, time.perf_counter(), np.array(self._latency)

    def _answer_all(self) -> None:
        while self._since:
            for number in self._answers(_SILENCE_SECONDS):
                self._send(number, time.perf_counter())

    def _send_in_time(self, interval: float) -> None:
        begin, started = time.perf_counter() + _FIRST_REST, 0
        # The one that has waited longest first: servers close what is silent for long.
        idle = deque(self._sockets)
        while self._since or started < self._total:
            now = time.perf_counter()
            while idle and started < self._total and (due := begin + started * interval) <= now:
                self._send(idle.popleft(), due)
                started += 1
            pause = _SILENCE_SECONDS
            if idle and started < self._total:
                pause = max(0.0, begin + started * interval - now)
            idle += self._answers(pause)

    def _send(self, number: int, since: float) -> None:
        message = next(self._waiting[number], None)
        if message is not None and since < self._end:
            self._since[number] = since
            self._sockets[number].sendall(message)

    def _answers(self, seconds: float) -> list[int]:
        """Wait for answers; return the connections that are free by them."""
        free = []
        events = self._poll.poll(seconds)
        if not events and seconds == _SILENCE_SECONDS:
            raise RuntimeError(f"no answer for {seconds:g} s")
        for number, _ in events:
            data = self._sockets[number].recv(262_144)
            if not data:
                raise RuntimeError("the server closed a connection")
            if self._partial:
                data = self._partial.pop(number, b"") + data
            if self._answered(data):
                self._latency.append(time.perf_counter() - self._since.pop(number))
                free.append(number)
            else:
                self._partial[number] = data
        return free
