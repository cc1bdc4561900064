"""The form that exports: what is entered becomes the file's address, also without a script."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from joulebook.web.devices.models import Device

ClientOf = Callable[..., "Client"]


@pytest.fixture
def address(device: Device) -> str:
    return f"/devices/{device.device_id}/export/"


def test_only_who_may_see_the_device_gets_the_form(
    device: Device, address: str, alice: User, bob: User, charlie: User, client: Client, client_of: ClientOf
) -> None:
    assert client_of(alice).get(address).status_code == 200
    assert client_of(bob).get(address).status_code == 200
    hers = client_of(charlie).get(address, {"format": "csv"})
    nobodys = client_of(charlie).get("/devices/no_such_device/export/", {"format": "csv"})
    assert (hers.status_code, nobodys.status_code) == (404, 404)
    assert client.get(address).url.startswith("/sign-in/")  # type: ignore[attr-defined]


def test_it_changes_nothing_and_takes_no_post(address: str, alice: User, client_of: ClientOf) -> None:
    assert client_of(alice).post(address, {"format": "csv"}).status_code == 405


@pytest.mark.parametrize(
    ("entered", "query"),
    [
        ({"which": "shown", "range": "7d"}, {"range": "7d"}),
        ({"which": "all", "range": "7d", "begin": "x"}, {"range": "all"}),
        ({}, {"range": "24h"}),
        (
            {"which": "shown", "start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z"},
            {"start": "2026-03-01T00:00:00Z", "end": "2026-03-02T00:00:00Z"},
        ),
        (
            {"which": "own", "begin": "2026-03-29T01:30", "until": "2026-03-29T03:30:10"},
            {"start": "2026-03-29T00:30:00+00:00", "end": "2026-03-29T01:30:10+00:00"},
        ),
        (
            {"which": "own", "begin": "2026-03-29T01:30", "until": "2026-03-29T03:30", "tz": "UTC"},
            {"start": "2026-03-29T01:30:00+00:00", "end": "2026-03-29T03:30:00+00:00"},
        ),
    ],
)
def test_what_is_entered_by_the_devices_clock_becomes_the_files_address(
    device: Device, address: str, alice: User, client_of: ClientOf, entered: Any, query: Any
) -> None:
    answer = client_of(alice).get(address, {"format": "parquet", "layout": "long", **entered})
    assert answer.status_code == 302
    there = urlsplit(answer["Location"])
    assert there.path == f"/api/export/{device.device_id}"
    assert {name: value for name, [value] in parse_qs(there.query).items()} == {
        "format": "parquet", "layout": "long", **query,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("entered", "said"),
    [
        ({"which": "own"}, "From: enter a date and a time"),
        ({"which": "own", "begin": "2026-03-01T00:00"}, "To: enter a date and a time"),
        ({"which": "own", "begin": "9999-12-31T23:59", "until": "2026-03-01T00:00"}, "1970 to 2199"),
        ({"which": "own", "begin": "2026-03-02T00:00", "until": "2026-03-01T00:00"}, "is not before the end"),
        ({"format": "<b>"}, "is not one of csv, parquet, arrow"),
        ({"layout": "tall"}, "is not one of wide, long"),
        ({"range": "2h"}, "is not one of 10m"),
        ({"which": "own", "begin": "2026-03-01T00:00", "tz": "Berlin"}, "is not an IANA time zone"),
    ],
)
def test_what_cannot_be_done_is_said_above_the_form_with_what_was_entered(
    address: str, alice: User, client_of: ClientOf, entered: Any, said: str
) -> None:
    answer = client_of(alice).get(address, {"format": "csv", **entered})
    text = answer.content.decode()
    assert answer.status_code == 400
    assert said in text
    assert "'<b>" not in text
    if entered.get("which") == "own":
        assert 'value="own" checked' in text
        assert f'value="{entered.get("begin", "")}"' in text
