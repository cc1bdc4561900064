"""The packets of a real energy manager, stored whole and read back: history, table and export, text included."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from ...conftest import SHARED_DATA

if TYPE_CHECKING:
    from joulebook.web.devices.models import Device

    from .conftest import Home

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"the real files are not here: {SHARED_DATA}"),
]

WITH_OFFSET, WITHOUT_OFFSET = "packet_ems.json", "packet_ems_without_offset.json"
DAY = {"start": "2026-11-20T00:00:00Z", "end": "2026-11-21T00:00:00Z"}


def packet(name: str, device: str) -> dict[str, Any]:
    """Return a packet as this device's."""
    text = (SHARED_DATA / "minimal" / name).read_text()
    return json.loads(text) | {"device_id": device}  # type: ignore[no-any-return]


def fields(packet: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Return the fields that carry something by their dotted names; numbers in a list are `.1`, `.2`, ….."""
    found: dict[str, Any] = {}
    for name, value in packet.items():
        if isinstance(value, dict):
            found |= fields(value, f"{before}{name}.")
        elif isinstance(value, list) and value and not isinstance(value[0], str):
            found |= {f"{before}{name}.{place}": each for place, each in enumerate(value, start=1)}
        elif value is not None and before + name not in {"device_id", "timestamp"}:
            found[before + name] = value
    return found


def words(value: Any) -> list[str]:
    """Return the words that a text or a list of texts is shown by."""
    return [value] if isinstance(value, str) else list(value)


@pytest.fixture
def device_in_berlin(device: Device) -> Device:
    """Alice's device, which sends its zone's time without an offset."""
    device.time_without_offset = "device_zone"
    device.save()
    return device


@pytest.mark.parametrize("name", [WITH_OFFSET, WITHOUT_OFFSET])
def test_every_field_of_a_packet_comes_back(home: Home, device_in_berlin: Device, name: str) -> None:
    sent = packet(name, home.device)
    answer = home.sender.post("/api/readings", json=sent)
    assert answer.status_code == 200, answer.text
    expected = fields(sent)
    assert answer.json()["accepted"] == len(expected), answer.text
    assert [
        field for field in answer.json().get("ignored", []) if not field.endswith("time_to_full_min")
    ] == []

    at = datetime.fromisoformat(sent["timestamp"])
    at = at if at.tzinfo else at.replace(tzinfo=ZoneInfo("Europe/Berlin"))
    history = home.ask("history", **DAY)
    assert (history["resolution"], history["time"]) == ("raw", [at.timestamp()])
    found = {series["metric"]: series for series in history["series"]}
    assert found.keys() == expected.keys()
    for metric, value in expected.items():
        series = found[metric]
        if isinstance(value, (str, list)):
            said = [state["word"] for state in series["states"]]
            assert said == ([", ".join(words(value)) or "none"]), metric
        else:
            assert series["value"] == [float(value)], metric

    export = home.reader.get(f"/api/export/{home.device}", params={**DAY, "format": "csv"})
    assert export.status_code == 200, export.text
    rows = list(csv.DictReader(io.StringIO(export.text)))
    table = " ".join(" ".join(filter(None, row.values())) for row in rows)
    for value in expected.values():
        if isinstance(value, (str, list)):
            assert all(word in table for word in words(value)), table

    kinds = {metric: each["kind"] for metric, each in home.metrics().items()}
    for metric, value in expected.items():
        if isinstance(value, (str, list, bool)):
            assert kinds[metric] == "state", metric


def test_a_time_without_an_offset_is_refused_with_what_fits_the_moment_until_its_owner_decides(
    home: Home, device: Device
) -> None:
    sent = packet(WITHOUT_OFFSET, home.device)
    now = datetime.now(UTC)
    sent["timestamp"] = now.astimezone(ZoneInfo("Europe/Berlin")).replace(tzinfo=None).isoformat()
    answer = home.sender.post("/api/readings", json=sent)
    assert answer.status_code == 422
    assert "Europe/Berlin" in answer.text
    device.time_without_offset = "device_zone"
    device.save()
    home.wait_for(lambda: home.sender.post("/api/readings", json=sent).status_code == 200)


def test_their_energy_is_that_of_energy_alone(home: Home, device_in_berlin: Device) -> None:
    for hour, energy in enumerate((3.75, 4.25, 5.0)):
        sent = packet(WITHOUT_OFFSET, home.device)
        sent["timestamp"] = f"2026-11-20T{10 + hour}:15:04.250000"
        sent["grid"]["energy_imported_kwh"] = energy
        answer = home.sender.post("/api/readings", json=sent)
        assert answer.status_code == 200, answer.text
    table = home.ask("energy", start="2026-11-19T23:00:00Z", end="2026-11-20T23:00:00Z")
    by_metric = {series["metric"]: series for series in table["series"]}
    assert not {"solar.irradiance_w_m2", "economics.tariff_current", "battery.soc"} & by_metric.keys()
    # The newest reading is far above the one before it: the next one decides about it.
    assert by_metric["grid.energy_imported_kwh"]["energy"] == [pytest.approx(0.5)]
    assert by_metric["solar.power_ac_kw"]["energy"] == [pytest.approx(4.2)]
    assert by_metric["grid.energy_imported_kwh"]["unit"] == "kWh"
