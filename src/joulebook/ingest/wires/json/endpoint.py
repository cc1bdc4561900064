"""`POST /api/readings`: packets in, and an answer for each of their readings after the commit."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope, Send

from joulebook.ingest.access.rates import RateLimits
from joulebook.ingest.access.tokens import Grant, TokenDirectory
from joulebook.ingest.commit.columns import Readings
from joulebook.ingest.commit.storing import ReadingStore, Stored
from joulebook.ingest.wires.bodies import (
    BodyMemory,
    BodyTooLarge,
    BodyUnreadable,
    ClientGone,
    Held,
    NoRoom,
    read_body,
)
from joulebook.ingest.wires.json.packets import (
    PRECISIONS,
    PacketRules,
    TooManyReadings,
    UnparsableBody,
    parse_packets,
)
from joulebook.logs import request_id
from joulebook.telemetry.errors import TelemetryError

log = logging.getLogger(__name__)

LARGE_BODY = 256 * 1024
"""Bodies of more bytes are parsed beside the event loop, so that others do not wait for them."""

# One after the other: taken apart, a body is many times its size, and Python would run one at a time anyway.
_beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parse")

Rules = TypeVar("Rules")

_encode = msgspec.json.Encoder().encode


class Refusal(Exception):
    """The request as a whole gets this answer."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after


@dataclass(frozen=True)
class Limits:
    """What one request, one token with many, and all bodies together may ask for.

    `oldest` is in microseconds since 1970 UTC.
    """

    most_bytes: int
    most_readings: int
    oldest: int
    rates: RateLimits
    bodies: BodyMemory


@dataclass(frozen=True)
class Asked:
    """What the address of a request asks for beside its body."""

    precision: str | None = None
    replace: bool = False
    atomic: bool = False


def refusal_of(exc: Exception) -> Refusal:
    """Return what a request is told that failed with `exc`; a fault of ours is logged."""
    if isinstance(exc, Refusal):
        return exc
    if isinstance(exc, TelemetryError):
        return Refusal(503, "unavailable", f"not stored, send it again: {exc}")
    # A sender drops its data on 4xx, and must not for a fault of ours.
    log.error("a request could not be answered", exc_info=exc)
    return Refusal(503, "internal", "not stored, send it again")


async def receive_readings(
    scope: Scope,
    receive: Receive,
    parse: Callable[[bytes, Rules], Readings],
    rules: Rules,
    limits: Limits,
    *,
    sender: str,
) -> Readings:
    """Return what `parse` makes of a request's body; a large one is parsed beside the event loop.

    `sender` is the token, among whom the memory for bodies is shared. Raises what `read_body` and `parse`
    raise.
    """
    with limits.bodies.hold(sender) as held:
        body = await read_body(scope, receive, most_bytes=limits.most_bytes, held=held)
        if len(body) > LARGE_BODY:
            return await _parse_beside(parse, body, rules, held)
        return parse(body, rules)


async def _parse_beside(
    parse: Callable[[bytes, Rules], Readings], body: bytes, rules: Rules, held: Held
) -> Readings:
    """Parse in the thread; while the body waits for it, it may give way. Raises `NoRoom`."""
    parsing = _beside.submit(parse, body, rules)
    try:
        async with asyncio.timeout(None) as waiting:
            with held.may_give_way(waiting):
                return await asyncio.wrap_future(parsing)
    except TimeoutError as exc:
        raise NoRoom("others send less, and there is no room for all") from exc


class ReadingsEndpoint:
    """The ASGI application behind `POST /api/readings`.

    It is bare ASGI rather than a FastAPI route because each device calls it once a second: the
    route's machinery would cost more than the work (docs/benchmarks.md).
    """

    def __init__(self, *, tokens: TokenDirectory, store: ReadingStore, limits: Limits) -> None:
        self._tokens = tokens
        self._store = store
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; see docs/reference/ingest.md for every answer."""
        pause = None
        try:
            status, answer = await self._answer(scope, receive)
        except ClientGone:
            return
        except Exception as exc:  # noqa: BLE001 - every request is answered; see refusal_of
            status, answer, pause = self._refuse(exc)
        await _send_json(send, status, answer, pause=pause)

    def _refuse(self, exc: Exception) -> tuple[int, dict[str, Any], int | None]:
        # The exception holds on to the frames with the body: no local variable of theirs may hold on to it.
        refusal = refusal_of(exc)
        return refusal.status, {"code": refusal.code, "message": str(refusal)}, refusal.retry_after

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, dict[str, Any]]:
        grant = await authorise(scope, self._tokens)
        check_rate(grant, self._limits)
        asked = read_query(scope["query_string"])
        rules = PacketRules(
            grant=grant,
            arrived_at=time.time_ns() // 1_000,
            oldest=self._limits.oldest,
            most_readings=self._limits.most_readings,
            precision=asked.precision,
        )
        try:
            readings = await receive_readings(
                scope, receive, parse_packets, rules, self._limits, sender=grant.token
            )
        except (BodyTooLarge, TooManyReadings) as exc:
            raise Refusal(413, "too_large", f"{exc}; split it") from exc
        except (BodyUnreadable, UnparsableBody) as exc:
            raise Refusal(400, "unparsable", f"{exc}; nothing was stored") from exc
        self._limits.rates.charge(grant.token, len(readings.time))
        stored = await self._store.store(
            readings, sender=grant.token, replace=asked.replace, atomic=asked.atomic
        )
        self._limits.rates.refund(grant.token, stored.duplicate)
        return summary(readings, stored, asked)


def bearer_token(value: bytes) -> bytes | None:
    """Return the token in an Authorization header's value, or None where it holds no bearer token."""
    return value[7:].strip() if value[:7].lower() == b"bearer " else None


async def authorise(
    scope: Scope, tokens: TokenDirectory, *, find: Callable[[bytes], bytes | None] = bearer_token
) -> Grant:
    """Return what the request's token allows. Raises `Refusal` where there is none in force.

    `find` takes the token out of the Authorization header's value.
    """
    for name, value in scope["headers"]:
        if name == b"authorization" and (token := find(value)) is not None:
            grant = tokens.remembered(token) or await tokens.grant_of(token)
            if grant is not None:
                return grant
            break
    raise Refusal(401, "unauthorized", "send a device's token that is in force: Authorization: Bearer …")


def check_rate(grant: Grant, limits: Limits) -> None:
    """Raise `Refusal` where the token has sent more than it may for now."""
    if wait := limits.rates.wait(grant.token):
        message = f"this token sends more readings than it may; come again in {wait} s"
        raise Refusal(429, "rate", message, retry_after=wait)


def read_query(query: bytes) -> Asked:
    """Read the parameters of an address. Raises `Refusal` for one that is not known or cannot be used."""
    if not query:
        return Asked()
    asked = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    precision = asked.pop("precision", None)
    if precision is not None and precision not in PRECISIONS:
        raise Refusal(400, "parameter", f"precision {precision[:20]!r} is not s, ms, us or ns")
    on_conflict = asked.pop("on_conflict", "keep")
    if on_conflict not in {"keep", "replace"}:
        raise Refusal(400, "parameter", f"on_conflict {on_conflict[:20]!r} is not keep or replace")
    atomic = asked.pop("atomic", "0")
    if atomic not in {"0", "1"}:
        raise Refusal(400, "parameter", f"atomic {atomic[:20]!r} is not 0 or 1")
    if asked:
        raise Refusal(400, "parameter", f"parameter {next(iter(asked))[:40]!r} is not known here")
    return Asked(precision=precision, replace=on_conflict == "replace", atomic=atomic == "1")


def summary(readings: Readings, stored: Stored, asked: Asked) -> tuple[int, dict[str, Any]]:
    """Return the status and the body of an answer that accounts for every reading."""
    answer: dict[str, Any] = {
        "accepted": stored.accepted,
        "duplicate": stored.duplicate,
        "rejected": sorted(readings.rejected, key=lambda one: one.index),
        "ignored": list(readings.ignored),
    }
    if asked.replace:
        answer["replaced"] = stored.replaced
    if not readings.rejected_total:
        return 200, answer
    answer["rejected_total"] = readings.rejected_total
    return 422, answer


async def _send_json(send: Send, status: int, answer: dict[str, Any], *, pause: int | None = None) -> None:
    if status >= 500:
        answer["request_id"] = request_id.get()
    body = _encode(answer) + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    elif pause is not None:
        headers.append((b"retry-after", b"%d" % pause))
    elif status == 503:
        # Spread, so that a thousand devices do not come back in the same instant.
        headers.append((b"retry-after", b"%d" % random.randint(1, 5)))  # noqa: S311
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
