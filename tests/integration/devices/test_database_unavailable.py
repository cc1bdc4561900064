"""What the web answers while the database of readings cannot be reached."""

from __future__ import annotations

import pytest
from django.db import connections


@pytest.fixture
def away(transaction_on_both, tmp_path):
    """Give Django a telemetry connection to where nobody answers."""
    reachable = connections["telemetry"]
    unreachable = reachable.copy()
    unreachable.settings_dict["HOST"] = str(tmp_path)
    connections["telemetry"] = unreachable
    yield
    connections["telemetry"] = reachable


@pytest.mark.parametrize("page", ["/", "/devices/{}/", "/api/history/{}"])
def test_it_says_so_with_503_and_when_to_come_back(away, alice, device, client_of, page):
    answer = client_of(alice).get(page.format(device.device_id))
    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"


def test_readiness_fails_and_liveness_does_not(away, client):
    assert client.get("/livez").status_code == 200
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "telemetry" in answer.json()["message"]


def test_accounts_can_still_be_managed(away, alice, client_of):
    assert client_of(alice).get("/profile/").status_code == 200


def test_charlie_is_still_refused_first(away, device, charlie, client_of):
    assert client_of(charlie).get(f"/api/history/{device.device_id}").status_code == 403
