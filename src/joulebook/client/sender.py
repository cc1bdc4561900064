"""Sends the oldest packets of a queue in one request; the answer settles, keeps or halves them."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import httpx

from joulebook.client.buffer import WaitingPackets
from joulebook.client.rule import (
    Verdict,
    count_from,
    endpoint_of,
    is_this_machine,
    json_object,
    judge,
    pause_after,
    reason,
)

log = logging.getLogger("joulebook.client")

MOST_BYTES = 512 * 1024
"""Bytes of packets in one request, before they are compressed."""
_COMPRESSED_FROM = 1_400
"""The size in bytes from which a body is compressed: a smaller one fits one network packet anyway."""
_SUCCESSES_TO_GROW = 16
"""Successful requests after one was too large, until larger ones are tried again."""
_IDLE_SECONDS = 3.0
"""How long an idle connection stays open: less than the server allows."""
_MOST_LOGGED = 10


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

    def oldest(self, *, most: int, most_bytes: int) -> WaitingPackets | None:
        """Return up to `most` packets with up to `most_bytes` in all, at least one; None if none waits."""

    def settle(self, waiting: WaitingPackets) -> None:
        """Remove packets: ingest has stored them, or will never accept them."""


def http_client(
    url: str, *, timeout: float, connections: int = 1, transport: httpx.BaseTransport | None = None
) -> httpx.Client:
    """Return an HTTP client for ingest; the senders of several devices may share it."""
    return httpx.Client(
        timeout=timeout,
        limits=httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=_IDLE_SECONDS
        ),
        transport=transport,
        # The environment's proxy is for other machines.
        trust_env=not is_this_machine(url),
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
        """Prepare to send up to `batch` packets in a request; `token` is called before each for the token.

        `http` may be shared with other senders, and is closed by the caller.
        """
        self._url = endpoint_of(url)
        self._token = token
        self._buffer = queue
        self._http = http
        self._log = logger
        # The most packets in the next request, in any since one was too large, and in any at all.
        self._limit = self._ceiling = self._batch = batch
        self._successes = 0
        self._failures = 0
        self.counts = Counts()

    def attempt(self, *, timeout: float | None = None) -> float | None:
        """Send one request; return the seconds to wait before the next one, None if nothing waits.

        Raises the queue's errors. After a crash at any point the same packets are sent again; to ingest they
        are duplicates, which is harmless.
        """
        waiting = self._buffer.oldest(most=self._limit, most_bytes=MOST_BYTES)
        if waiting is None:
            return None
        try:
            token = checked_token(self._token())
        except (OSError, ValueError) as exc:
            return self._later(f"the token cannot be read: {exc}", None)
        try:
            answer = self._post(waiting.bodies, token, timeout)
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            return self._later(f"no answer ({type(exc).__name__}: {exc})", None)
        return self._obey(answer, waiting)

    def _post(self, bodies: list[bytes], token: str, timeout: float | None) -> httpx.Response:
        content = b"\n".join(bodies) + b"\n"
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/x-ndjson",
        }
        if len(content) >= _COMPRESSED_FROM:
            content = gzip.compress(content, compresslevel=5, mtime=0)
            headers["Content-Encoding"] = "gzip"
        if timeout is None:
            return self._http.post(self._url, content=content, headers=headers)
        return self._http.post(self._url, content=content, headers=headers, timeout=timeout)

    def _obey(self, answer: httpx.Response, waiting: WaitingPackets) -> float:
        """Settle, keep or halve the packets by the client's rule; return the seconds to wait."""
        verdict, fields = judge(answer.status_code), json_object(answer)
        if verdict in {Verdict.STORED, Verdict.BAD} and not _is_of_ingest(answer.status_code, fields):
            # This is the login page of a network, or another service at this address: the packets were not
            # read.
            verdict = Verdict.NOT_ALLOWED
        match verdict:
            case Verdict.STORED:
                self._settle(waiting, fields)
            case Verdict.BAD if answer.status_code == 422:
                _log_rejected(self._log, fields, waiting)
                self._settle(
                    waiting, fields, refused=count_from(fields.get("rejected_total")), remark=reason(answer)
                )
            case Verdict.BAD | Verdict.TOO_LARGE:
                self._halve(answer, waiting, too_large=verdict is Verdict.TOO_LARGE)
            case Verdict.NOT_ALLOWED:
                return self._later(
                    f"{reason(answer)}; packets wait until the token or the address is fixed", None
                )
            case Verdict.LATER:
                return self._later(reason(answer), answer.headers.get("Retry-After"))
        return 0.0

    def _settle(
        self, waiting: WaitingPackets, fields: dict[str, Any], *, refused: int = 0, remark: str = ""
    ) -> None:
        self._buffer.settle(waiting)
        counts = self.counts
        counts.sent += len(waiting.bodies)
        counts.stored += count_from(fields.get("accepted"))
        counts.duplicates += count_from(fields.get("duplicate"))
        counts.refused += refused
        if remark:
            counts.last_error = counts.last_refusal = remark
        if counts.trouble:
            self._log.info("ingest takes packets again")
            counts.trouble = ""
        self._failures = 0
        self._grow()

    def _halve(self, answer: httpx.Response, waiting: WaitingPackets, *, too_large: bool) -> None:
        """Send half as much next time, to find a bad packet without losing others; or give it up."""
        if len(waiting.bodies) > 1:
            self._limit = len(waiting.bodies) // 2
            if too_large:
                self._ceiling, self._successes = self._limit, 0
            return
        self._log.warning(
            "refused for good: %s; the packet was: %s", reason(answer), _shown(waiting.bodies[0])
        )
        self._settle(waiting, {}, refused=1, remark=reason(answer))

    def _grow(self) -> None:
        """Double the limit of a request, up to the ceiling; after some successes double the ceiling."""
        self._successes += 1
        if self._limit >= self._ceiling and self._successes >= _SUCCESSES_TO_GROW:
            self._ceiling, self._successes = min(self._batch, self._ceiling * 2), 0
        self._limit = min(self._ceiling, self._limit * 2)

    def _later(self, problem: str, retry_after: str | None) -> float:
        """Record a failed attempt; return the seconds until the next one."""
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


def _is_of_ingest(status: int, fields: dict[str, Any]) -> bool:
    return "code" in fields if status == 400 else isinstance(fields.get("accepted"), int)


def _log_rejected(log: logging.Logger, fields: dict[str, Any], waiting: WaitingPackets) -> None:
    rejected = fields.get("rejected")
    listed = [one for one in rejected if isinstance(one, dict)] if isinstance(rejected, list) else []
    for one in listed[:_MOST_LOGGED]:
        index = one.get("index")
        packet = waiting.bodies[index] if isinstance(index, int) and 0 <= index < len(waiting.bodies) else b""
        log.warning(
            "refused for good: %s: %s; the packet was: %s",
            one.get("code"), str(one.get("message"))[:300], _shown(packet),
        )  # fmt: skip
    more = count_from(fields.get("rejected_total")) - len(listed[:_MOST_LOGGED])
    if more > 0:
        log.warning("refused for good: %d more of the same request", more)


def _shown(packet: bytes) -> str:
    text = packet.decode()
    return text if len(text) <= 300 else f"{text[:300]}…"
