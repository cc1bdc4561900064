"""The client: takes packets, keeps them on disk, and sends them in the background until ingest has them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from joulebook.client.buffer import Buffer
from joulebook.client.errors import ClientClosed, ClientError
from joulebook.client.packets import LARGEST, encode
from joulebook.client.sender import Sender, checked_token, http_client

log = logging.getLogger("joulebook.client")

DEFAULT_ROOM = 256 * 1024 * 1024
_TICK = timedelta(microseconds=1)
_CLOCK_STEP = timedelta(seconds=1)
_BUFFER_PAUSE = 5.0


@dataclass(frozen=True)
class Status:
    """A look at a client. All but `waiting` count from when it was made."""

    waiting: int
    """Packets in the buffer: ingest has not answered for them."""
    sent: int
    """Packets answered by ingest."""
    stored: int
    """Readings new to ingest."""
    duplicates: int
    """Readings already stored, after a request without an answer."""
    refused: int
    """Single readings and whole packets refused by ingest for good. Each is logged."""
    dropped: int
    """Packets dropped for newer ones; only with `drop_oldest`."""
    trouble: str
    """Why packets are not taken at the moment; empty while they are."""
    last_error: str
    """The last error, also after it is over."""


class Client:
    """Hands packets to ingest exactly once, in spite of any outage of ingest, the network or this process.

    `url` is the ingest service's address; `token` the device's or gateway's token, or a function returning
    it. The client calls the function before each request, so a token can be replaced meanwhile. `buffer` is
    a folder for this client alone. At most `room` bytes of packets wait in it; beyond this `send` raises
    `BufferFull`, or with `drop_oldest` the oldest packets are dropped. A request has up to `batch` packets
    and waits `timeout` seconds for its answer. With `background=False` only `flush` sends packets.
    `transport` is passed to httpx, for proxies and private certificates.

    Raises ValueError for an unusable address, token or size, and `BufferUnusable`. May be used by several
    threads; not across a fork.
    """

    def __init__(
        self,
        url: str,
        token: str | Callable[[], str],
        *,
        buffer: Path,
        room: int = DEFAULT_ROOM,
        drop_oldest: bool = False,
        batch: int = 500,
        timeout: float = 30.0,
        background: bool = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"url {url!r} is no address; use http://host:port or https://host")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("url carries no names, secrets or parameters; the token is given by itself")
        if isinstance(token, str):
            try:
                fixed = checked_token(token)
            except ValueError as exc:
                raise ValueError(f"the token cannot be used: {exc}") from None
            token = lambda: fixed  # noqa: E731
        if room < LARGEST or batch < 1 or timeout <= 0:
            raise ValueError(
                f"room {room} (at least {LARGEST}), batch {batch} or timeout {timeout} is too small"
            )
        self._buffer = Buffer(buffer, room=room, drop_oldest=drop_oldest)
        self._http = http_client(url, timeout=timeout, transport=transport)
        self._sender = Sender(url, token, self._buffer, batch=batch, http=self._http)
        self._hand_over = threading.Lock()
        self._sending = threading.Lock()
        self._last_stamp = datetime.min.replace(tzinfo=UTC)
        self._closed = False
        self._deadline: float | None = None
        self._change = threading.Condition()
        self._new = True
        self._thread = (
            threading.Thread(target=self._run, name="joulebook-client", daemon=True) if background else None
        )
        if self._thread is not None:
            self._thread.start()

    def send(self, packet: Mapping[str, Any]) -> None:
        """Take one packet: after the return it is on the disk, and will reach ingest once.

        Without `timestamp` it gets the current time. Raises `UnusablePacket`, `BufferFull`,
        `BufferUnusable` and `ClientClosed`; the packet was then not taken.
        """
        self.send_all([packet])

    def send_all(self, packets: Iterable[Mapping[str, Any]], *, bookmark: str | None = None) -> None:
        """Take several packets, all or none; much faster than one by one. Raises as `send` does.

        `bookmark` is kept together with them, all or nothing: for instance a file's offset.
        """
        with self._hand_over:
            if self._closed:
                raise ClientClosed("the client is closed; make a new one")
            bodies = [encode(packet, now=self._now()) for packet in packets]
            self._buffer.append(bodies, bookmark=bookmark)
        with self._change:
            self._new = True
            self._change.notify_all()

    @property
    def bookmark(self) -> str | None:
        """The last bookmark, also of a client before this one."""
        return self._buffer.bookmark()

    @property
    def status(self) -> Status:
        """The client's counts and its trouble."""
        counts = self._sender.counts
        return Status(
            waiting=self._buffer.count,
            sent=counts.sent,
            stored=counts.stored,
            duplicates=counts.duplicates,
            refused=counts.refused,
            dropped=self._buffer.dropped,
            trouble=counts.trouble,
            last_error=counts.last_error,
        )

    def flush(self, *, timeout: float) -> bool:
        """Wait until ingest has answered for all packets handed over so far; False after `timeout` seconds.

        Sends by itself without a background thread. Obeys the pauses requested by ingest.
        """
        deadline = time.monotonic() + timeout
        if self._thread is None:
            return self._send_until(deadline)
        newest = (self._buffer.span() or (0, 0))[1]
        with self._change:
            while (self._buffer.span() or (newest + 1,))[0] <= newest:
                left = deadline - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    return False
                self._change.wait(left)
        return True

    def close(self, *, timeout: float = 10.0) -> None:
        """Take no more packets, send the waiting ones for up to `timeout` seconds, and close the buffer.

        Packets not sent stay in the buffer for its next client. Harmless if closed.
        """
        with self._hand_over:
            already, self._closed = self._closed, True
        if already:
            return
        if self._thread is not None:
            with self._change:
                self._deadline = time.monotonic() + timeout
                self._change.notify_all()
            self._thread.join(timeout)
        else:
            self._send_until(time.monotonic() + timeout)
        self._buffer.close()
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _now(self) -> datetime:
        """Return the time, and never the same twice; follow a clock set back."""
        now = datetime.now(UTC)
        if timedelta(0) <= self._last_stamp - now < _CLOCK_STEP:
            now = self._last_stamp + _TICK
        self._last_stamp = now
        return now

    def _run(self) -> None:
        """Send, until closed and empty or out of time."""
        while True:
            with self._change:
                self._new = False
            pause = self._attempt()
            with self._change:
                self._change.notify_all()  # wakes callers of `flush`
                if pause is None:
                    if self._deadline is not None:
                        return
                    while not self._new and self._deadline is None:
                        self._change.wait()
                elif not self._wait(pause):
                    return

    def _wait(self, pause: float) -> bool:
        """Wait for `pause` seconds; return False if the client is closed before."""
        due = time.monotonic() + pause
        while (left := due - time.monotonic()) > 0:
            if self._deadline is not None and due >= self._deadline:
                return False
            self._change.wait(left)
        return self._deadline is None or time.monotonic() < self._deadline

    def _attempt(self, *, timeout: float | None = None) -> float | None:
        """Send one request; return the pause after it, None if nothing waits or the client is closed."""
        try:
            return self._sender.attempt(timeout=timeout)
        except ClientClosed:
            return None
        except ClientError as exc:  # for instance a full disk: sending a packet again does no harm
            self._sender.counts.trouble = self._sender.counts.last_error = str(exc)
            log.error("packets wait: %s", exc)  # noqa: TRY400 - the message says it all
            return _BUFFER_PAUSE
        except Exception as exc:  # the thread must survive any error, or packets would wait for ever
            if self._closed:
                return None
            self._sender.counts.trouble = self._sender.counts.last_error = f"{type(exc).__name__}: {exc}"
            log.exception("a request could not be made")
            return _BUFFER_PAUSE

    def _send_until(self, deadline: float) -> bool:
        with self._sending:
            while (left := deadline - time.monotonic()) > 0:
                pause = self._attempt(timeout=left)
                if pause is None:
                    return True
                if pause >= deadline - time.monotonic():
                    return False
                time.sleep(pause)
        return False
