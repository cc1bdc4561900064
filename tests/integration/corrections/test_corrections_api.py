"""`/api/corrections` as scripts and the chart use it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import Outcome, write_batch

START = datetime(2026, 3, 1, 23, tzinfo=UTC)
"""Midnight in Berlin."""
TWO_DAYS = {"start": START.isoformat(), "end": (START + timedelta(days=2)).isoformat()}
SPIKE = START + timedelta(hours=12)

pytestmark = pytest.mark.usefixtures("transaction_on_both", "no_corrections")


@pytest.fixture
def home(device, writer):
    """Two days of 600 W and of a register at 12,000 kWh, every ten minutes; one reading of each is a spike."""
    series = ensure_series(writer, [(device.device_id, metric) for metric in ("power", "total_energy")])
    time = to_microseconds(START) + np.arange(289, dtype=np.int64) * 600_000_000
    power, register = np.full(289, 600.0), 12_000 + np.arange(289) / 10
    power[72], register[72] = 99_999.0, 99_999.0
    for metric, value in (("power", power), ("total_energy", register)):
        number = np.full(289, series[device.device_id, metric], np.int32)
        write_batch(writer, Batch(number, time, value))
    return device


def ask(client, device, **fields):
    body = {"device": device.device_id, "kind": "delete", "metrics": ["power"], **fields}
    return client.post("/api/corrections", body, content_type="application/json")


def days(client, device, metric="power"):
    answer = client.get(f"/api/energy/{device.device_id}", {**TWO_DAYS, "metric": metric})
    return answer.json()["series"][0]["energy"]


def test_a_spike_is_previewed_deleted_and_comes_back_by_undo(home, alice, client_of, work):
    client = client_of(alice)
    before = days(client, home)
    preview = ask(client, home, times=[SPIKE.isoformat()], dry_run=True)
    assert preview.status_code == 200, preview.content
    [metric] = preview.json()["metrics"]
    assert (metric["changed"], metric["conflicts"], metric["more"]) == (1, 0, False)
    assert metric["examples"] == [
        {
            "time": SPIKE.isoformat().replace("+00:00", "Z"),
            "value": 99999.0,
            "new_time": None,
            "new_value": None,
        }
    ]
    assert days(client, home) == before
    made = ask(client, home, times=[SPIKE.isoformat()], reason="a lightning stroke")
    assert (made.status_code, made.json()["state"]) == (202, "queued")
    assert work() == 1
    after = days(client, home)
    assert after == [14.4, 14.4]
    [energy] = preview.json()["energy"]
    assert energy["days"] == [{"date": "2026-03-02", "before": before[0], "after": after[0]}]
    number = made.json()["id"]
    shown = client.get(f"/api/corrections/{number}").json()
    assert (shown["state"], shown["changed"], shown["user"], shown["reason"]) == (
        "done", 1, "alice", "a lightning stroke",
    )  # fmt: skip
    assert client.post(f"/api/corrections/{number}/undo").status_code == 202
    assert work() == 1
    assert days(client, home) == before
    assert (
        client.get("/api/corrections", {"device": home.device_id}).json()["corrections"][0]["state"]
        == "undone"
    )


def test_a_deleted_reading_stays_deleted_when_it_is_sent_again_until_the_undo(
    home, alice, client_of, work, writer
):
    client = client_of(alice)
    number = ask(client, home, times=[SPIKE.isoformat()]).json()["id"]
    work()
    [series] = ensure_series(writer, [(home.device_id, "power")]).values()
    again = Batch(np.array([series], np.int32), np.array([to_microseconds(SPIKE)]), np.array([99_999.0]))
    assert write_batch(writer, again).tolist() == [Outcome.DUPLICATE]
    assert write_batch(writer, again, replace=True).tolist() == [Outcome.DUPLICATE]
    assert days(client, home) == [14.4, 14.4]
    client.post(f"/api/corrections/{number}/undo")
    work()
    assert days(client, home) != [14.4, 14.4]
    assert write_batch(writer, again).tolist() == [Outcome.DUPLICATE]


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({"kind": "set", "value": 600}, 144),
        ({"kind": "scale", "factor": 0.001, "offset": 3}, 144),
        ({"kind": "shift", "seconds": 300}, 144),
        # Each reading would move to one that cannot move: behind the last ones are those of the next day.
        ({"kind": "shift", "seconds": 3600}, 0),
        ({"kind": "shift", "seconds": 86400}, 0),
        ({"kind": "shift", "seconds": -86400}, 144),
        ({"kind": "delete"}, 144),
        ({"kind": "fill", "step": 60}, 1296),
        ({"kind": "fill", "step": 60, "value": 700}, 1296),
    ],
)
def test_the_preview_of_every_kind_is_what_then_happens(home, alice, client_of, work, fields, changed):
    client = client_of(alice)
    span = {
        "start": START.isoformat(),
        "end": (START + timedelta(days=1)).isoformat(),
        "metrics": ["power", "total_energy"],
    }
    wide = {
        "start": (START - timedelta(days=2)).isoformat(),
        "end": (START + timedelta(days=4)).isoformat(),
    }
    preview = ask(client, home, **span, **fields, dry_run=True)
    assert preview.status_code == 200, preview.content
    made = ask(client, home, **span, **fields)
    assert made.status_code == 202, made.content
    work()
    shown = client.get(f"/api/corrections/{made.json()['id']}").json()
    assert [each["changed"] for each in preview.json()["metrics"]] == [changed, changed]
    assert [each["changed"] for each in shown["metrics"]] == [changed, changed]
    assert [each["conflicts"] for each in preview.json()["metrics"]] == [
        each["conflicts"] for each in shown["metrics"]
    ]
    answer = client.get(f"/api/energy/{home.device_id}", wide).json()
    after = {each["metric"]: each for each in answer["series"]}
    for energy in preview.json()["energy"]:
        by_day = dict(
            zip(
                [
                    f"{datetime.fromtimestamp(day, UTC) + timedelta(hours=1):%Y-%m-%d}"
                    for day in answer["time"]
                ],
                after[energy["metric"]]["energy"],
                strict=True,
            )
        )
        assert (
            energy["days"] or changed == 0 or fields["kind"] == "fill" or energy["metric"] == "total_energy"
        )
        for day in energy["days"]:
            assert by_day[day["date"]] == day["after"]
        change = sum(day["after"] - day["before"] for day in energy["days"])
        assert energy["after"] - energy["before"] == pytest.approx(change)


def test_numbers_are_in_the_units_as_shown(home, alice, client_of, work):
    client = client_of(alice)
    patched = client.patch(
        f"/api/devices/{home.device_id}/metrics/power",
        {"unit": "kW", "factor": 0.001},
        content_type="application/json",
    )
    assert patched.status_code == 200
    ask(client, home, kind="set", value=0.6, times=[SPIKE.isoformat()])
    work()
    assert days(client, home) == [14.4, 14.4]


@pytest.mark.parametrize(
    ("fields", "parameter", "words"),
    [
        ({"kind": "melt"}, "kind", "delete"),
        ({"metrics": []}, "metrics", "at least 1"),
        ({"metrics": ["nothing"]}, "metrics", "has no metric"),
        ({}, "start", "give start and end"),
        ({**TWO_DAYS, "times": [SPIKE.isoformat()]}, "times", "times, or start and end"),
        ({"start": TWO_DAYS["end"], "end": TWO_DAYS["start"]}, "start", "before end"),
        ({"kind": "set", **TWO_DAYS}, "value", "needs value"),
        ({"kind": "scale", **TWO_DAYS}, "factor", "needs factor"),
        ({"kind": "scale", "factor": 0, **TWO_DAYS}, "factor", "must not be 0"),
        ({"kind": "shift", "seconds": 0, **TWO_DAYS}, "seconds", "microsecond"),
        ({"kind": "shift", "seconds": 1e12, **TWO_DAYS}, "seconds", "future"),
        ({"kind": "shift", "seconds": -1e12, **TWO_DAYS}, "seconds", "1970"),
        ({"kind": "fill", "step": 0, **TWO_DAYS}, "step", "at least"),
        ({"kind": "fill", "step": 0.001, **TWO_DAYS}, "step", "1,000,000"),
        ({"kind": "delete", "value": 1, **TWO_DAYS}, "value", "takes no value"),
        ({"kind": "set", "value": 1e101, **TWO_DAYS}, "value", "largest"),
        ({"kind": "set", "value": True, **TWO_DAYS}, "value", "number"),
        ({"start": "2026-03-01", "end": "2026-03-02"}, "start", "time such as"),
        ({"reason": "x" * 501, **TWO_DAYS}, "reason", "500"),
    ],
)
def test_a_correction_that_cannot_be_made_is_refused_with_the_field(
    home, alice, client_of, fields, parameter, words
):
    answer = ask(client_of(alice), home, **fields)
    assert (answer.status_code, answer.json()["parameter"]) == (400, parameter), answer.content
    assert words in answer.json()["detail"]


def test_a_list_without_a_device_is_refused_with_the_parameter(home, alice, client_of):
    answer = client_of(alice).get("/api/corrections")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert answer.json()["parameter"] == "device"


def test_a_bad_value_is_named_before_what_is_missing(alice, client_of):
    client = client_of(alice)
    listed = client.get("/api/corrections", {"limit": "0"})
    assert (listed.status_code, listed.json()["parameter"]) == (400, "limit")
    made = client.post("/api/corrections", {"seconds": "1"}, content_type="application/json")
    assert (made.status_code, made.json()["parameter"]) == (400, "seconds")


def test_only_the_owner_corrects_and_undoes_and_sharers_see_the_list(
    home, alice, bob, charlie, client_of, work
):
    fields = {"times": [SPIKE.isoformat()]}
    assert ask(client_of(bob), home, **fields).status_code == 403
    assert ask(client_of(charlie), home, **fields).status_code == 403
    number = ask(client_of(alice), home, **fields).json()["id"]
    work()
    listed = client_of(bob).get("/api/corrections", {"device": home.device_id}).json()["corrections"]
    assert [each["id"] for each in listed] == [number]
    assert client_of(bob).get(f"/api/corrections/{number}").status_code == 200
    assert client_of(bob).post(f"/api/corrections/{number}/undo").status_code == 403
    for answer in (
        client_of(charlie).get("/api/corrections", {"device": home.device_id}),
        client_of(charlie).get(f"/api/corrections/{number}"),
        client_of(charlie).post(f"/api/corrections/{number}/undo"),
    ):
        assert answer.status_code == 403
    missing = client_of(charlie).get("/api/corrections/999999999")
    assert missing.content == client_of(charlie).get(f"/api/corrections/{number}").content


def test_a_correction_is_undone_once(home, alice, client_of, work):
    client = client_of(alice)
    number = ask(client, home, times=[SPIKE.isoformat()]).json()["id"]
    assert client.post(f"/api/corrections/{number}/undo").json()["state"] == "undone"
    assert work() == 0
    again = client.post(f"/api/corrections/{number}/undo")
    assert again.status_code == 409
    assert again.json()["detail"].startswith(f"correction {number} is undone: only")
