"""`POST /api/readings`: takes packets, and answers for each of their readings after the commit."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from joulebook.ingest.packets import packet_rules, parse_packets, read_parameters, report_readings
from joulebook.ingest.requests.bodies import ClientGone
from joulebook.ingest.requests.intake import Intake
from joulebook.ingest.requests.refusals import Headers, refusal_as_json, refusal_of

_encode = msgspec.json.Encoder().encode


class ReadingsEndpoint:
    """The ASGI application behind `POST /api/readings`.

    It is bare ASGI rather than a FastAPI route because each device calls it once a second: the route's
    machinery would cost more than the work (docs/benchmarks.md).
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; docs/reference/ingest.md lists every answer."""
        try:
            status, answer = await self._answer(scope, receive)
        except ClientGone:
            return
        except Exception as exc:  # noqa: BLE001 - every request is answered; see refusal_of
            status, headers, body = _refuse(exc)
        else:
            body = _encode(answer) + b"\n"
            headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, dict[str, Any]]:
        intake = self._intake
        grant = await intake.authorise(scope)
        intake.check_rate(grant)
        parameters = read_parameters(scope["query_string"])
        rules = packet_rules(grant, parameters, intake.limits, arrived_at=time.time_ns() // 1_000)
        readings = await intake.read(scope, receive, parse_packets, rules, sender=grant.token)
        stored = await intake.store_readings(
            readings, grant, replace=parameters.replace, atomic=parameters.atomic
        )
        return 422 if readings.rejected_total else 200, report_readings(readings, stored, parameters)


def _refuse(exc: Exception) -> tuple[int, Headers, bytes]:
    # A function of its own: the exception refers to the frames holding the body, and no local variable of
    # theirs may refer to it.
    refusal = refusal_of(exc)
    return refusal.status, *refusal_as_json(refusal)
