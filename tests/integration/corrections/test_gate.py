"""The gate of corrections: a refused request never reaches the database of the readings."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.django_db(databases=["default"])


@pytest.mark.parametrize("who", ["bob", "charlie"])
def test_a_refused_correction_reads_nothing_of_the_readings(device, bob, charlie, client_of, who):
    client = client_of({"bob": bob, "charlie": charlie}[who])
    body = {"device": device.device_id, "kind": "delete", "metrics": ["x"], "times": ["2026-03-01T00:00:00Z"]}
    for dry_run in (False, True):
        answer = client.post(
            "/api/corrections", {**body, "dry_run": dry_run}, content_type="application/json"
        )
        assert answer.status_code == 403
