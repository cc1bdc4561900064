"""The endpoints that InfluxDB's clients, v1 and v2, expect: write, ping, health, and set-up queries."""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from joulebook import __version__
from joulebook.ingest.commit.columns import Readings
from joulebook.ingest.requests.bodies import BodyTooLarge, BodyUnreadable, ClientGone, read_body
from joulebook.ingest.requests.intake import Intake, bearer_token
from joulebook.ingest.requests.refusals import Refusal, refusal_of, retry_seconds
from joulebook.ingest.wires.line_protocol.lines import PRECISIONS_V1, PRECISIONS_V2, LineRules, parse_lines
from joulebook.ingest.wires.line_protocol.naming import LineNaming
from joulebook.logs import request_id
from joulebook.telemetry.errors import DatabaseUnavailable

VERSION = f"1.8.10-joulebook-{__version__}"
"""Our version for clients: an InfluxDB with both kinds of writes, followed by our own."""

MOST_LISTED = 20
"""How many refused lines an answer names; it counts the others."""

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
    """The differences between the two generations of clients."""

    precisions: Mapping[str, tuple[int, int]]
    problem: Callable[[int, str], dict[str, str]]
    challenge: bytes
    keeps_on_429: bool
    """Whether clients keep their data on 429; the others are answered 503."""


V1 = Dialect(PRECISIONS_V1, lambda _, message: {"error": message}, b'Basic realm="Joulebook"', False)
V2 = Dialect(
    PRECISIONS_V2, lambda status, message: {"code": _CODES_V2[status], "message": message}, b"Token", True
)


def line_protocol_routes(intake: Intake, naming: LineNaming) -> list[BaseRoute]:
    """Return the routes of both generations."""

    async def ping(_: Request) -> Response:
        return Response(status_code=204, headers={"X-Influxdb-Version": VERSION})

    async def health(_: Request) -> Response:
        answer = {"name": "influxdb", "version": VERSION, "status": "pass", "message": "ready for writes"}
        try:
            await intake.check_database()
        except DatabaseUnavailable as exc:
            return JSONResponse({**answer, "status": "fail", "message": str(exc)}, status_code=503)
        return JSONResponse(answer)

    return [
        Route("/write", WriteEndpoint(V1, intake, naming), methods=["POST"]),
        Route("/api/v2/write", WriteEndpoint(V2, intake, naming), methods=["POST"]),
        Route("/query", QueryEndpoint(V1, intake), methods=["GET", "POST"]),
        Route("/ping", ping, methods=["GET"]),
        Route("/health", health, methods=["GET"]),
    ]


class _Endpoint:
    """An ASGI application answering in its clients' dialect."""

    def __init__(self, dialect: Dialect, intake: Intake) -> None:
        self._dialect = dialect
        self._intake = intake

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        retry_after = None
        try:
            status, answer = await self._answer(scope, receive)
        except ClientGone:
            return
        except Exception as exc:  # noqa: BLE001 - every request is answered; see refusal_of
            status, answer, retry_after = self._refuse(exc)
        headers = [(b"x-influxdb-version", VERSION.encode())]
        if status == 401:
            headers.append((b"www-authenticate", self._dialect.challenge))
        elif status in {429, 503}:
            headers.append((b"retry-after", b"%d" % (retry_after or retry_seconds())))
        body = b""
        if answer is not None:
            body = _encode(answer) + b"\n"
            headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, dict[str, Any] | None]:
        raise NotImplementedError

    def _refuse(self, exc: Exception) -> tuple[int, dict[str, str], int | None]:
        # The exception refers to the frames holding the body: no local variable of theirs may refer to it.
        refusal = refusal_of(exc)
        return *self._problem(refusal.status, str(refusal)), refusal.retry_after

    def _problem(self, status: int, message: str) -> tuple[int, dict[str, str]]:
        if status == 429 and not self._dialect.keeps_on_429:
            status = 503
        problem = self._dialect.problem(status, message)
        return status, {**problem, "request_id": request_id.get()} if status >= 500 else problem


class WriteEndpoint(_Endpoint):
    """`POST /write` (v1) and `POST /api/v2/write` (v2): takes line protocol, answers 204 after the commit."""

    def __init__(self, dialect: Dialect, intake: Intake, naming: LineNaming) -> None:
        super().__init__(dialect, intake)
        self._naming = naming

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, dict[str, Any] | None]:
        intake = self._intake
        parameters = read_influxdb_parameters(scope["query_string"])
        grant = await intake.authorise(scope, find=line_protocol_token)
        intake.check_rate(grant)
        unit, units = parameters.get("precision") or "ns", self._dialect.precisions
        if unit not in units:
            raise Refusal(400, "parameter", f"precision {unit[:20]!r} is not one of {', '.join(units)}")
        rules = LineRules(
            grant=grant,
            arrived_at=time.time_ns() // 1_000,
            oldest=intake.limits.oldest,
            most_readings=intake.limits.most_readings,
            precision=units[unit],
            naming=self._naming,
        )
        readings = await intake.read(scope, receive, parse_lines, rules, sender=grant.token)
        await intake.store_readings(readings, grant, replace=True)
        if readings.rejected_total:
            return self._problem(400, partial_write(readings))
        return 204, None


class QueryEndpoint(_Endpoint):
    """`/query`: answers the statements that clients send before their first write, and no others."""

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, dict[str, Any] | None]:
        parameters = read_influxdb_parameters(scope["query_string"])
        await self._intake.authorise(scope, find=line_protocol_token)
        if "q" not in parameters:
            try:
                body = await read_body(scope, receive, most_bytes=_MOST_QUERY_BYTES)
            except BodyTooLarge as exc:
                raise Refusal(413, "too_large", str(exc)) from exc
            except BodyUnreadable as exc:
                raise Refusal(400, "unparsable", str(exc)) from exc
            parameters |= dict(parse_qsl(body.decode("latin-1")))
        query = parameters.get("q", "")
        result: dict[str, Any] = {"statement_id": 0}
        if _SHOW_DATABASES.fullmatch(query):
            result["series"] = [{"name": "databases", "columns": ["name"], "values": [["joulebook"]]}]
        elif not _CREATE_DATABASE.fullmatch(query):
            message = f"only CREATE DATABASE and SHOW DATABASES are answered here, not {query[:80]!r}"
            raise Refusal(400, "parameter", message)
        return 200, {"results": [result]}


def read_influxdb_parameters(query: bytes) -> dict[str, str]:
    """Return the parameters of a query. Raises `Refusal` if they hold a password.

    The parameters for a place to store (`db`, `rp`, `org`, `bucket`, …) have no effect here.
    """
    parameters = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    if "p" in parameters:
        # Addresses end up in the logs of proxies and in histories.
        message = "a token does not belong into an address; send it as password (Basic) or `Token …`"
        raise Refusal(401, "unauthorized", message)
    return parameters


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
    """Return a message with the refused lines, counted from 1, in words expected by InfluxDB's clients."""
    rejected = sorted(readings.rejected, key=lambda one: one.index)
    named = [f"line {one.index + 1}: {one.code}: {one.message}" for one in rejected[:MOST_LISTED]]
    if readings.rejected_total > MOST_LISTED:
        named.append(f"and {readings.rejected_total - MOST_LISTED} more")
    return f"partial write: {'; '.join(named)}; everything else is stored dropped={readings.rejected_total}"
