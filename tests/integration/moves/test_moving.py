"""The history of a home moves from a real InfluxDB and VictoriaMetrics: counts and sums equal, undone without a trace."""

from __future__ import annotations

import csv
import json
import math
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ..ingest.conformance import influxd
from ..ingest.conformance.influxd import InfluxDB
from . import victoria
from .victoria import VictoriaMetrics

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from joulebook.web.devices.models import Device

Command = Callable[..., subprocess.CompletedProcess[str]]
NEW_YEAR = 1_609_459_200  # 2021-01-01T00:00:00Z

needs_influxd = pytest.mark.skipif(
    influxd.PROGRAM is None, reason="influxd is not installed; on Debian: apt-get install influxdb"
)
needs_victoria = pytest.mark.skipif(
    victoria.PROGRAM is None,
    reason="victoria-metrics is not installed; on Debian: apt-get install victoria-metrics",
)


@pytest.fixture
def home(transactional_db: None, telemetry: dict[str, str], device: Device) -> str:
    """The id of Alice's device, committed, so that the command sees it."""
    return device.device_id


@pytest.fixture(scope="module")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDB]:
    server = InfluxDB(tmp_path_factory.mktemp("influx"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def victoria_metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VictoriaMetrics]:
    server = VictoriaMetrics(tmp_path_factory.mktemp("victoria"))
    yield server
    server.stop()


History = dict[str, list[tuple[int, float]]]
"""Readings by metric: seconds since 1970 and values."""


def make_history(names: list[str], *, every: int = 60, count: int = 3000) -> History:
    """Return readings whose sums show every bit."""
    source = random.Random(7)
    return {
        name: [(NEW_YEAR + at * every, source.choice([0.1, 1e6]) * source.random()) for at in range(count)]
        for name in names
    }


def stored(url: str) -> dict[tuple[str, str], list[tuple[int, float]]]:
    with psycopg.connect(url) as conn:
        rows = conn.execute(
            "SELECT device_id, metric, round(extract(epoch FROM time) * 1000000)::bigint, value FROM readings "
            "JOIN series ON series.id = series_id ORDER BY time"
        ).fetchall()
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for device_id, metric, time, value in rows:
        found.setdefault((device_id, metric), []).append((time, value))
    return found


def in_microseconds(readings: list[tuple[int, float]]) -> list[tuple[int, float]]:
    return [(time * 1_000_000, value) for time, value in readings]


def write_home(influx: InfluxDB, history: History) -> None:
    """Write a history as Home Assistant does, with the attributes that are text."""
    influx.query("DROP DATABASE odd")
    influx.query("CREATE DATABASE odd")
    lines = []
    for entity, readings in history.items():
        domain, _, entity_id = entity.partition(".")
        head = f"W,domain={domain},entity_id={entity_id}"
        lines += [
            f'{head} value={value!r},friendly_name_str="The {entity_id}" {time}' for time, value in readings
        ]
    for at in range(0, len(lines), 5000):
        assert influx.write("\n".join(lines[at : at + 5000]).encode(), precision="s") == 204


def moved(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@needs_influxd
def test_a_home_moves_from_influxdb_with_equal_counts_and_sums_and_is_undone(
    joulebook: Command, influx: InfluxDB, home: str, telemetry: dict[str, str]
) -> None:
    history = make_history(["sensor.grid", "sensor.sun"])
    write_home(influx, history)
    url = f"http://127.0.0.1:{influx.port}"
    before = stored(telemetry["reader"])

    planned = moved(joulebook("move", "influx", url, "--device", home, "--dry-run", "--json"))
    assert stored(telemetry["reader"]) == before
    assert [(row["metric"], row["count"], row["unit"]) for row in planned["series"]] == [
        ("sensor.grid", 3000, "W"), ("sensor.sun", 3000, "W"),
    ]  # fmt: skip

    answer = moved(joulebook("move", "influx", url, "--device", home, "--json"))
    after = stored(telemetry["reader"])
    for row in answer["series"]:
        readings = history[row["metric"]]
        assert after[home, row["metric"]] == in_microseconds(readings)
        exact = math.fsum(value for _, value in readings)
        assert (row["count"], row["sum"], row["stored_sum"], row["is_equal"]) == (3000, exact, exact, True)

    again = moved(joulebook("move", "influx", url, "--device", home, "--json"))
    assert again["import_id"] != answer["import_id"]
    assert stored(telemetry["reader"]) == after

    for number in (again["import_id"], answer["import_id"]):
        assert joulebook("imports", "undo", str(number)).returncode == 0
    assert stored(telemetry["reader"]) == before


@needs_influxd
def test_devices_are_named_by_tags_and_made_for_their_owner(
    joulebook: Command, influx: InfluxDB, home: str, alice: User, telemetry: dict[str, str]
) -> None:
    influx.query("DROP DATABASE odd")
    influx.query("CREATE DATABASE odd")
    influx.write(
        f"pump,host=cellar,room=a\\ b on=true,starts=7i {NEW_YEAR}\npump,host=roof on=false {NEW_YEAR}".encode(),
        precision="s",
    )
    url = f"http://127.0.0.1:{influx.port}"
    refused = joulebook("move", "influx", url)
    assert refused.returncode == 1
    assert "give --device ID" in refused.stderr
    answer = moved(joulebook("move", "influx", url, "--owner", alice.username, "--json"))
    assert {(row["device"], row["metric"], row["sum"]) for row in answer["series"]} == {
        ("cellar", "pump.on{room=a b}", 1.0),
        ("cellar", "pump.starts{room=a b}", 7.0),
        ("roof", "pump.on", 0.0),
    }
    assert stored(telemetry["reader"])["roof", "pump.on"] == [(NEW_YEAR * 1_000_000, 0.0)]


@needs_influxd
def test_targets_can_be_edited_in_a_file(
    joulebook: Command, influx: InfluxDB, home: str, telemetry: dict[str, str], tmp_path: Path
) -> None:
    write_home(influx, make_history(["sensor.a", "sensor.b"], count=5))
    url, targets = f"http://127.0.0.1:{influx.port}", tmp_path / "targets.csv"
    planned = joulebook("move", "influx", url, "--device", home, "--dry-run", "--save-map", str(targets))
    assert planned.returncode == 0, planned.stderr
    with targets.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0] |= {"metric": "grid_power", "unit": "kW"}
    rows[1] |= {"metric": ""}
    with targets.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    answer = moved(joulebook("move", "influx", url, "--device", home, "--map", str(targets), "--json"))
    assert [(row["metric"], row["count"]) for row in answer["series"]] == [("grid_power", 5)]
    assert (home, "sensor.b") not in stored(telemetry["reader"])


@needs_victoria
def test_a_home_moves_from_victoria_metrics_with_equal_counts_and_sums_and_is_undone(
    joulebook: Command, victoria_metrics: VictoriaMetrics, home: str, telemetry: dict[str, str]
) -> None:
    history = make_history(["power_watts", "heat_joules_total"], count=25_000)
    lines = [
        {
            "metric": {"__name__": name, "room": "kitchen"},
            "values": [value for _, value in readings],
            "timestamps": [time * 1_000 for time, _ in readings],
        }
        for name, readings in history.items()
    ]
    victoria_metrics.load("\n".join(map(json.dumps, lines)).encode())
    before = stored(telemetry["reader"])
    planned = moved(
        joulebook("move", "victoria", victoria_metrics.url, "--device", home, "--dry-run", "--json")
    )
    assert {(row["metric"], row["count"], row["unit"]) for row in planned["series"]} == {
        ("power_watts{room=kitchen}", 25_000, "W"),
        ("heat_joules_total{room=kitchen}", 25_000, "J"),
    }
    answer = moved(joulebook("move", "victoria", victoria_metrics.url, "--device", home, "--json"))
    after = stored(telemetry["reader"])
    for name, readings in history.items():
        row = next(row for row in answer["series"] if row["metric"].startswith(name))
        kept = after[home, row["metric"]]
        assert [time for time, _ in kept] == [time * 1_000_000 for time, _ in readings]
        assert (row["count"], row["is_equal"]) == (25_000, True)
        assert row["stored_sum"] == math.fsum(value for _, value in kept)
        # VictoriaMetrics keeps decimals of a limited length: what it returns is moved exactly.
        assert row["sum"] == pytest.approx(math.fsum(value for _, value in readings), rel=1e-9)
    assert joulebook("imports", "undo", str(answer["import_id"])).returncode == 0
    assert stored(telemetry["reader"]) == before


def test_an_exported_file_moves_like_a_server(
    joulebook: Command, home: str, telemetry: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "export.lp"
    path.write_text(
        "# INFLUXDB EXPORT: a - b\n# DML\n# CONTEXT-DATABASE:home\n"
        f"kWh,domain=sensor,entity_id=meter value=1.5 {NEW_YEAR}000000001\n"
    )
    answer = moved(joulebook("move", "influx", str(path), "--device", home, "--json"))
    assert [(row["metric"], row["is_equal"]) for row in answer["series"]] == [("sensor.meter", True)]
    assert stored(telemetry["reader"])[home, "sensor.meter"] == [(NEW_YEAR * 1_000_000, 1.5)]


def test_a_password_in_the_address_is_refused_without_being_repeated(joulebook: Command, home: str) -> None:
    done = joulebook("move", "influx", "http://alice:secret-word@127.0.0.1:1", "--device", home)
    assert done.returncode == 1
    assert "--login" in done.stderr
    assert "secret-word" not in done.stderr + done.stdout


def test_a_server_that_does_not_answer_is_named(joulebook: Command, home: str) -> None:
    done = joulebook("move", "influx", "http://127.0.0.1:1", "--device", home)
    assert done.returncode == 1
    assert "http://127.0.0.1:1 does not answer" in done.stderr
