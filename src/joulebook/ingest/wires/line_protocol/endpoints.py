"""The endpoints that InfluxDB's clients, v1 and v2, expect: write, ping, health, and set-up queries."""

from __future__ import annotations

import base64
import binascii
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from joulebook import __version__
from joulebook.ingest.access.tokens import TokenDirectory
from joulebook.ingest.commit.columns import Readings
from joulebook.ingest.commit.storing import ReadingStore
from joulebook.ingest.wires.bodies import BodyTooLarge, BodyUnreadable, ClientGone, read_body
from joulebook.ingest.wires.json.endpoint import (
    Limits,
    Refusal,
    authorise,
    bearer_token,
    check_rate,
    receive_readings,
    refusal_of,
)
from joulebook.ingest.wires.json.packets import TooManyReadings
from joulebook.ingest.wires.line_protocol.lines import PRECISIONS_V1, PRECISIONS_V2, LineRules, parse_lines
from joulebook.ingest.wires.line_protocol.naming import LineNaming
from joulebook.logs import request_id
from joulebook.telemetry.errors import DatabaseUnavailable

VERSION = f"1.8.10-joulebook-{__version__}"
"""What we say we are: the version of InfluxDB that takes writes of both kinds, and then our own."""

MOST_LISTED = 20
"""How many refused lines an answer names; the rest is counted."""

_MOST_QUERY_BYTES = 65_536
_CREATE_DATABASE = re.compile(
    r'\s*CREATE\s+DATABASE\s+(?:IF\s+NOT\s+EXISTS\s+)?(?:"(?:[^"\\]|\\.)+"|\w+)(?:\s+WITH\s[^;]*)?\s*;?\s*',
    re.IGNORECASE,
)
_SHOW_DATABASES = re.compile(r"\s*SHOW\s+DATABASES\s*;?\s*", re.IGNORECASE)
_CODES_V2 = {
    400: "invalid",
    401: "unauthorized",
    413: "request too large",
    429: "too many requests",
    503: "unavailable",
}

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Dialect:
    """What differs between the two generations of clients."""

    precisions: Mapping[str, tuple[int, int]]
    problem: Callable[[int, str], dict[str, str]]
    challenge: bytes
    keeps_on_429: bool


V1 = Dialect(PRECISIONS_V1, lambda _, message: {"error": message}, b'Basic realm="Joulebook"', False)
V2 = Dialect(
    PRECISIONS_V2, lambda status, message: {"code": _CODES_V2[status], "message": message}, b"Token", True
)


def line_protocol_routes(
    *,
    tokens: TokenDirectory,
    store: ReadingStore,
    limits: Limits,
    naming: LineNaming,
    ping_database: Callable[[], Awaitable[None]],
) -> list[Route]:
    """Return the routes; `ping_database` raises `DatabaseUnavailable` where readings cannot be stored now."""

    async def health(_: Request) -> Response:
        answer = {"name": "influxdb", "version": VERSION, "status": "pass", "message": "ready for writes"}
        try:
            await ping_database()
        except DatabaseUnavailable as exc:
            return JSONResponse({**answer, "status": "fail", "message": str(exc)}, status_code=503)
        return JSONResponse(answer)

    def write(dialect: Dialect) -> WriteEndpoint:
        return WriteEndpoint(dialect, tokens=tokens, store=store, limits=limits, naming=naming)

    return [
        Route("/write", write(V1), methods=["POST"]),
        Route("/api/v2/write", write(V2), methods=["POST"]),
        Route("/query", QueryEndpoint(V1, tokens=tokens), methods=["GET", "POST"]),
        Route("/ping", _ping, methods=["GET"]),
        Route("/health", health, methods=["GET"]),
    ]


async def _ping(_: Request) -> Response:
    return Response(status_code=204, headers={"X-Influxdb-Version": VERSION})


class _Endpoint:
    """An ASGI application that says what went wrong in its clients' dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        pause = None
        try:
            status, answer = await self._answer(scope, receive)
        except ClientGone:
            return
        except Exception as exc:  # noqa: BLE001 - every request is answered; see refusal_of
            status, answer, pause = self._refuse(exc)
        await _send(send, status, answer, challenge=self._dialect.challenge, pause=pause)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, dict[str, Any] | None]:
        raise NotImplementedError

    def _refuse(self, exc: Exception) -> tuple[int, dict[str, str], int | None]:
        # The exception holds on to the frames with the body: no local variable of theirs may hold on to it.
        refusal = refusal_of(exc)
        return *self._problem(refusal.status, str(refusal)), refusal.retry_after

    def _problem(self, status: int, message: str) -> tuple[int, dict[str, str]]:
        if status == 429 and not self._dialect.keeps_on_429:
            status = 503
        problem = self._dialect.problem(status, message)
        return status, {**problem, "request_id": request_id.get()} if status >= 500 else problem


class WriteEndpoint(_Endpoint):
    """`POST /write` (v1) and `POST /api/v2/write` (v2): line protocol in, 204 after the commit."""

    def __init__(
        self,
        dialect: Dialect,
        *,
        tokens: TokenDirectory,
        store: ReadingStore,
        limits: Limits,
        naming: LineNaming,
    ) -> None:
        super().__init__(dialect)
        self._tokens = tokens
        self._store = store
        self._limits = limits
        self._naming = naming

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, dict[str, Any] | None]:
        asked = read_query(scope["query_string"])
        grant = await authorise(scope, self._tokens, find=line_protocol_token)
        check_rate(grant, self._limits)
        rules = LineRules(
            grant=grant,
            arrived_at=time.time_ns() // 1_000,
            oldest=self._limits.oldest,
            most_readings=self._limits.most_readings,
            precision=self._precision(asked),
            naming=self._naming,
        )
        try:
            readings = await receive_readings(
                scope, receive, parse_lines, rules, self._limits, sender=grant.token
            )
        except (BodyTooLarge, TooManyReadings) as exc:
            raise Refusal(413, "too_large", f"{exc}; split it") from exc
        except BodyUnreadable as exc:
            raise Refusal(400, "unparsable", f"{exc}; nothing was stored") from exc
        self._limits.rates.charge(grant.token, len(readings.time))
        stored = await self._store.store(readings, sender=grant.token, replace=True)
        self._limits.rates.refund(grant.token, stored.duplicate)
        if readings.rejected_total:
            return self._problem(400, partial_write(readings))
        return 204, None

    def _precision(self, asked: dict[str, str]) -> tuple[int, int]:
        name = asked.get("precision") or "ns"
        if name not in self._dialect.precisions:
            known = ", ".join(self._dialect.precisions)
            raise Refusal(400, "parameter", f"precision {name[:20]!r} is not one of {known}")
        return self._dialect.precisions[name]


class QueryEndpoint(_Endpoint):
    """`/query`: the statements with which clients set themselves up, and no others."""

    def __init__(self, dialect: Dialect, *, tokens: TokenDirectory) -> None:
        super().__init__(dialect)
        self._tokens = tokens

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, dict[str, Any] | None]:
        asked = read_query(scope["query_string"])
        await authorise(scope, self._tokens, find=line_protocol_token)
        if "q" not in asked:
            asked |= await _read_form(scope, receive)
        query = asked.get("q", "")
        result: dict[str, Any] = {"statement_id": 0}
        if _SHOW_DATABASES.fullmatch(query):
            result["series"] = [{"name": "databases", "columns": ["name"], "values": [["joulebook"]]}]
        elif not _CREATE_DATABASE.fullmatch(query):
            message = f"only CREATE DATABASE and SHOW DATABASES are answered here, not {query[:80]!r}"
            raise Refusal(400, "parameter", message)
        return 200, {"results": [result]}


def read_query(query: bytes) -> dict[str, str]:
    """Return the parameters of an address. Raises `Refusal` where they hold a password.

    Those that choose a place to store (`db`, `rp`, `org`, `bucket`, …) mean nothing here.
    """
    asked = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    if "p" in asked:
        # Addresses end up in logs of proxies and in histories.
        message = "a token does not belong into an address; send it as password (Basic) or `Token …`"
        raise Refusal(401, "unauthorized", message)
    return asked


async def _read_form(scope: Scope, receive: Receive) -> dict[str, str]:
    try:
        body = await read_body(scope, receive, most_bytes=_MOST_QUERY_BYTES)
    except BodyTooLarge as exc:
        raise Refusal(413, "too_large", str(exc)) from exc
    except BodyUnreadable as exc:
        raise Refusal(400, "unparsable", str(exc)) from exc
    return dict(parse_qsl(body.decode("latin-1")))


def line_protocol_token(value: bytes) -> bytes | None:
    """Return the token in an Authorization header: Bearer, Token (also `user:token`), or Basic's password."""
    scheme, _, rest = value.strip().partition(b" ")
    rest = rest.strip()
    if scheme.lower() == b"basic":
        try:
            rest = base64.b64decode(rest, validate=True)
        except binascii.Error:
            return None
        return rest.partition(b":")[2]
    if scheme.lower() == b"token":
        return rest.rpartition(b":")[2]
    return bearer_token(value)


def partial_write(readings: Readings) -> str:
    """Return what was refused, by numbers of lines from 1, in words that InfluxDB's clients look for."""
    rejected = sorted(readings.rejected, key=lambda one: one.index)
    named = [f"line {one.index + 1}: {one.code}: {one.message}" for one in rejected[:MOST_LISTED]]
    if readings.rejected_total > MOST_LISTED:
        named.append(f"and {readings.rejected_total - MOST_LISTED} more")
    return f"partial write: {'; '.join(named)}; everything else is stored dropped={readings.rejected_total}"


async def _send(
    send: Send, status: int, answer: dict[str, Any] | None, *, challenge: bytes, pause: int | None
) -> None:
    headers = [(b"x-influxdb-version", VERSION.encode())]
    if status == 401:
        headers.append((b"www-authenticate", challenge))
    elif status in {429, 503}:
        # Spread, so that a thousand devices do not come back in the same instant.
        headers.append((b"retry-after", b"%d" % (pause or random.randint(1, 5))))  # noqa: S311
    body = b""
    if answer is not None:
        body = _encode(answer) + b"\n"
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
