"""However many metrics and points are asked for, an answer has a bounded number of numbers."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.history.columns import MOST_NUMBERS
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import write_batch
from joulebook.web.devices.models import Metric

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOURS = {"start": NOON.isoformat(), "end": (NOON + timedelta(hours=2)).isoformat()}
STATES = 300
VALUES = 20
MOST_BYTES = 400 << 20


@pytest.fixture
def states(writer, device, device_id):
    """Three hundred states that take twenty values each, and a level with a reading each second."""
    names = [f"state_{number:03d}" for number in range(STATES)]
    series = ensure_series(writer, [(device_id, metric) for metric in [*names, "level"]])
    begin, ids = to_microseconds(NOON), [series[device_id, name] for name in names]
    rows = np.arange(VALUES)
    write_batch(
        writer,
        Batch(
            np.repeat(np.array(ids, np.int32), VALUES),
            np.tile(begin + rows * 300 * MICROSECONDS, STATES),
            np.tile(rows.astype(np.float64), STATES),
        ),
    )
    seconds = np.arange(7200)
    level = np.full(len(seconds), series[device_id, "level"], np.int32)
    write_batch(writer, Batch(level, begin + seconds * MICROSECONDS, seconds.astype(np.float64)))
    Metric.objects.bulk_create(Metric(device=device, name=name, kind="state") for name in names)
    return names


@pytest.fixture
def ask(alice, client_of, device, transaction_on_both):
    client = client_of(alice)

    def ask(metrics=(), **query):
        return client.get(f"/api/history/{device.device_id}", {"metric": metrics, **HOURS, **query})

    return ask


def test_what_is_asked_for_explicitly_is_refused_with_the_remedy_before_it_is_read(states, ask):
    tracemalloc.start()
    try:
        answer = ask(max_points=5000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code == 400
    told = answer.json()
    assert told["parameter"] == "max_points"
    assert "301 metrics" in told["detail"]
    assert "ask for fewer metrics, or for max_points=" in told["detail"]
    assert peak < 50 << 20


def test_states_of_many_values_are_refused_while_they_are_read(states, ask):
    """Without their shares seventy states are few enough; with them they are five times as many."""
    metrics = ["level", *states[:70]]
    assert len(metrics) * 5 * 3600 < MOST_NUMBERS < len(metrics) * VALUES * 3600
    tracemalloc.start()
    try:
        answer = ask(metrics, max_points=5000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (answer.status_code, answer.json()["parameter"]) == (400, "max_points")
    assert peak < MOST_BYTES


def test_without_max_points_as_many_are_answered_as_there_is_room_for(states, ask):
    answer = ask()
    assert answer.status_code == 200
    told = json.loads(answer.content)
    numbers = sum(
        len(values)
        for series in told["series"]
        for values in [*(v for v in series.values() if isinstance(v, list)), *series_shares(series)]
    )
    assert len(told["series"]) == STATES + 1
    assert 10 <= told["points"] < 750
    assert numbers <= MOST_NUMBERS


def series_shares(series):
    return [state["share"] for state in series.get("states", ())]


def test_few_metrics_come_in_as_many_points_as_before(states, ask):
    assert ask(["level", *states[:5]], max_points=5000).json()["points"] > 750
    assert ask("level").json()["points"] > 600


@pytest.mark.parametrize("file_format", ["csv", "parquet", "arrow"])
def test_files_of_points_have_the_same_bound(states, ask, file_format):
    answer = ask(max_points=5000, format=file_format)
    assert (answer.status_code, answer.json()["parameter"]) == (400, "max_points")


def test_energy_of_many_metrics_in_many_days_is_refused(writer, device, device_id, alice, client_of,
                                                       transaction_on_both):  # fmt: skip
    series = ensure_series(writer, [(device_id, f"energy_{number}") for number in range(60)])
    ids = np.array(list(series.values()), np.int32)
    write_batch(writer, Batch(ids, np.full(60, to_microseconds(NOON)), np.ones(60)))
    client = client_of(alice)
    long = {"start": "2017-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}
    answer = client.get(f"/api/energy/{device_id}", long)
    assert (answer.status_code, answer.json()["parameter"]) == (400, "metric")
    assert "ask for fewer metrics, or for 1,666 days" in answer.json()["detail"]
    few = client.get(f"/api/energy/{device_id}", {**long, "metric": ["energy_1", "energy_2"]})
    assert few.status_code == 200
