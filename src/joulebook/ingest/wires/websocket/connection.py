"""One device's WebSocket: reads messages, stores them, and acknowledges them in their order.

A reader receives messages and starts to store them. An acknowledger waits for their commits, oldest first.
Between the two is a short queue. If the database is slow, or the device does not read its acknowledgements,
the queue fills, the reader stops, and TCP makes the device wait. So the memory of a connection is bounded by
`IN_FLIGHT` messages of `MESSAGE_BYTES`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from starlette.types import Receive, Send

from joulebook.ingest.access.tokens import Grant
from joulebook.ingest.commit.columns import TooManyReadings, UnparsableBody
from joulebook.ingest.packets import Parameters, packet_rules, parse_packets, report_readings
from joulebook.ingest.requests.intake import Intake
from joulebook.ingest.requests.refusals import retry_seconds
from joulebook.ingest.wires.websocket.announcements import Begun
from joulebook.telemetry.errors import TelemetryError

log = logging.getLogger(__name__)

MESSAGE_BYTES = 1 << 20
"""Largest message in bytes; a larger one closes the connection with code 1009."""

IN_FLIGHT = 16
"""Messages of one connection that may wait for their commit before the reader stops."""

WATCH_SECONDS = 3.0
"""How often a connection's token is checked again; with the remembered grant, after 8 s at most."""

NOT_ALLOWED = 4401
"""Close code: the token is no longer valid for the device."""

FINISH_SECONDS = 15
"""How long an ending connection may take to acknowledge the messages in flight."""

MESSAGE_OUTCOMES = ("stored", "partial", "too_large", "unparsable", "rate", "unavailable", "internal")
"""A message is stored as a whole, in part, or not at all for one of these reasons."""

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Handshake:
    """The result of the handshake: the device, its token and grant, and the parameters of the address."""

    device_id: str
    token: bytes
    grant: Grant
    parameters: Parameters


class DeviceConnection:
    """Serves one accepted connection until the device disconnects or `stop` is called."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        intake: Intake,
        handshake: Handshake,
        counts: dict[str, int],
        begun: Begun,
    ) -> None:
        """Serve the connection; count messages by outcome in `counts`."""
        self.begun = begun
        self._counts = counts
        self._receive = receive
        self._send = send
        self._handshake = handshake
        self._intake = intake
        self._grant = _grant_of_one(handshake.grant, handshake.device_id)
        # The acknowledger holds one message, so the queue has room for one less.
        self._in_flight: asyncio.Queue[asyncio.Task[dict[str, Any]] | None] = asyncio.Queue(IN_FLIGHT - 1)
        self._stopping: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()

    def stop(self, code: int, reason: str) -> None:
        """Read no more messages; acknowledge those in flight, then close with this code and reason."""
        if not self._stopping.done():
            self._stopping.set_result((code, reason))

    async def run(self) -> None:
        """Serve the connection until either side ends it."""
        try:
            await self._send({"type": "websocket.accept"})
            await self._serve()
        except OSError:
            pass  # the device has disconnected
        finally:
            self.ended.set()

    async def _serve(self) -> None:
        reader = asyncio.create_task(self._read())
        acknowledger = asyncio.create_task(self._acknowledge())
        watcher = asyncio.create_task(self._watch_token())
        first: set[asyncio.Future[Any]] = {reader, acknowledger, self._stopping}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            reader.cancel()
            # Messages are stored even if the device disconnected before their acknowledgement.
            async with asyncio.timeout(FINISH_SECONDS):
                await self._in_flight.put(None)
                await acknowledger
        except TimeoutError:
            pass  # the device does not read, or the database hangs: it sends unacknowledged messages again
        finally:
            for task in (reader, acknowledger, watcher):
                task.cancel()
            await asyncio.gather(reader, acknowledger, watcher, return_exceptions=True)
            while not self._in_flight.empty():
                if (waiting := self._in_flight.get_nowait()) is not None:
                    waiting.cancel()
        if self._stopping.done():
            code, reason = self._stopping.result()
            await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def _read(self) -> None:
        """Start to store each message; return when the device disconnects."""
        sequence = 0
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            sequence += 1
            text = message.get("bytes")
            content = text if text is not None else message["text"].encode()
            task = asyncio.create_task(self._answer(sequence, content))
            try:
                await self._in_flight.put(task)
            except asyncio.CancelledError:
                # Never acknowledged: the device sends it again on its next connection.
                task.cancel()
                raise

    async def _acknowledge(self) -> None:
        """Send the acknowledgements, oldest first, up to the marker ending the queue."""
        while (task := await self._in_flight.get()) is not None:
            answer = await task
            self._counts[answer.get("code") or ("partial" if answer["rejected"] else "stored")] += 1
            with contextlib.suppress(OSError):  # the device has disconnected; the rest is stored nevertheless
                await self._send({"type": "websocket.send", "text": _encode(answer).decode()})

    async def _answer(self, sequence: int, content: bytes) -> dict[str, Any]:
        """Store one message; return its acknowledgement after the commit."""
        parameters, limits = self._handshake.parameters, self._intake.limits
        rules = packet_rules(self._grant, parameters, limits, arrived_at=time.time_ns() // 1_000)
        if wait := limits.rates.wait(self._grant.token):
            message = f"not stored, this token sends more readings than it may; send it again in {wait} s"
            return {"seq": sequence, "code": "rate", "message": message, "retry_after": wait}
        try:
            readings = parse_packets(content, rules)
            stored = await self._intake.store_readings(
                readings, self._grant, replace=parameters.replace, atomic=parameters.atomic
            )
        except TooManyReadings as exc:
            return {"seq": sequence, "code": "too_large", "message": f"{exc}; split it"}
        except UnparsableBody as exc:
            return {"seq": sequence, "code": "unparsable", "message": f"{exc}; nothing was stored"}
        except TelemetryError as exc:
            message, code = f"not stored, send it again: {exc}", "unavailable"
            return {"seq": sequence, "code": code, "message": message, "retry_after": retry_seconds()}
        except Exception:  # the device must keep its data after an error of ours
            log.exception("a message could not be answered")
            message, code = "not stored, send it again", "internal"
            return {"seq": sequence, "code": code, "message": message, "retry_after": retry_seconds()}
        return {"seq": sequence, **report_readings(readings, stored, parameters)}

    async def _watch_token(self) -> None:
        """Stop the connection soon after its token was revoked or its device handed over."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                grant = await self._intake.tokens.grant_of(self._handshake.token)
            except TelemetryError:
                continue
            if grant is None or self._handshake.device_id not in grant.devices:
                self.stop(NOT_ALLOWED, "the token is no longer valid for this device")
                return
            # The owner may have changed what its times mean.
            self._grant = _grant_of_one(grant, self._handshake.device_id)


def _grant_of_one(grant: Grant, device_id: str) -> Grant:
    """Return a grant for one device: a gateway's token may write for more, but not over this connection."""
    return replace(grant, devices=frozenset({device_id}), device_id=device_id)
