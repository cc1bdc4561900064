"""The tokens of a device: listed for its owner with their last use, and revoked after a question."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from django.test import Client
from django.utils import timezone

from joulebook.web.devices.models import DeviceToken, GatewayToken
from joulebook.web.devices.operations import create_device, issue_device_token, issue_gateway_token


@pytest.fixture
def token(device) -> DeviceToken:
    issue_device_token(device)
    return DeviceToken.objects.get(device=device)


@pytest.fixture
def base(device) -> str:
    return f"/devices/{device.device_id}/"


def lines(page: str) -> list[str]:
    """Return the text of each line of the list of tokens."""
    section = re.search(r'id="tokens".*?</section>', page, re.DOTALL)
    assert section
    found = re.findall(r"<li>(.*?)</li>", section[0], re.DOTALL)
    return [" ".join(re.sub(r"<[^>]*>", " ", line).split()) for line in found]


class TestWhoMay:
    """These tests allow no database but `default`: any statement to telemetry is an error."""

    @pytest.mark.parametrize(("method", "path"), [("get", "{}/"), ("post", "{}/revoke/")])
    def test_charlie_gets_the_same_404_as_for_no_device_and_bob_403(
        self, base, token, bob, charlie, client_of, method, path
    ):
        place = "tokens/" + path.format(token.prefix)
        client = client_of(charlie)
        hers = getattr(client, method)(base + place)
        nobodys = getattr(client, method)(f"/devices/no_such_device/{place}")
        assert hers.status_code == nobodys.status_code == 404
        assert getattr(client_of(bob), method)(base + place).status_code == 403
        token.refresh_from_db()
        assert token.revoked_at is None

    def test_a_stranger_is_asked_to_sign_in(self, base, token, client):
        for answer in (client.get(f"{base}tokens/{token.prefix}/"), client.post(f"{base}tokens/x/revoke/")):
            assert answer.status_code == 302
            assert answer.headers["Location"].startswith("/sign-in/")

    def test_reading_a_page_revokes_nothing_and_a_foreign_form_neither(self, base, token, alice, client_of):
        address = f"{base}tokens/{token.prefix}/revoke/"
        assert client_of(alice).get(address).status_code == 405
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(alice)
        assert strict.post(address).status_code == 403
        token.refresh_from_db()
        assert token.revoked_at is None

    def test_an_owner_reaches_the_tokens_of_no_other_device(self, token, base, charlie, client_of):
        theirs = create_device("of_charlie", owner=charlie)
        issue_device_token(theirs)
        foreign = f"/devices/of_charlie/tokens/{token.prefix}/revoke/"
        assert client_of(charlie).post(foreign).status_code == 404
        token.refresh_from_db()
        assert token.revoked_at is None

    def test_a_gateways_token_of_a_former_owner_is_not_shown(self, device, alice, charlie, client_of):
        issue_gateway_token([device], name="barn")
        prefix = GatewayToken.objects.get().prefix
        device.owner = charlie
        device.save()
        assert client_of(charlie).get(f"/devices/{device.device_id}/tokens/{prefix}/").status_code == 404


@pytest.mark.usefixtures("transaction_on_both")
class TestTheList:
    def test_it_tells_use_and_state_and_never_the_secret(self, device, base, alice, client_of):
        now = timezone.now()
        text = issue_device_token(device)
        issue_device_token(device)
        issue_device_token(device)
        first, second, third = DeviceToken.objects.order_by("pk")
        DeviceToken.objects.filter(pk=second.pk).update(last_used_at=now - timedelta(minutes=3))
        third.revoke(now=now - timedelta(days=2))
        issue_gateway_token([device], name="<b>barn")
        gateway = GatewayToken.objects.get()
        page = client_of(alice).get(f"{base}settings/").content.decode()
        assert lines(page) == [
            f"{gateway.prefix}_… gateway “&lt;b&gt;barn” never used in force",
            f"{second.prefix}_… device used 3 min ago in force",
            f"{first.prefix}_… device never used in force",
            f"{third.prefix}_… device never used revoked 2 d ago",
        ]
        assert text not in page
        assert "<b>barn" not in page
        assert f"joulebook device token {device.device_id}" in page

    def test_a_device_without_a_token_says_so(self, base, alice, client_of):
        page = client_of(alice).get(f"{base}settings/").content.decode()
        assert lines(page) == []
        assert "nothing can write for this device" in page


class TestATokensPage:
    def test_it_asks_before_it_revokes_and_says_what_else_a_gateway_writes_for(
        self, device, base, alice, client_of
    ):
        other = create_device(f"{device.device_id}_b", owner=alice, name="Roof")
        issue_gateway_token([device, other], name="barn")
        prefix = GatewayToken.objects.get().prefix
        page = client_of(alice).get(f"{base}tokens/{prefix}/").content.decode()
        assert "Home battery" in page
        assert "Roof" in page
        assert f'action="{base}tokens/{prefix}/revoke/"' in page
        assert "cannot be undone" in page

    def test_a_revoked_one_shows_since_when_and_offers_nothing(self, base, token, alice, client_of):
        token.revoke(now=timezone.now() - timedelta(hours=1))
        page = client_of(alice).get(f"{base}tokens/{token.prefix}/").content.decode()
        assert "1 h ago" in page
        assert "/revoke/" not in page

    def test_one_that_is_not_there_is_404(self, base, alice, client_of):
        assert client_of(alice).get(f"{base}tokens/jbd00000000/").status_code == 404
        assert client_of(alice).post(f"{base}tokens/jbd00000000/revoke/").status_code == 404

    def test_revoking_twice_keeps_the_first_moment(self, base, token, alice, client_of):
        client = client_of(alice)
        answer = client.post(f"{base}tokens/{token.prefix}/revoke/")
        assert (answer.status_code, answer.headers["Location"]) == (302, f"{base}settings/#tokens")
        token.refresh_from_db()
        first = token.revoked_at
        assert first is not None
        client.post(f"{base}tokens/{token.prefix}/revoke/")
        token.refresh_from_db()
        assert token.revoked_at == first


def test_the_admin_lists_the_last_use_of_both_kinds(device, token, make_user, client_of):
    issue_gateway_token([device], name="barn")
    used = datetime(2026, 11, 21, 13, 5, tzinfo=UTC)
    for kind in (DeviceToken, GatewayToken):
        kind.objects.update(last_used_at=used)
    root = make_user("root")
    root.is_staff = root.is_superuser = True
    root.save()
    for page in ("devicetoken", "gatewaytoken"):
        listed = client_of(root).get(f"/admin/devices/{page}/").content.decode()
        assert re.findall(r"field-last_used_at[^>]*>([^<]*)<", listed) == ["21 Nov 2026, 1:05 p.m."]


def test_a_token_that_was_revoked_on_its_page_is_refused_by_ingest_within_ten_seconds(
    device, device_token, alice, client_of, ingest
):
    headers = {"Authorization": f"Bearer {device_token}"}

    def post() -> int:
        return httpx.post(f"{ingest.url}/api/readings", json={"power": 1}, headers=headers).status_code

    assert post() == 200
    prefix = device_token.partition("_")[0]
    client_of(alice).post(f"/devices/{device.device_id}/tokens/{prefix}/revoke/")
    deadline = time.monotonic() + 10
    while post() != 401:
        assert time.monotonic() < deadline
        time.sleep(0.2)
