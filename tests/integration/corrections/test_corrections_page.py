"""The page of a device's corrections: seen by everybody who sees the device, undone by its owner, without scripts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import write_batch
from joulebook.web.corrections.models import Correction

START = datetime(2026, 3, 1, 12, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("transaction_on_both", "no_corrections")


@pytest.fixture
def home(device, writer):
    """An hour of 600 W, a reading a minute."""
    series = ensure_series(writer, [(device.device_id, "power")])[device.device_id, "power"]
    time = to_microseconds(START) + np.arange(60, dtype=np.int64) * 60_000_000
    write_batch(writer, Batch(np.full(60, series, np.int32), time, np.full(60, 600.0)))
    return device


def order(client, home, **fields):
    """Order a correction of ten minutes and return its number."""
    body = {
        "device": home.device_id,
        "metrics": ["power"],
        "start": START.isoformat(),
        "end": (START + timedelta(minutes=10)).isoformat(),
        "reason": "<b>wrong</b>",
        **fields,
    }
    answer = client.post("/api/corrections", body, content_type="application/json")
    assert answer.status_code == 202, answer.content
    return answer.json()["id"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "delete"}, "deleted"),
        ({"kind": "set", "value": 5}, "set to 5.00\u202fW"),
        ({"kind": "scale", "factor": 2, "offset": 1}, "value × 2 + 1 W"),
        ({"kind": "shift", "seconds": -3600}, "moved by -3600 s"),
        ({"kind": "fill", "step": 30}, "filled with a straight line every 30 s"),
    ],
)
def test_it_says_what_was_done_by_whom_and_why(home, alice, client_of, work, fields, words):
    client = client_of(alice)
    number = order(client, home, **fields)
    page = client.get(f"/devices/{home.device_id}/corrections/").content.decode()
    assert "waits for a worker" in page
    work()
    page = client.get(f"/devices/{home.device_id}/corrections/").content.decode()
    assert words in page
    assert f"No. {number} by alice" in page
    assert "&lt;b&gt;wrong&lt;/b&gt;" in page
    assert "waits for a worker" not in page
    # The device's own page lists it, too.
    assert words in client.get(f"/devices/{home.device_id}/").content.decode()


def test_its_owner_undoes_one_by_a_form(home, alice, client_of, work):
    client = client_of(alice)
    number = order(client, home, kind="delete")
    work()
    answer = client.post(f"/devices/{home.device_id}/corrections/{number}/undo/", follow=True)
    assert f"Correction {number} is being undone." in answer.content.decode()
    work()
    assert Correction.objects.get(pk=number).state == Correction.State.UNDONE
    page = client.get(f"/devices/{home.device_id}/corrections/").content.decode()
    assert "Undone by alice" in page
    assert "<button>Undo" not in page
    again = client.post(f"/devices/{home.device_id}/corrections/{number}/undo/", follow=True)
    assert "can be undone" in again.content.decode()


def test_bob_sees_the_list_without_buttons_and_charlie_nothing(home, alice, bob, charlie, client_of, work):
    number = order(client_of(alice), home, kind="delete")
    work()
    page = client_of(bob).get(f"/devices/{home.device_id}/corrections/")
    assert page.status_code == 200
    assert "<button>Undo" not in page.content.decode()
    assert client_of(bob).post(f"/devices/{home.device_id}/corrections/{number}/undo/").status_code == 403
    assert client_of(charlie).get(f"/devices/{home.device_id}/corrections/").status_code == 404
    assert client_of(charlie).post(f"/devices/{home.device_id}/corrections/{number}/undo/").status_code == 404
    assert Correction.objects.get(pk=number).state == Correction.State.DONE


def test_a_correction_of_another_device_is_not_found(home, alice, client_of):
    assert client_of(alice).post(f"/devices/{home.device_id}/corrections/999999/undo/").status_code == 404


def test_a_device_without_corrections_says_how_to_make_one(home, alice, client_of):
    page = client_of(alice).get(f"/devices/{home.device_id}/corrections/").content.decode()
    assert "No readings of this device were corrected." in page
