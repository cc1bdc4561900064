"""Tickets for the live feed: the web issues them for a device, ingest opens a stream for each.

A ticket is for one user, one device, one page's origin and a few seconds. Both processes derive the key of
its signature from their common signing key. The web issues a ticket only to users with access to the device.
The user is an opaque name; ingest counts streams by it. The ticket is part of an address, because a
browser's `EventSource` cannot send headers. So it expires soon: a copy in a log is worth little.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from dataclasses import dataclass

TICKET_SECONDS = 50
"""How long a ticket and its stream last: the streams of a withdrawn share end within a minute."""

_PURPOSE = b"joulebook live ticket 2"
_USER_BYTES = 12
_LONGEST = 1000


class TicketRefused(Exception):
    """The ticket is forged, is for another device, or has expired."""


@dataclass(frozen=True)
class Ticket:
    """A valid ticket: pages of `origin` may watch until `expires_at` (seconds since 1970 UTC).

    `user` is an opaque name of the ticket's owner; each ticket has its own `number`.
    """

    origin: str
    expires_at: int
    user: str
    number: str


def issue_ticket(secret_key: str, device_id: str, *, user: int, origin: str, now: float) -> tuple[str, int]:
    """Return a ticket for the device and the time of its end; times are in seconds since 1970 UTC.

    `user` is the primary key of the owner's account.
    """
    expires_at = int(now) + TICKET_SECONDS
    name = hmac.digest(_key(secret_key), b"user %d" % user, "sha256")[:_USER_BYTES]
    claims = f"{expires_at}.{_encode(origin.encode())}.{_encode(name)}.{secrets.token_urlsafe(9)}"
    return f"{claims}.{_signature(secret_key, device_id, claims)}", expires_at


def open_ticket(secret_key: str, device_id: str, ticket: str, *, now: float) -> Ticket:
    """Check a ticket for the device and return its content. Raises `TicketRefused`."""
    claims, _, signature = ticket.rpartition(".")
    expected = _signature(secret_key, device_id, claims)
    if len(ticket) > _LONGEST or not hmac.compare_digest(_bytes(signature), expected.encode()):
        raise TicketRefused("the ticket is not valid for this device; ask the web for another")
    # Parse only after the check of our signature.
    expires_at, origin, user, number = claims.split(".")
    if int(expires_at) <= now:
        raise TicketRefused("the ticket has expired; ask the web for another")
    return Ticket(
        origin=base64.urlsafe_b64decode(origin + "=" * (-len(origin) % 4)).decode(),
        expires_at=int(expires_at),
        user=user,
        number=number,
    )


def _signature(secret_key: str, device_id: str, claims: str) -> str:
    # The claims hold no line break, so a device's id cannot pass for a part of them.
    return _encode(hmac.digest(_key(secret_key), _bytes(f"{claims}\n{device_id}"), "sha256"))


def _key(secret_key: str) -> bytes:
    return hmac.digest(secret_key.encode(), _PURPOSE, "sha256")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
