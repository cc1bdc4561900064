"""`GET /api/energy/<device>` as scripts use it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import write_batch

START = datetime(2026, 2, 28, 23, tzinfo=UTC)
"""Midnight of the first of March in Berlin, whose clocks go forward on the 29th."""

MARCH = {"start": START.isoformat(), "end": (START + timedelta(days=30)).isoformat()}

pytestmark = pytest.mark.usefixtures("transaction_on_both")


@pytest.fixture
def home(device, writer):
    """A month of the device: 500 W and a register that rises by half a kWh an hour, every ten minutes."""
    metrics = ("power", "import_energy", "state")
    series = ensure_series(writer, [(device.device_id, metric) for metric in metrics])
    time = to_microseconds(START) + np.arange(31 * 144 + 1, dtype=np.int64) * 600_000_000
    for metric, value in zip(
        metrics, (np.full(len(time), 500.0), np.arange(len(time)) / 12, time * 0.0), strict=True
    ):
        number = np.full(len(time), series[device.device_id, metric], np.int32)
        write_batch(writer, Batch(number, time, value))
    return device


def test_power_and_registers_come_in_kilowatt_hours_by_local_day(home, alice, client_of):
    answer = client_of(alice).get(f"/api/energy/{home.device_id}", MARCH)
    assert answer.status_code == 200, answer.content
    table = answer.json()
    assert (table["per"], table["tz"], table["periods"]) == ("day", "Europe/Berlin", 31)
    register, power = table["series"]
    assert (register["metric"], register["unit"], power["unit"]) == ("import_energy", "kWh", "kWh")
    # The 29th has 23 hours. A rise is of the day of its later reading: the first day lacks the first ten minutes.
    assert power["energy"] == [12.0] * 28 + [11.5] + [12.0] * 2
    assert register["energy"][:3] == [11.916667, 12.0, 12.0]
    assert power["total"] == 371.5
    assert power["coverage"] == [1.0] * 31


def test_months_weeks_and_units_can_be_asked_for(home, alice, client_of):
    client = client_of(alice)
    month = client.get(
        f"/api/energy/{home.device_id}", {**MARCH, "per": "month", "metric": "power", "unit": "MJ"}
    ).json()
    assert [month["series"][0]["unit"], month["series"][0]["energy"]] == ["MJ", [1337.4]]
    weeks = client.get(f"/api/energy/{home.device_id}", {**MARCH, "per": "week", "metric": "power"}).json()
    assert datetime.fromtimestamp(weeks["time"][0], UTC).isoformat() == "2026-02-22T23:00:00+00:00"
    assert weeks["series"][0]["energy"] == [12.0, 84.0, 84.0, 84.0, 83.5, 24.5]


@pytest.mark.parametrize(
    ("query", "parameter", "words"),
    [
        ({"per": "year"}, "per", "day, week, month"),
        ({"metric": "state"}, "metric", "has no energy"),
        ({"metric": "nothing"}, "metric", "has no metric"),
        ({"metric": "power", "unit": "V"}, "unit", "measures energy"),
        ({"start": "1970-01-01T00:00:00Z"}, "start", "longer than 3700 days"),
        ({"max_points": "10"}, "max_points", "not known"),
    ],
)
def test_a_question_that_has_no_answer_is_told_why(home, alice, client_of, query, parameter, words):
    answer = client_of(alice).get(f"/api/energy/{home.device_id}", query)
    assert (answer.status_code, answer.json()["parameter"]) == (400, parameter)
    assert words in answer.json()["detail"]


def test_a_device_without_readings_has_an_empty_table(device, alice, client_of):
    answer = client_of(alice).get(f"/api/energy/{device.device_id}", {"range": "all"})
    assert (answer.status_code, answer.json()["series"]) == (200, [])


def test_others_are_refused_before_anything_is_read(home, charlie, client_of):
    answer = client_of(charlie).get(f"/api/energy/{home.device_id}")
    assert answer.status_code == 403
    assert answer.content == client_of(charlie).get("/api/energy/no-such-device").content
