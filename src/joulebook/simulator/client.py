"""Sends a batch to ingest and follows the client's rule: discard, keep, split or try again."""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx

from joulebook.client.rule import (
    Verdict,
    endpoint_of,
    is_this_machine,
    json_object,
    judge,
    pause_after,
    reason,
    whole,
)
from joulebook.simulator.outbox import Outbox

_TIMEOUT = 15.0
_REFUSED_PAUSE = 30.0


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
        self._url = endpoint_of(url)
        self._http = httpx.AsyncClient(
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            # A proxy of the environment is for the world outside, not for this machine.
            trust_env=not is_this_machine(self._url),
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
                self.counts.troubled[outbox.device_id] = reason(answer)
                return _REFUSED_PAUSE
            case Verdict.LATER:
                return self._later(outbox, reason(answer), answer.headers.get("Retry-After"))

    def _settle(self, outbox: Outbox, answer: httpx.Response, *, bad: bool) -> None:
        told = json_object(answer)
        self.counts.sent += len(outbox.sending)
        self.counts.stored += whole(told.get("accepted"))
        self.counts.duplicates += whole(told.get("duplicate"))
        self.counts.troubled.pop(outbox.device_id, None)
        if bad:
            self.counts.refused += len(outbox.sending)
            self.counts.remark = f"{outbox.device_id}: {reason(answer)}"
        outbox.settle()

    def _later(self, outbox: Outbox, problem: str, retry_after: str | None) -> float:
        outbox.failures += 1
        self.counts.troubled[outbox.device_id] = problem
        return pause_after(outbox.failures, retry_after)
