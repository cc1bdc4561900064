"""One device's WebSocket: reads messages, stores them, and acknowledges each in its order.

A reader takes messages and starts to store them; an acknowledger waits for their commits, oldest first.
Between the two lies a short queue. When the database is slow, or the device does not read its
acknowledgements, the queue is full, the reader stops, and TCP tells the device to wait: what a
connection holds in memory is bounded by `IN_FLIGHT` messages of `MESSAGE_BYTES`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.types import Receive, Send

from joulebook.ingest.access.tokens import Grant, TokenDirectory
from joulebook.ingest.commit.storing import ReadingStore
from joulebook.ingest.wires.json.endpoint import Asked, Limits, summary
from joulebook.ingest.wires.json.packets import PacketRules, TooManyReadings, UnparsableBody, parse_packets
from joulebook.ingest.wires.websocket.siblings import Begun
from joulebook.telemetry.errors import TelemetryError

log = logging.getLogger(__name__)

MESSAGE_BYTES = 1 << 20
"""Largest message in bytes; a larger one closes the connection with code 1009."""

IN_FLIGHT = 16
"""Messages of one connection that may wait for their commit before the reader stops."""

WATCH_SECONDS = 3.0
"""How often a connection's token is looked at again; with what is remembered of it, 8 s at most."""

NOT_ALLOWED = 4401
"""Close code: the token is no longer in force for the device."""

FINISH_SECONDS = 15
"""How long an ending connection may take to answer what is in flight."""

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Rules:
    """What the handshake settled: the device, its token and grant, and the parameters of the address."""

    device_id: str
    token: bytes
    grant: Grant
    asked: Asked


class DeviceConnection:
    """Serves one accepted connection until the device leaves or `stop` is called."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        rules: Rules,
        store: ReadingStore,
        limits: Limits,
        tokens: TokenDirectory,
        counts: dict[str, int],
        begun: Begun,
    ) -> None:
        """Serve what comes by `receive`; what becomes of messages is counted in `counts`."""
        self.begun = begun
        self._counts = counts
        self._receive = receive
        self._send = send
        self._rules = rules
        self._store = store
        self._limits = limits
        self._tokens = tokens
        # The connection is the device's alone, also where a gateway's token would allow more.
        self._grant = Grant(
            token=rules.grant.token, devices=frozenset({rules.device_id}), device_id=rules.device_id
        )
        # The acknowledger holds one more, so one less fits in here.
        self._in_flight: asyncio.Queue[asyncio.Task[dict[str, Any]] | None] = asyncio.Queue(IN_FLIGHT - 1)
        self._stopping: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()

    def stop(self, code: int, reason: str) -> None:
        """Take no more messages; answer those in flight, then close with this code and reason."""
        if not self._stopping.done():
            self._stopping.set_result((code, reason))

    async def run(self) -> None:
        """Serve the connection; return when it has ended, whoever ended it."""
        try:
            await self._send({"type": "websocket.accept"})
            await self._serve()
        except OSError:
            pass  # the device has left
        finally:
            self.ended.set()

    async def _serve(self) -> None:
        reader = asyncio.create_task(self._read())
        acknowledger = asyncio.create_task(self._acknowledge())
        watcher = asyncio.create_task(self._watch())
        first: set[asyncio.Future[Any]] = {reader, acknowledger, self._stopping}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            reader.cancel()
            # A device that left without waiting for its answers has its messages stored all the same.
            async with asyncio.timeout(FINISH_SECONDS):
                await self._in_flight.put(None)
                await acknowledger
        except TimeoutError:
            pass  # it does not read its answers, or the database hangs: it sends again what has none
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
        """Start to store each message; return when the device has left."""
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
                # Not to be acknowledged any more: the device sends it again on its next connection.
                task.cancel()
                raise

    async def _acknowledge(self) -> None:
        """Send the answers, oldest first; return at the marker that ends the queue."""
        while (task := await self._in_flight.get()) is not None:
            answer = await task
            self._counts[_outcome(answer)] += 1
            with contextlib.suppress(OSError):  # the device has left; the rest is stored nevertheless
                await self._send({"type": "websocket.send", "text": _encode(answer).decode()})

    async def _answer(self, sequence: int, content: bytes) -> dict[str, Any]:
        """Store one message; return its acknowledgement after the commit."""
        asked = self._rules.asked
        rules = PacketRules(
            grant=self._grant,
            arrived_at=time.time_ns() // 1_000,
            oldest=self._limits.oldest,
            most_readings=self._limits.most_readings,
            precision=asked.precision,
        )
        token = self._grant.token
        if wait := self._limits.rates.wait(token):
            message = f"not stored, this token sends more readings than it may; send it again in {wait} s"
            return {"seq": sequence, "code": "rate", "message": message, "retry_after": wait}
        try:
            readings = parse_packets(content, rules)
            self._limits.rates.charge(token, len(readings.time))
            stored = await self._store.store(
                readings, sender=token, replace=asked.replace, atomic=asked.atomic
            )
            self._limits.rates.refund(token, stored.duplicate)
        except TooManyReadings as exc:
            return {"seq": sequence, "code": "too_large", "message": f"{exc}; split it"}
        except UnparsableBody as exc:
            return {"seq": sequence, "code": "unparsable", "message": f"{exc}; nothing was stored"}
        except TelemetryError as exc:
            message = f"not stored, send it again: {exc}"
            return {"seq": sequence, "code": "unavailable", "message": message, "retry_after": _pause()}
        except Exception:  # a device may drop what is refused, and must not for a fault of ours
            log.exception("a message could not be answered")
            message = "not stored, send it again"
            return {"seq": sequence, "code": "internal", "message": message, "retry_after": _pause()}
        return {"seq": sequence, **summary(readings, stored, asked)[1]}

    async def _watch(self) -> None:
        """Stop the connection soon after its token was revoked or its device handed over."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                grant = await self._tokens.grant_of(self._rules.token)
            except TelemetryError:
                continue
            if grant is None or self._rules.device_id not in grant.devices:
                self.stop(NOT_ALLOWED, "the token is no longer in force for this device")
                return


def _outcome(answer: dict[str, Any]) -> str:
    """Return what became of a message, as /metrics counts it."""
    return str(answer.get("code") or ("partial" if answer["rejected"] else "stored"))


def _pause() -> int:
    """Return seconds to wait, spread so that a thousand devices do not come back at once."""
    return random.randint(1, 5)  # noqa: S311
