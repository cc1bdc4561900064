"""The units that senders name: noted once, kept until the owner sets another, and conflicts shown."""

from __future__ import annotations

import json
import threading
from datetime import timedelta

import httpx
import psycopg
import pytest

from joulebook.telemetry.connection import connect
from joulebook.telemetry.series import ensure_series, note_units, series_by_metric

from .conftest import T0


@pytest.fixture
def series(telemetry, device_id):
    """Return the device's series by metric."""

    def read():
        with connect(telemetry["reader"]) as conn:
            return series_by_metric(conn, device_id)

    return read


@pytest.fixture
def post(ingest, device_token):
    seconds = iter(range(10_000))

    def send(**packet: object) -> dict[str, object]:
        body = {"timestamp": (T0 + timedelta(seconds=next(seconds))).isoformat(), **packet}
        answer = httpx.post(
            f"{ingest.url}/api/readings",
            content=json.dumps(body),
            headers={"Authorization": f"Bearer {device_token}"},
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    return send


def said(series, metric="power"):
    row = series()[metric]
    return row.unit, row.refused_unit


def test_the_unit_of_a_packet_stays_with_the_series(post, series, stored):
    post(power=1.5, units={"power": "kW"})
    assert said(series) == ("kW", "")
    post(power=1.6)
    assert said(series) == ("kW", "")
    assert stored() == {("power", 0): 1.5, ("power", 1): 1.6}


def test_another_unit_later_is_a_conflict_and_values_are_stored_as_sent(post, series, stored):
    post(power=1.5, units={"power": "kW"})
    post(power=1500, units={"power": "W"})
    assert said(series) == ("kW", "W")
    post(power=1.7, units={"power": "kW"})
    assert said(series) == ("kW", "W")
    assert stored() == {("power", 0): 1.5, ("power", 1): 1500.0, ("power", 2): 1.7}


def test_a_unit_that_cannot_be_kept_is_named_and_the_rest_is_stored(post, series):
    answer = post(power=1, energy=2, units={"power": "W" * 33, "energy": "kWh", "none": "V"})
    assert answer["accepted"] == 2
    assert set(answer["ignored"]) == {"units.power", "units.none"}
    assert said(series) == ("", "")
    assert said(series, "energy") == ("kWh", "")


def test_a_unit_unknown_here_is_kept_as_the_sender_writes_it(post, series):
    post(price=1.5, units={"price": "kr/kWh"})
    assert said(series, "price") == ("kr/kWh", "")


def write_lines(ingest, token, lines):
    answer = httpx.post(
        f"{ingest.url}/write?precision=s", content=lines, headers={"Authorization": f"Token {token}"}
    )
    assert answer.status_code == 204, answer.text


def test_home_assistants_measurement_is_the_unit(ingest, device_token, series):
    seconds = int(T0.timestamp())
    write_lines(
        ingest,
        device_token,
        f"Wh,domain=sensor,entity_id=washer_energy value=2870,battery=80 {seconds}\n"
        f"cpu,host=pi usage_idle=5 {seconds}\n"
        f"room,unit=°F value=70 {seconds}",
    )
    found = {metric: row.unit for metric, row in series().items()}
    assert found["Wh{domain=sensor,entity_id=washer_energy}"] == "Wh"
    assert found["Wh.battery{domain=sensor,entity_id=washer_energy}"] == ""
    assert found["room{unit=°F}"] == "°F"
    assert found["cpu.usage_idle{host=pi}"] == ""


@pytest.mark.django_db(transaction=True, databases=["default", "telemetry"])
class TestWhatIsShown:
    def metric(self, client, device_id, name="power"):
        answer = client.get(f"/api/devices/{device_id}/metrics").json()
        return next(each for each in answer["metrics"] if each["metric"] == name)

    def test_a_senders_unit_is_better_than_a_guess_and_the_owners_best(self, post, device, alice, client_of):
        client = client_of(alice)
        post(power=1.5, units={"power": "kW"})
        shown = self.metric(client, device.device_id)
        assert (shown["unit"], shown["unit_sent"], shown["unit_refused"]) == ("kW", "kW", "")
        assert "unit" not in shown["guessed"]
        history = client.get(
            f"/api/history/{device.device_id}?start=2026-03-01T11:00:00Z&end=2026-03-01T13:00:00Z"
        )
        assert history.json()["series"][0]["unit"] == "kW"
        change = client.patch(
            f"/api/devices/{device.device_id}/metrics/power", '{"unit": "MW"}', "application/json"
        ).json()
        assert (change["unit"], change["unit_sent"]) == ("MW", "kW")
        assert change["reasons"]["unit"] == (
            "set by the owner; the device names kW: as MW its values need the factor 0.001"
        )

    def test_a_conflict_is_shown_until_the_owner_settles_it(self, post, device, alice, client_of):
        client = client_of(alice)
        patch = lambda unit: client.patch(  # noqa: E731
            f"/api/devices/{device.device_id}/metrics/power", json.dumps({"unit": unit}), "application/json"
        )
        post(power=1.5, units={"power": "kW"})
        assert patch("kW").json()["unit_refused"] == ""
        # The owner has set a unit before: the device's change is shown all the same.
        post(power=1500, units={"power": "W"})
        shown = self.metric(client, device.device_id)
        assert (shown["unit"], shown["unit_refused"]) == ("kW", "W")
        page = client.get(f"/devices/{device.device_id}/settings/metric/?name=power").content.decode()
        assert "The device now sends <b>W</b>" in page
        answer = patch("kW").json()
        assert (answer["unit"], answer["unit_refused"]) == ("kW", "")
        # A third unit is a new conflict.
        post(power=1, units={"power": "MW"})
        assert self.metric(client, device.device_id)["unit_refused"] == "MW"
        assert patch("MW").json()["unit_refused"] == ""

    def test_another_spelling_is_no_conflict(self, post, device, alice, client_of):
        post(water=1.5, units={"water": "m3"})
        post(water=1.6, units={"water": "m³"})
        shown = self.metric(client_of(alice), device.device_id, "water")
        assert (shown["unit"], shown["unit_refused"]) == ("m3", "")

    def test_units_of_several_metrics_are_set_at_once_all_or_none(self, post, device, alice, bob, client_of):
        post(power=1.5, energy=2)
        address = f"/api/devices/{device.device_id}/metrics"

        def put(user, units):
            return client_of(user).put(address, json.dumps({"units": units}), "application/json")

        answer = put(alice, {"power": "MW", "energy": "MJ"})
        assert answer.status_code == 200, answer.content
        assert [(each["metric"], each["unit"]) for each in answer.json()["metrics"]] == [
            ("power", "MW"),
            ("energy", "MJ"),
        ]
        assert put(alice, {"power": "W", "nothing": "V"}).status_code == 404
        assert put(alice, {"power": "W", "energy": "x" * 33}).status_code == 400
        assert put(alice, {}).status_code == 400
        assert put(bob, {"power": "W"}).status_code == 403
        assert self.metric(client_of(alice), device.device_id)["unit"] == "MW"
        assert put(alice, {"power": ""}).json()["metrics"][0]["unit"] == "W"


def test_a_token_says_where_its_lines_name_the_unit(ingest, device, series, transactional_db):
    from joulebook.web.devices.operations import PacketFields, issue_device_token

    token = issue_device_token(device, fields=PacketFields(line_unit="tag:u"))
    write_lines(ingest, token, f"boiler,u=MJ heat=5 {int(T0.timestamp())}")
    assert said(series, "boiler.heat{u=MJ}") == ("MJ", "")


def test_units_noted_by_two_processes_at_once_do_not_wait_for_each_other(telemetry, device_id):
    metrics = [f"m{number}" for number in range(50)]
    with psycopg.connect(telemetry["writer"], autocommit=True) as conn:
        ensure_series(conn, [(device_id, metric) for metric in metrics])

    def note(order: list[str], unit: str) -> None:
        with connect(telemetry["writer"]) as conn:
            for _ in range(20):
                note_units(conn, {(device_id, metric): unit for metric in order})

    threads = [
        threading.Thread(target=note, args=(metrics[::step], unit)) for step, unit in ((1, "W"), (-1, "kW"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with connect(telemetry["reader"]) as conn:
        rows = series_by_metric(conn, device_id).values()
    assert {(row.unit, row.refused_unit) for row in rows} <= {("W", "kW"), ("kW", "W")}
    assert len(rows) == 50
