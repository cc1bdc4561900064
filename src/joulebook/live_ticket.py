"""Tickets for the live feed: the web checks access and issues one, ingest opens a stream for it.

A ticket is for one user, one device, one page's origin and a few seconds. Its signature's key is derived by
both processes from their shared signing key. The user is an opaque name, for ingest to count streams. A
ticket is part of an address, since a browser's `EventSource` can send no headers. Addresses reach logs, but
by then the ticket has expired.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from dataclasses import dataclass

TICKET_SECONDS = 50
"""How long a ticket and its stream last: a withdrawn share ends within a minute."""

_PURPOSE = b"joulebook live ticket 2"
_USER_BYTES = 12
_LONGEST = 1000


class TicketRefused(Exception):
    """The ticket is not one of ours, is for another device, or has expired."""


@dataclass(frozen=True)
class Ticket:
    """A ticket's content: pages of `origin` may watch until `expires_at` (seconds since 1970 UTC).

    `user` is its owner's opaque name; no two tickets have the same `number`.
    """

    origin: str
    expires_at: int
    user: str
    number: str


def issue_ticket(secret_key: str, device_id: str, *, user: int, origin: str, now: float) -> tuple[str, int]:
    """Return a ticket for the device and when it expires; `now` in seconds since 1970 UTC.

    `user` is the primary key of its owner's account.
    """
    expires_at = int(now) + TICKET_SECONDS
    name = hmac.digest(_key(secret_key), b"user %d" % user, "sha256")[:_USER_BYTES]
    claims = f"{expires_at}.{_encode(origin.encode())}.{_encode(name)}.{secrets.token_urlsafe(9)}"
    return f"{claims}.{_signature(secret_key, device_id, claims)}", expires_at


def open_ticket(secret_key: str, device_id: str, ticket: str, *, now: float) -> Ticket:
    """Return the content of a ticket for the device. Raises `TicketRefused`."""
    claims, _, signature = ticket.rpartition(".")
    expected = _signature(secret_key, device_id, claims)
    if len(ticket) > _LONGEST or not hmac.compare_digest(_bytes(signature), expected.encode()):
        raise TicketRefused("the ticket is not valid for this device; ask the web for another")
    # Parse only after the signature's check.
    expires_at, origin, user, number = claims.split(".")
    if int(expires_at) <= now:
        raise TicketRefused("the ticket has expired; ask the web for another")
    return Ticket(origin=_decode(origin).decode(), expires_at=int(expires_at), user=user, number=number)


def _signature(secret_key: str, device_id: str, claims: str) -> str:
    # The claims hold no line break, so no device's id can be mistaken for a part of them.
    return _encode(hmac.digest(_key(secret_key), _bytes(f"{claims}\n{device_id}"), "sha256"))


def _key(secret_key: str) -> bytes:
    return hmac.digest(secret_key.encode(), _PURPOSE, "sha256")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
