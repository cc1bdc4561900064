"""`GET /live/{device_id}`: committed readings as server-sent events, for a ticket issued by the web."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from joulebook.ingest.live.feed import LiveFeed, TooManyViewers, Viewer, Watcher
from joulebook.ingest.requests.refusals import Refusal, refusal_as_json
from joulebook.live_ticket import Ticket, TicketRefused, open_ticket
from joulebook.serving.addresses import Networks, client_address, share_key

HEARTBEAT_SECONDS = 10
"""A comment is sent after such a silence, so that proxies keep the stream open."""

GRACE_SECONDS = 5
"""How long the client may take to read the rest of an ended stream."""

_FULL_SECONDS = 30
"""How long a client waits before it tries again for a slot."""

_encode = msgspec.json.Encoder().encode


class LiveEndpoint:
    """Streams a device's readings to the holder of a ticket until the ticket expires."""

    def __init__(self, *, feed: LiveFeed, secret_key: str, trusted_proxies: Networks = ()) -> None:
        self._feed = feed
        self._secret_key = secret_key
        self._trusted = tuple(trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with the stream or a refusal."""
        request = Request(scope, receive)
        # X-Accel-Buffering: a proxy must not collect the response before it passes it on.
        headers = {"Vary": "Origin", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        try:
            ticket = self._ticket(request)
            headers["Access-Control-Allow-Origin"] = ticket.origin
            if request.method == "HEAD":
                await Response(media_type="text/event-stream", headers=headers)(scope, receive, send)
                return
            peer = request.client.host if request.client is not None else ""
            forwarded = ",".join(request.headers.getlist("x-forwarded-for")) or None
            address = client_address(peer, forwarded, self._trusted)
            watcher = Watcher(ticket.number, ticket.user, share_key(address))
            with self._feed.watch(str(request.path_params["device_id"]), watcher) as viewer:
                stream = StreamingResponse(
                    _events(viewer, ticket), media_type="text/event-stream", headers=headers
                )
                # A viewer that does not read has its slot no longer than others, and only while there is
                # room for its unread events.
                loop = asyncio.get_running_loop()
                async with asyncio.timeout(ticket.expires_at - time.time() + GRACE_SECONDS) as limit:
                    viewer.cut = lambda: limit.reschedule(loop.time())
                    await stream(scope, receive, send)
        except TimeoutError:
            pass
        except Refusal as exc:
            await _refused(exc, headers)(scope, receive, send)
        except TooManyViewers as exc:
            refusal = Refusal(503, "unavailable", str(exc), retry_after=_FULL_SECONDS)
            await _refused(refusal, headers)(scope, receive, send)

    def _ticket(self, request: Request) -> Ticket:
        device_id = str(request.path_params["device_id"])
        try:
            ticket = open_ticket(
                self._secret_key, device_id, request.query_params.get("ticket", ""), now=time.time()
            )
        except TicketRefused as exc:
            raise Refusal(403, "ticket", str(exc)) from exc
        if request.headers.get("Origin", ticket.origin) != ticket.origin:
            raise Refusal(403, "ticket", "the ticket was issued to a page of another origin")
        return ticket


async def _events(viewer: Viewer, ticket: Ticket) -> AsyncIterator[bytes]:
    """Yield the events of a stream until the ticket expires or the viewer is ended."""
    yield b": open\n\n"
    while (left := ticket.expires_at - time.time()) > 0:
        fresh = await viewer.next(seconds=min(left, HEARTBEAT_SECONDS))
        if fresh is None:
            break
        yield b"data: " + _encode({"readings": fresh}) + b"\n\n" if fresh else b": still here\n\n"
    yield b"event: end\ndata: {}\n\n"


def _refused(refusal: Refusal, headers: dict[str, str]) -> Response:
    own, body = refusal_as_json(refusal)
    response = Response(body, status_code=refusal.status, headers=headers)
    response.raw_headers += [(name, value) for name, value in own if name != b"content-length"]
    return response
