"""Sends the oldest packets of a queue, and settles, keeps or splits them by ingest's answer."""

from __future__ import annotations

import gzip
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from joulebook.client.buffer import Waiting

log = logging.getLogger("joulebook.client")

MOST_BYTES = 512 * 1024
"""Bytes of packets in one request, before they are compressed."""
_COMPRESSED_FROM = 1_400
"""The size in bytes from which a body is compressed: a smaller one fits one network packet anyway."""
_CALM = 16
"""Successful requests after one was too large, until larger ones are tried again."""
_IDLE = 3.0
"""Seconds until an idle connection is closed, before the server closes it."""
_MOST_LOGGED = 10
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_LONGEST_OBEYED = 3_600.0


class Verdict(Enum):
    """The meaning of an answer for its batch: the client's rule."""

    STORED = auto()
    """2xx: ingest has it."""
    BAD = auto()
    """400, 422: its good readings are stored, the others never will be."""
    TOO_LARGE = auto()
    """413: send it in halves."""
    NOT_ALLOWED = auto()
    """401, 403, and answers of other servers: keep it and tell the user."""
    LATER = auto()
    """429, 5xx and no answer at all: send the same again, after a pause."""


def judge(status: int) -> Verdict:
    """Return the meaning of an HTTP status for a batch."""
    if 200 <= status < 300:
        return Verdict.STORED
    if status in {400, 422}:
        return Verdict.BAD
    if status == 413:
        return Verdict.TOO_LARGE
    if status == 429 or status >= 500:
        return Verdict.LATER
    return Verdict.NOT_ALLOWED


def pause_after(failures: int, retry_after: str | None) -> float:
    """Return the seconds to wait after `failures` in a row: as requested, else longer each time, up to 30.

    Both are spread at random, since a thousand devices must not retry in the same instant.
    """
    asked = retry_after_seconds(retry_after, now=datetime.now(UTC))
    if asked is not None:
        return asked + random.uniform(0.0, 0.2)  # noqa: S311 - spreads, and hides nothing
    pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(failures - 1, 20))
    return pause * random.uniform(0.5, 1.0)  # noqa: S311


def retry_after_seconds(value: str | None, *, now: datetime) -> float | None:
    """Return the seconds of a `Retry-After`, given as seconds or as a date; None without one."""
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _LONGEST_OBEYED)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(0.0, (until - now).total_seconds()), _LONGEST_OBEYED)


@dataclass
class Counts:
    """The results of all requests so far; the fields are those of `Status`."""

    sent: int = 0
    stored: int = 0
    duplicates: int = 0
    refused: int = 0
    last_error: str = ""
    last_refusal: str = ""
    trouble: str = ""


class PacketQueue(Protocol):
    """Packets waiting to be sent, oldest first: on disk (`Buffer`), or in memory."""

    def oldest(self, *, most: int, most_bytes: int) -> Waiting | None:
        """Return up to `most` packets with up to `most_bytes` in all, at least one; None if none waits."""

    def settle(self, waiting: Waiting) -> None:
        """Forget packets: ingest has them, or will never take them."""


def http_client(
    url: str, *, timeout: float, connections: int = 1, transport: httpx.BaseTransport | None = None
) -> httpx.Client:
    """Return connections to ingest, to be shared by the senders of several devices."""
    return httpx.Client(
        timeout=timeout,
        limits=httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=_IDLE
        ),
        transport=transport,
        # The environment's proxy is for other machines.
        trust_env=urlsplit(url).hostname not in {"127.0.0.1", "localhost", "::1"},
    )


class Sender:
    """Sends the packets of one queue to ingest. Not safe for several threads."""

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        queue: PacketQueue,
        *,
        batch: int,
        http: httpx.Client,
        logger: logging.Logger = log,
    ) -> None:
        """Prepare to send to `url`, the address of the service or of its endpoint.

        `http` may be shared with other senders; its owner closes it.
        """
        self._url = url if urlsplit(url).path.rstrip("/") else f"{url.rstrip('/')}/api/readings"
        self._token = token
        self._buffer = queue
        self._http = http
        self._log = logger
        self._batch = self._ceiling = self._limit = batch
        self._calm = 0
        self._failures = 0
        self.counts = Counts()

    def attempt(self, *, timeout: float | None = None) -> float | None:
        """Send one request; return the seconds to wait before the next one, None if nothing waits.

        Raises the queue's errors. After a crash at any point the same packets are sent again, and ingest
        takes them for the same readings.
        """
        waiting = self._buffer.oldest(most=self._limit, most_bytes=MOST_BYTES)
        if waiting is None:
            return None
        try:
            token = checked_token(self._token())
        except (OSError, ValueError) as exc:
            return self._later(f"the token cannot be read: {exc}", None)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}
        content = b"\n".join(waiting.bodies) + b"\n"
        if len(content) >= _COMPRESSED_FROM:
            content = gzip.compress(content, compresslevel=5, mtime=0)
            headers["Content-Encoding"] = "gzip"
        try:
            answer = self._http.post(
                self._url,
                content=content,
                headers=headers,
                timeout=httpx.USE_CLIENT_DEFAULT if timeout is None else timeout,
            )
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            return self._later(f"no answer ({type(exc).__name__}: {exc})", None)
        return self._obey(answer, waiting)

    def _obey(self, answer: httpx.Response, waiting: Waiting) -> float:
        """Follow the client's rule; return the pause."""
        verdict, told = judge(answer.status_code), _json_object(answer)
        is_of_ingest = "code" in told if answer.status_code == 400 else isinstance(told.get("accepted"), int)
        if verdict in {Verdict.STORED, Verdict.BAD} and not is_of_ingest:
            # A login page of a network, or another service at this address: not an answer about the packets.
            verdict = Verdict.NOT_ALLOWED
        match verdict:
            case Verdict.STORED:
                self._settle(waiting, told)
            case Verdict.BAD if answer.status_code == 422:
                _log_rejected(self._log, told, waiting)
                self._settle(
                    waiting, told, refused=_whole(told.get("rejected_total")), remark=_reason(answer)
                )
            case Verdict.BAD | Verdict.TOO_LARGE if len(waiting.bodies) > 1:
                # Half as much next time finds a bad packet without losing others.
                self._limit = len(waiting.bodies) // 2
                if verdict is Verdict.TOO_LARGE:
                    self._ceiling, self._calm = self._limit, 0
            case Verdict.BAD | Verdict.TOO_LARGE:
                self._log.warning(
                    "refused for good: %s; the packet was: %s", _reason(answer), _shown(waiting.bodies[0])
                )
                self._settle(waiting, {}, refused=1, remark=_reason(answer))
            case Verdict.NOT_ALLOWED:
                return self._later(
                    f"{_reason(answer)}; packets wait until the token or the address is fixed", None
                )
            case Verdict.LATER:
                return self._later(_reason(answer), answer.headers.get("Retry-After"))
        return 0.0

    def _settle(self, waiting: Waiting, told: dict[str, Any], *, refused: int = 0, remark: str = "") -> None:
        self._buffer.settle(waiting)
        counts = self.counts
        counts.sent += len(waiting.bodies)
        counts.stored += _whole(told.get("accepted"))
        counts.duplicates += _whole(told.get("duplicate"))
        counts.refused += refused
        if remark:
            counts.last_error = counts.last_refusal = remark
        if counts.trouble:
            self._log.info("ingest takes packets again")
            counts.trouble = ""
        self._failures = 0
        # Requests grow again: up to the ceiling, and after a calm time the ceiling grows as well.
        self._calm += 1
        if self._limit >= self._ceiling and self._calm >= _CALM:
            self._ceiling, self._calm = min(self._batch, self._ceiling * 2), 0
        self._limit = min(self._ceiling, self._limit * 2)

    def _later(self, problem: str, retry_after: str | None) -> float:
        self._failures += 1
        if not self.counts.trouble:
            self._log.warning("packets wait: %s", problem)
        self.counts.trouble = self.counts.last_error = problem
        return pause_after(self._failures, retry_after)


def checked_token(token: str) -> str:
    """Return a token fit for a header. Raises ValueError, without the token in its message."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("it is empty, or holds blanks, line ends or other characters not allowed in a token")
    return token


def _json_object(answer: httpx.Response) -> dict[str, Any]:
    """Return the answer's JSON object; an empty one for other content."""
    try:
        told = answer.json()
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _whole(value: object) -> int:
    """Return a count of an answer; 0 if it is not a number."""
    return value if isinstance(value, int) else 0


def _reason(answer: httpx.Response) -> str:
    """Return the server's answer in one short line without control characters."""
    text = " ".join("".join(c if c.isprintable() else " " for c in answer.text[:2_000]).split())
    return f"{answer.status_code} {text[:200]}".strip()


def _log_rejected(log: logging.Logger, told: dict[str, Any], waiting: Waiting) -> None:
    rejected = told.get("rejected")
    listed = [one for one in rejected if isinstance(one, dict)] if isinstance(rejected, list) else []
    for one in listed[:_MOST_LOGGED]:
        index = one.get("index")
        packet = waiting.bodies[index] if isinstance(index, int) and 0 <= index < len(waiting.bodies) else b""
        log.warning(
            "refused for good: %s: %s; the packet was: %s",
            one.get("code"), str(one.get("message"))[:300], _shown(packet),
        )  # fmt: skip
    more = _whole(told.get("rejected_total")) - len(listed[:_MOST_LOGGED])
    if more > 0:
        log.warning("refused for good: %d more of the same request", more)


def _shown(packet: bytes) -> str:
    text = packet.decode()
    return text if len(text) <= 300 else f"{text[:300]}…"
