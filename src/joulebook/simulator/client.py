"""Sends a batch to ingest and follows the client's rule: discard, keep, split or try again."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any
from urllib.parse import urlsplit

import httpx

from joulebook.simulator.outbox import Outbox

_TIMEOUT = 15.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_REFUSED_PAUSE = 30.0
_LONGEST_OBEYED = 3_600.0


class Verdict(Enum):
    """What an answer means for the batch that was sent."""

    STORED = auto()
    """2xx: the server has it."""
    BAD = auto()
    """400, 422: what was good in it is stored, the rest never will be."""
    TOO_LARGE = auto()
    """413: send it in halves."""
    NOT_ALLOWED = auto()
    """401, 403, and answers that no ingest gives: keep it and tell the person."""
    LATER = auto()
    """429, 5xx and no answer at all: the same batch again, after a while."""


def judge(status: int) -> Verdict:
    """Return what an HTTP status means for a batch."""
    if 200 <= status < 300:
        return Verdict.STORED
    if status in {400, 422}:
        return Verdict.BAD
    if status == 413:
        return Verdict.TOO_LARGE
    if status == 429 or status >= 500:
        return Verdict.LATER
    return Verdict.NOT_ALLOWED


@dataclass
class Counts:
    """What became of everything so far."""

    sent: int = 0
    """Packets that the server has answered for."""
    stored: int = 0
    """Readings that were new to the server."""
    duplicates: int = 0
    """Readings that it had already."""
    refused: int = 0
    """Packets that it will never take, in whole or in part."""
    troubled: dict[str, str] = field(default_factory=dict)
    """The devices whose packets the server does not take at the moment, and its reasons."""
    remark: str = ""
    """The last thing that was wrong with what was sent."""

    @property
    def trouble(self) -> str:
        """Say for whom something goes wrong, and what; empty while all is well."""
        if not self.troubled:
            return ""
        device_id, reason = next(iter(self.troubled.items()))
        others = len(self.troubled) - 1
        return f"{device_id}{f' and {others} more' if others else ''}: {reason}"


class Client:
    """Talks to one ingest service."""

    def __init__(self, url: str, *, connections: int) -> None:
        """`url` is the service's address, with or without the path of its endpoint."""
        parts = urlsplit(url)
        self._url = url if parts.path.rstrip("/") else f"{url.rstrip('/')}/api/readings"
        self._http = httpx.AsyncClient(
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            # A proxy of the environment is for the world outside, not for this machine.
            trust_env=parts.hostname not in {"127.0.0.1", "localhost", "::1"},
        )
        self.counts = Counts()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def deliver(self, outbox: Outbox) -> float:
        """Send a device's next batch once; return the seconds to wait before its next one."""
        batch = outbox.batch()
        try:
            answer = await self._http.post(
                self._url,
                content=batch[0] if len(batch) == 1 else b"[" + b",".join(batch) + b"]",
                headers={
                    "Authorization": f"Bearer {outbox.token}",
                    "Content-Type": "application/json",
                },
            )
        except httpx.HTTPError as exc:
            return self._later(outbox, f"no answer ({type(exc).__name__})", None)
        verdict = judge(answer.status_code)
        match verdict:
            case Verdict.STORED | Verdict.BAD:
                self._settle(outbox, answer, bad=verdict is Verdict.BAD)
                return 0.0
            case Verdict.TOO_LARGE:
                if not outbox.split():
                    self._settle(outbox, answer, bad=True)
                return 0.0
            case Verdict.NOT_ALLOWED:
                self.counts.troubled[outbox.device_id] = _reason(answer)
                return _REFUSED_PAUSE
            case Verdict.LATER:
                return self._later(outbox, _reason(answer), answer.headers.get("Retry-After"))

    def _settle(self, outbox: Outbox, answer: httpx.Response, *, bad: bool) -> None:
        told = _json_object(answer)
        self.counts.sent += len(outbox.sending)
        self.counts.stored += _whole(told.get("accepted"))
        self.counts.duplicates += _whole(told.get("duplicate"))
        self.counts.troubled.pop(outbox.device_id, None)
        if bad:
            self.counts.refused += len(outbox.sending)
            self.counts.remark = f"{outbox.device_id}: {_reason(answer)}"
        outbox.settle()

    def _later(self, outbox: Outbox, reason: str, retry_after: str | None) -> float:
        outbox.failures += 1
        self.counts.troubled[outbox.device_id] = reason
        asked = retry_after_seconds(retry_after, now=datetime.now(UTC))
        if asked is not None:
            return asked + random.uniform(0.0, 0.2)
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(outbox.failures - 1, 20))
        return pause * random.uniform(0.5, 1.0)


def retry_after_seconds(value: str | None, *, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` asks for, given as seconds or as a date; None without one."""
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


def _json_object(answer: httpx.Response) -> dict[str, Any]:
    try:
        told = answer.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _reason(answer: httpx.Response) -> str:
    """Say what the server answered, in one short line without control characters."""
    text = " ".join("".join(c if c.isprintable() else " " for c in answer.text[:2_000]).split())
    return f"{answer.status_code} {text[:200]}".strip()
