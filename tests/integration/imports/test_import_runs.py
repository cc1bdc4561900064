"""The pages of an import that was ordered: its progress, its report, and taking it back."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from joulebook.web.imports.models import Import

from ..worker_process import keeping
from .pages import METER, draft, say, text
from .working import wait_for_state

State = Import.State


@pytest.fixture
def client(alice, client_of):
    return client_of(alice)


@pytest.fixture
def away(transaction_on_both, tmp_path):
    """Give Django a telemetry connection to where nobody answers."""
    reachable = connections["telemetry"]
    unreachable = reachable.copy()
    unreachable.settings_dict["HOST"] = str(tmp_path)
    connections["telemetry"] = unreachable
    yield
    connections["telemetry"] = reachable


@pytest.fixture
def queued(client, device):
    """The file of a meter, queued for Alice's device."""
    import_ = draft(client, METER, device=device.device_id)
    assert say(client, import_, "import-queue", device=device.device_id).status_code == 302
    return import_


def made(device, alice, **fields):
    """Return an import as it stands in some state."""
    import_ = Import.objects.create(device=device, user=alice, file_name="a.csv", file_size=1000, **fields)
    import_.devices.add(device)
    return import_


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.django_db(databases=["default", "telemetry"], transaction=True)
def test_the_report_adds_up_and_undoing_says_what_goes(client, device, telemetry, queued):
    with keeping(telemetry["writer"]):
        wait_for_state(queued, State.DONE)
        page = client.get(f"/imports/{queued.pk}/")
        shown = text(page)
        assert "4 read = 3 imported + 1 rejected" in shown
        assert (
            "6 = 4 stored + 0 replaced + 0 there already + 0 in conflict + 1 without a value + 1 malformed"
            in shown
        )
        assert "5 Leistung [kW] not a number value_type 1,5O" in shown
        assert "6 the whole row a time not matching the formats time_malformed 31.10.2024 24:10" in shown
        link = f"/devices/{device.device_id}/?start=2024-10-30T"
        assert page.content.decode().count(link) == 2
        answer = client.get(f"/imports/{queued.pk}/rejected.csv")
        rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
        assert [(row["line"], row["code"]) for row in rows] == [("5", "value_type"), ("6", "time_malformed")]
        asked = client.get(f"/imports/{queued.pk}/undo/")
        assert "4 readings of Home battery will be removed" in text(asked)
        queued.refresh_from_db()
        assert queued.state == State.DONE
        client.post(f"/imports/{queued.pk}/undo/")
        wait_for_state(queued, State.UNDONE)
    shown = text(client.get(f"/imports/{queued.pk}/"))
    assert "Undone by alice" in shown
    assert client.get(f"/imports/{queued.pk}/undo/")["Location"] == f"/imports/{queued.pk}/"
    assert "undone nothing left" in text(client.get("/imports/"))


def test_a_waiting_import_shows_itself_and_is_stopped(client, queued, transaction_on_both):
    page = client.get(f"/imports/{queued.pk}/")
    assert "Waiting for its turn" in text(page)
    assert 'hx-trigger="every 1s"' in page.content.decode()
    assert '<noscript><meta http-equiv="refresh"' in page.content.decode()
    assert "Is the worker running?" not in text(page)
    client.post(f"/imports/{queued.pk}/cancel/")
    queued.refresh_from_db()
    assert queued.state == State.CANCELLED
    assert client.get(f"/imports/{queued.pk}/progress/")["HX-Refresh"] == "true"
    assert "It ended before its first row was read" in text(client.get(f"/imports/{queued.pk}/"))


def test_a_page_asks_for_the_worker_where_nobody_takes_an_import(client, alice, device, transaction_on_both):
    now = timezone.now()
    waiting = made(device, alice, state=State.QUEUED, queued_at=now - timedelta(minutes=1))
    assert "Is the worker running?" in text(client.get(f"/imports/{waiting.pk}/progress/"))
    made(device, alice, state=State.RUNNING, heartbeat_at=now)
    assert "Other files are imported first." in text(client.get(f"/imports/{waiting.pk}/progress/"))
    silent = made(
        device, alice, state=State.RUNNING, leased_by="gone", heartbeat_at=now - timedelta(minutes=5)
    )
    assert "another one continues" in text(client.get(f"/imports/{silent.pk}/progress/"))


def test_progress_tells_bytes_rows_and_problems(client, alice, device, writer, transaction_on_both):
    from joulebook.telemetry.files.report import ImportReport
    from joulebook.telemetry.imports.progress import take_lease

    import_ = made(
        device, alice, state=State.RUNNING, lease=1, leased_by="worker", heartbeat_at=timezone.now()
    )
    report = ImportReport([], is_dry_run=False)
    report.rows_imported = 12345
    report.rows_rejected.update(time_malformed=7)
    take_lease(writer, import_id=import_.pk, lease=1)
    writer.execute(
        "UPDATE import_progress SET report = %s, bytes_read = 420 WHERE import_id = %s",
        [json.dumps(report.state()), import_.pk],
    )
    try:
        part = client.get(f"/imports/{import_.pk}/progress/")
        shown = text(part)
        assert "<html" not in part.content.decode()
        assert "Read 42 % 420" in shown
        assert "Rows 12 352" in shown
        assert "Problems 7" in shown
    finally:
        writer.execute("DELETE FROM import_progress WHERE import_id = %s", [import_.pk])


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State.REFUSED, "Nothing was stored, because not everything can be read."),
        (State.FAILED, "the disk is full"),
        (State.UNDOING, "Undoing the import"),
    ],
)
def test_each_end_is_told_in_words(client, alice, device, state, words, transaction_on_both):
    import_ = made(device, alice, state=state, problem="the disk is full" if state == State.FAILED else "")
    assert words in text(client.get(f"/imports/{import_.pk}/"))


def test_what_cannot_be_stopped_or_undone_any_more_says_so(client, alice, device, transaction_on_both):
    done = made(device, alice, state=State.DONE)
    client.post(f"/imports/{done.pk}/cancel/")
    assert "It cannot be stopped: this import has ended already." in text(client.get(f"/imports/{done.pk}/"))
    running = made(device, alice, state=State.RUNNING, lease=1)
    client.post(f"/imports/{running.pk}/undo/")
    running.refresh_from_db()
    assert running.state == State.RUNNING


def test_looking_changes_nothing(client, alice, device, transaction_on_both):
    for state in State:
        made(device, alice, state=state)
    before = sorted(map(str, Import.objects.values_list()))
    for import_ in Import.objects.all():
        for part in ("", "preview/", "queue/", "progress/", "cancel/", "undo/", "discard/", "rejected.csv"):
            client.get(f"/imports/{import_.pk}/{part}")
    assert sorted(map(str, Import.objects.values_list())) == before


def test_while_the_database_of_readings_is_away_drafts_go_on_and_progress_says_so(
    away, client, alice, device, queued
):
    assert "As it would be stored" in text(client.get(f"/imports/{draft(client, METER).pk}/"))
    assert "The database of the readings does not answer" in text(client.get(f"/imports/{queued.pk}/"))
    failed = made(device, alice, state=State.FAILED)
    for part in ("", "rejected.csv"):
        answer = client.get(f"/imports/{failed.pk}/{part}")
        assert (answer.status_code, answer["Retry-After"]) == (503, "5")


@pytest.mark.parametrize("part", ["preview/", "progress/"])
def test_a_page_whose_session_has_ended_is_loaded_anew_and_not_filled_with_the_sign_in_page(
    alice, device, transaction_on_both, part
):
    import_ = made(device, alice, state=State.RUNNING)
    stranger = Client()
    asked = stranger.get(f"/imports/{import_.pk}/{part}", headers={"HX-Request": "true"})
    assert (asked.status_code, asked["HX-Refresh"], asked.content) == (200, "true", b"")
    plain = stranger.get(f"/imports/{import_.pk}/{part}")
    assert plain["Location"] == f"/sign-in/?next=/imports/{import_.pk}/{part}"
