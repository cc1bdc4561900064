"""The kinds that an import finds by its values, from the file to the energy of days."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from joulebook.web.accounts.operations import issue_user_token
from joulebook.web.devices.models import Metric

from .test_import_command import DATA, needs_data

pytestmark = pytest.mark.usefixtures("transactional_db", "telemetry")

DAY = [0.0, 0.05, 0.1, 0.4, 0.2, 0.5]


def quarters(folder: Path, *, days: int) -> str:
    """Write kWh per quarter hour of whole days of Berlin, 20.0 kWh a day, and return the file's path."""
    start = datetime(2024, 1, 13, tzinfo=UTC) - timedelta(hours=1)
    rows = [
        f"{start + timedelta(minutes=15 * n):%Y-%m-%dT%H:%M:%SZ},{DAY[n % 6]}\n" for n in range(96 * days)
    ]
    path = folder / "quarters.csv"
    path.write_text("time,Taken [kWh]\n" + "".join(rows))
    return str(path)


@pytest.fixture
def energy_of(web, device, alice):
    """Ask the web for the energy of a metric of the device."""
    token = issue_user_token(alice)

    def ask(**query: str) -> dict[str, Any]:
        answer = httpx.get(
            f"{web.url}/api/energy/{device.device_id}",
            params=query,
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        )
        assert answer.status_code == 200, answer.content
        [series] = answer.json()["series"]
        return series

    return ask


def test_kwh_per_quarter_hour_are_amounts_with_the_energy_of_the_file(device, joulebook, tmp_path, energy_of):
    done = joulebook("import", quarters(tmp_path, days=3), "--device", device.device_id)
    assert done.returncode == 0, done.stderr
    assert "rise and fall" in done.stderr
    assert "--amounts no" in done.stderr
    metric = Metric.objects.get(device=device)
    assert (metric.kind, metric.unit) == ("amount", "kWh")
    found = energy_of(start="2024-01-13T00:00:00+01:00", end="2024-01-16T00:00:00+01:00")
    assert (found["kind"], found["energy"]) == ("amount", [20.0, 20.0, 20.0])
    assert found["unallocated"] == [0.0, 0.0, 0.0]


def test_an_answer_makes_them_registers_and_the_owners_earlier_kind_stays(device, joulebook, tmp_path):
    path = quarters(tmp_path, days=1)
    assert joulebook("import", path, "--device", device.device_id, "--amounts", "no").returncode == 0
    metric = Metric.objects.get(device=device)
    assert metric.kind == "counter"
    Metric.objects.filter(pk=metric.pk).update(kind="gauge")
    assert joulebook("import", path, "--device", device.device_id, "--force").returncode == 0
    metric.refresh_from_db()
    assert metric.kind == "gauge"


def test_the_unit_of_a_metric_stays_and_another_one_in_a_file_is_a_conflict(
    device, alice, web, joulebook, tmp_path
):
    assert joulebook("import", quarters(tmp_path, days=1), "--device", device.device_id).returncode == 0
    other = tmp_path / "other.csv"
    other.write_text("time,Taken [Wh]\n2024-02-01T00:00:00Z,20\n2024-02-01T00:15:00Z,40\n")
    words = ("import", str(other), "--device", device.device_id, "--map", "Taken [Wh]=Taken [kWh]:Wh")
    assert joulebook(*words).returncode == 0
    assert Metric.objects.get(device=device).unit == "kWh"
    answer = httpx.get(
        f"{web.url}/api/devices/{device.device_id}/metrics",
        headers={"Authorization": f"Bearer {issue_user_token(alice)}"},
        timeout=60,
    )
    [shown] = answer.json()["metrics"]
    assert (shown["unit"], shown["unit_sent"], shown["unit_refused"]) == ("kWh", "kWh", "Wh")


@needs_data
def test_a_meters_export_by_interval_has_the_energy_of_its_truth(device, joulebook, energy_of):
    path = DATA / "inverter" / "shelly_em3_phaseB.csv"
    done = joulebook("import", str(path), "--device", device.device_id)
    assert done.returncode == 0, done.stderr
    metric = Metric.objects.get(device=device, name="Active energy Wh (B)")
    assert metric.kind == "amount"
    found = energy_of(range="all", per="month", unit="kWh", metric=metric.name)
    assert found["total"] == pytest.approx(1510.347, abs=0.001)
    assert sum(found["energy"]) == pytest.approx(found["total"], abs=1e-6)
