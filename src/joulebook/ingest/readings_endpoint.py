"""`POST /api/readings`: packets in, and an answer for each of their readings after the commit."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import numpy as np
from starlette.types import Receive, Scope, Send

from joulebook.ingest.bodies import BodyTooLarge, BodyUnreadable, ClientGone, read_body
from joulebook.ingest.device_tokens import TokenDirectory
from joulebook.ingest.group_commit import GroupCommitter, Outcomes
from joulebook.ingest.packets import (
    PRECISIONS,
    PacketRules,
    Readings,
    Rejected,
    TooManyReadings,
    UnparsableBody,
    parse_packets,
)
from joulebook.ingest.series_directory import SeriesDirectory
from joulebook.telemetry.batch import Batch
from joulebook.telemetry.errors import TelemetryError
from joulebook.telemetry.writer import Outcome

log = logging.getLogger(__name__)

MOST_LISTED = 100
"""How many rejected readings and ignored fields an answer names; the rest is counted."""

_encode = msgspec.json.Encoder().encode


class Refusal(Exception):
    """The request as a whole gets this answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Limits:
    """What one request may ask for; `oldest` is in microseconds since 1970 UTC."""

    most_bytes: int
    most_readings: int
    oldest: int


class ReadingsEndpoint:
    """The ASGI application behind `POST /api/readings`.

    It is bare ASGI rather than a FastAPI route because each device calls it once a second: the
    route's machinery would cost more than the work (docs/benchmarks.md).
    """

    def __init__(
        self,
        *,
        tokens: TokenDirectory,
        series: SeriesDirectory,
        committer: GroupCommitter,
        limits: Limits,
    ) -> None:
        self._tokens = tokens
        self._series = series
        self._committer = committer
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; see docs/reference/ingest.md for every answer."""
        try:
            status, answer = await self._answer(scope, receive)
        except ClientGone:
            return
        except Refusal as exc:
            status, answer = exc.status, {"code": exc.code, "message": str(exc)}
        except TelemetryError as exc:
            status, answer = 503, {"code": "unavailable", "message": f"not stored, send it again: {exc}"}
        except Exception:  # a sender drops its data on 4xx, and must not for a fault of ours
            log.exception("a request could not be answered")
            status, answer = 503, {"code": "internal", "message": "not stored, send it again"}
        await _send_json(send, status, answer)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, dict[str, Any]]:
        device_id = await self._device(scope)
        rules = self._rules(scope, device_id)
        try:
            body = await read_body(scope, receive, most_bytes=self._limits.most_bytes)
            readings = parse_packets(body, rules)
        except (BodyTooLarge, TooManyReadings) as exc:
            raise Refusal(413, "too_large", f"{exc}; split it") from exc
        except (BodyUnreadable, UnparsableBody) as exc:
            raise Refusal(400, "unparsable", f"{exc}; nothing was stored") from exc
        return await self._store(device_id, readings)

    async def _device(self, scope: Scope) -> str:
        for name, value in scope["headers"]:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                token = value[7:].strip()
                device_id = self._tokens.remembered(token) or await self._tokens.device_of(token)
                if device_id is not None:
                    return device_id
                break
        raise Refusal(401, "unauthorized", "send a device's token that is in force: Authorization: Bearer …")

    def _rules(self, scope: Scope, device_id: str) -> PacketRules:
        precision = None
        if scope["query_string"]:
            asked = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
            precision = asked.pop("precision", None)
            if precision is not None and precision not in PRECISIONS:
                raise Refusal(400, "precision", f"precision {precision[:20]!r} is not s, ms, us or ns")
            if asked:
                raise Refusal(400, "parameter", f"parameter {next(iter(asked))[:40]!r} is not known here")
        return PacketRules(
            device_id=device_id,
            arrived_at=time.time_ns() // 1_000,
            oldest=self._limits.oldest,
            most_readings=self._limits.most_readings,
            precision=precision,
        )

    async def _store(self, device_id: str, readings: Readings) -> tuple[int, dict[str, Any]]:
        ids = self._series.known(device_id, readings.names)
        if ids is None:
            ids = await self._create_series(device_id, readings)
        if not readings.time:
            return _summary(readings, accepted=0, duplicate=0)
        batch = Batch(
            series_id=np.array(ids, np.int32)[np.array(readings.metric, np.intp)],
            time=np.array(readings.time, np.int64),
            value=np.array(readings.value, np.float64),
        )
        outcomes = await self._committer.submit(batch)
        return _outcome_summary(readings, outcomes)

    async def _create_series(self, device_id: str, readings: Readings) -> list[int]:
        """Create the metrics that are new; reject the readings of those beyond the device's cap."""
        found = await self._series.ensure(device_id, readings.names)
        if len(found) < len(readings.names):
            _reject_beyond_cap(readings, found)
        return [found.get(name, 0) for name in readings.names]


def _reject_beyond_cap(readings: Readings, found: dict[str, int]) -> None:
    kept = []
    for row, metric in enumerate(readings.metric):
        name = readings.names[metric]
        if name in found:
            kept.append(row)
            continue
        message = f"the device has as many metrics as it may; {name[:80]!r} would be one more"
        readings.rejected.append(Rejected(readings.packet[row], name, "metric_limit", message))
    readings.metric = [readings.metric[row] for row in kept]
    readings.time = [readings.time[row] for row in kept]
    readings.value = [readings.value[row] for row in kept]
    readings.packet = [readings.packet[row] for row in kept]


def _outcome_summary(readings: Readings, outcomes: Outcomes) -> tuple[int, dict[str, Any]]:
    counts = np.bincount(outcomes, minlength=len(Outcome))
    if counts[Outcome.CONFLICT]:
        for row in np.flatnonzero(outcomes == Outcome.CONFLICT):
            readings.rejected.append(
                Rejected(
                    index=readings.packet[row],
                    metric=readings.names[readings.metric[row]],
                    code="conflict",
                    message="another value is stored for this time, and was kept",
                )
            )
    return _summary(readings, accepted=int(counts[Outcome.STORED]), duplicate=int(counts[Outcome.DUPLICATE]))


def _summary(readings: Readings, *, accepted: int, duplicate: int) -> tuple[int, dict[str, Any]]:
    rejected = sorted(readings.rejected, key=lambda one: one.index)
    answer: dict[str, Any] = {
        "accepted": accepted,
        "duplicate": duplicate,
        "rejected": rejected[:MOST_LISTED],
        "ignored": list(readings.ignored)[:MOST_LISTED],
    }
    if not rejected:
        return 200, answer
    answer["rejected_total"] = len(rejected)
    return 422, answer


async def _send_json(send: Send, status: int, answer: dict[str, Any]) -> None:
    body = _encode(answer) + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    elif status == 503:
        # Spread, so that a thousand devices do not come back in the same instant.
        headers.append((b"retry-after", b"%d" % random.randint(1, 5)))  # noqa: S311
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
