"""Where pages send browsers and devices: ingest's own address, or the public one in front of a proxy."""

from __future__ import annotations

import dataclasses
import html

import pytest

pytestmark = pytest.mark.usefixtures("transaction_on_both")


@pytest.fixture
def public(settings, request):
    """Set JOULEBOOK_INGEST_URL as the web's start would."""

    def name(address: str | None) -> None:
        settings.CONFIG = dataclasses.replace(settings.CONFIG, ingest_url=address)

    return name


def connect_sources(response) -> set[str]:
    policy = dict(
        part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";")
    )
    return set(policy["connect-src"].split())


def test_behind_a_proxy_commands_live_feed_and_policy_name_the_public_address(
    device, alice, client_of, public
):
    public("https://energy.example/ingest")
    client = client_of(alice)
    page = client.get(f"/devices/{device.device_id}/")
    assert "https://energy.example/ingest/api/readings" in html.unescape(page.content.decode())
    assert connect_sources(page) == {"'self'", "https://energy.example"}
    ticket = client.post(f"/api/live-ticket/{device.device_id}").json()
    assert ticket["url"].startswith(f"https://energy.example/ingest/live/{device.device_id}?ticket=")
    assert "https://energy.example/ingest/api/readings" in html.unescape(client.get("/").content.decode())


def test_without_one_they_name_the_address_on_which_ingest_listens(
    device, alice, client_of, public, settings
):
    public(None)
    own = f"http://127.0.0.1:{settings.CONFIG.ingest_port}"
    client = client_of(alice)
    page = client.get(f"/devices/{device.device_id}/")
    assert f"{own}/api/readings" in page.content.decode()
    assert connect_sources(page) == {"'self'", own}
    assert client.post(f"/api/live-ticket/{device.device_id}").json()["url"].startswith(f"{own}/live/")


def test_pages_that_do_not_speak_to_ingest_may_not(device, alice, client_of, public):
    public("https://energy.example")
    assert connect_sources(client_of(alice).get("/profile/")) == {"'self'"}
