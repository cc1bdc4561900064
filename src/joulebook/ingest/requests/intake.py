"""The way of a request that every wire shares: authorise its token, read its body, store its readings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from starlette.types import Receive, Scope

from joulebook.ingest.access.tokens import Grant, RateLimits, TokenDirectory
from joulebook.ingest.commit.columns import Readings, TooManyReadings, UnparsableBody
from joulebook.ingest.commit.storing import ReadingStore, StoredCounts
from joulebook.ingest.requests.bodies import (
    BodyMemory,
    BodyMemoryFull,
    BodyTooLarge,
    BodyUnreadable,
    Held,
    read_body,
)
from joulebook.ingest.requests.refusals import Refusal

LARGE_BODY = 256 * 1024
"""Larger bodies are parsed in a thread, so that other requests do not wait for them."""

# One thread: a parsed body takes many times its size, and Python would run two of them in turns anyway.
_parser_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parse")

Rules = TypeVar("Rules")


@dataclass(frozen=True)
class Limits:
    """The limits of one request, of one token, and of all bodies together.

    `oldest` is in microseconds since 1970 UTC.
    """

    most_bytes: int
    most_readings: int
    oldest: int
    rates: RateLimits
    bodies: BodyMemory


def bearer_token(value: bytes) -> bytes | None:
    """Return the token in the value of an Authorization header, or None if it is no bearer token."""
    return value[7:].strip() if value[:7].lower() == b"bearer " else None


@dataclass(frozen=True)
class Intake:
    """Takes in the readings of requests."""

    tokens: TokenDirectory
    store: ReadingStore
    limits: Limits
    check_database: Callable[[], Awaitable[None]]
    """Raises `DatabaseUnavailable` unless readings can be stored now."""

    async def authorise(self, scope: Scope, *, find: Callable[[bytes], bytes | None] = bearer_token) -> Grant:
        """Return the grant of the request's token. Raises `Refusal` unless the token is valid.

        `find` extracts the token from the value of the Authorization header.
        """
        for name, value in scope["headers"]:
            if name == b"authorization" and (token := find(value)) is not None:
                grant = self.tokens.remembered(token) or await self.tokens.grant_of(token)
                if grant is not None:
                    return grant
                break
        raise Refusal(401, "unauthorized", "send a valid token of a device: Authorization: Bearer …")

    def check_rate(self, grant: Grant) -> None:
        """Raise `Refusal` if the token is above its rate."""
        if wait := self.limits.rates.wait(grant.token):
            message = f"this token sends more readings than it may; send it again in {wait} s"
            raise Refusal(429, "rate", message, retry_after=wait)

    async def read(
        self,
        scope: Scope,
        receive: Receive,
        parse: Callable[[bytes, Rules], Readings],
        rules: Rules,
        *,
        sender: str,
    ) -> Readings:
        """Return the readings that `parse` finds in a request's body.

        The `sender` is the token: tokens share the memory for bodies. Raises `Refusal`, `BodyMemoryFull` and
        `ClientGone`.
        """
        limits = self.limits
        try:
            with limits.bodies.hold(sender) as held:
                body = await read_body(scope, receive, most_bytes=limits.most_bytes, held=held)
                if len(body) > LARGE_BODY:
                    return await _parse_in_thread(parse, body, rules, held)
                return parse(body, rules)
        except (BodyTooLarge, TooManyReadings) as exc:
            raise Refusal(413, "too_large", f"{exc}; split it") from exc
        except (BodyUnreadable, UnparsableBody) as exc:
            raise Refusal(400, "unparsable", f"{exc}; nothing was stored") from exc

    async def store_readings(
        self, readings: Readings, grant: Grant, *, replace: bool, atomic: bool = False
    ) -> StoredCounts:
        """Store the readings and charge them to the token's rate; see `ReadingStore.store`."""
        self.limits.rates.charge(grant.token, len(readings.time))
        stored = await self.store.store(readings, sender=grant.token, replace=replace, atomic=atomic)
        self.limits.rates.refund(grant.token, stored.duplicate)
        return stored


async def _parse_in_thread(
    parse: Callable[[bytes, Rules], Readings], body: bytes, rules: Rules, held: Held
) -> Readings:
    """Parse a large body. Raises `BodyMemoryFull` if its memory is claimed while it waits for the thread."""
    parsing = _parser_thread.submit(parse, body, rules)
    try:
        async with asyncio.timeout(None) as waiting:
            with held.may_give_way(waiting):
                return await asyncio.wrap_future(parsing)
    except TimeoutError as exc:
        raise BodyMemoryFull("others send less, and there is no room for all") from exc
