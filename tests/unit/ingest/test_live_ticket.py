"""Tickets of the live feed: one device, one origin, less than a minute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.live_ticket import TICKET_SECONDS, TicketRefused, issue_ticket, open_ticket

KEY = "k" * 50
ORIGIN = "http://localhost:8000"


def test_a_ticket_opens_its_device_until_it_expires() -> None:
    ticket, expires_at = issue_ticket(KEY, "device_001", user=1, origin=ORIGIN, now=1000.7)
    assert expires_at == 1000 + TICKET_SECONDS
    for now in (1000.7, expires_at - 0.1):
        opened = open_ticket(KEY, "device_001", ticket, now=now)
        assert (opened.origin, opened.expires_at) == (ORIGIN, expires_at)
    with pytest.raises(TicketRefused, match="expired"):
        open_ticket(KEY, "device_001", ticket, now=expires_at)


def test_a_ticket_lasts_less_than_a_minute() -> None:
    assert TICKET_SECONDS < 60


def test_a_ticket_opens_no_other_device_and_not_under_another_key() -> None:
    ticket, _ = issue_ticket(KEY, "device_001", user=1, origin=ORIGIN, now=1000)
    for key, device in [(KEY, "device_002"), (KEY, "Device_001"), (KEY, ""), ("j" * 50, "device_001")]:
        with pytest.raises(TicketRefused, match="not valid"):
            open_ticket(key, device, ticket, now=1001)


@given(st.data())
def test_no_changed_ticket_opens_anything(data: st.DataObject) -> None:
    ticket, _ = issue_ticket(KEY, "device_001", user=1, origin=ORIGIN, now=1000)
    at = data.draw(st.integers(0, len(ticket) - 1))
    changed = ticket[:at] + data.draw(st.text(max_size=3)) + ticket[at + 1 :]
    if changed == ticket:
        return
    with pytest.raises(TicketRefused):
        open_ticket(KEY, "device_001", changed, now=1001)


@given(st.text())
def test_no_text_that_we_have_not_signed_opens_anything(text: str) -> None:
    with pytest.raises(TicketRefused):
        open_ticket(KEY, "device_001", text, now=1001)


def test_a_ticket_names_its_user_without_telling_who_that_is_and_is_like_no_other() -> None:
    tickets = [issue_ticket(KEY, "device_001", user=user, origin=ORIGIN, now=1000)[0] for user in (7, 7, 8)]
    first, second, other = (open_ticket(KEY, "device_001", ticket, now=1001) for ticket in tickets)
    assert first.user == second.user != other.user
    assert first.number != second.number
    assert (
        first.user
        != open_ticket(
            "j" * 50,
            "device_001",
            issue_ticket("j" * 50, "device_001", user=7, origin=ORIGIN, now=1000)[0],
            now=1001,
        ).user
    )
