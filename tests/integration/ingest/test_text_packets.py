"""Packets with text, flags and times without an offset over real HTTP: stored whole, and read back as text."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count

import httpx
import polars as pl
import psycopg
import pytest

from joulebook.telemetry.connection import connect
from joulebook.telemetry.history.overview import read_overviews
from joulebook.telemetry.kinds.settings import LISTS_OF_TEXTS, TEXTS, SettingsByMetric
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.texts import ensure_texts, read_texts

from ..ingest.conftest import until

FIRST = {
    "timestamp": "2026-11-20T09:15:04Z",
    "system_status": {"state": "DISCHARGING", "mode": "AUTO", "error_flags": ["FAN"], "wifi_strength": -58},
    "battery": {"voltage": 51.9, "current": -7.25, "power": -376.3, "soc": 64},
    "grid": {"voltage": 229.4, "power": -120, "frequency": 50.01},
}
SECOND = {
    "timestamp": "2026-11-20T10:15:04.250000",
    "battery": {
        "soc": 0.64,
        "soh": 0.97,
        "voltage": 377.5,
        "current": -9.1,
        "power_kw": -3.44,
        "temperature_c": 26.5,
        "cycle_count": 118,
        "faults": [],
        "warnings": ["COLD", "IMBALANCE"],
        "time_to_full_min": None,
        "balancing_active": False,
    },
    "grid": {
        "frequency": 49.98,
        "voltage": 231.0,
        "power_kw": 0.42,
        "price": 0.21,
        "status": "connected",
        "trip_occurred": False,
        "energy_imported_kwh": 3.75,
    },
    "solar": {
        "power_ac_kw": 2.1,
        "irradiance_w_m2": 312,
        "efficiency": 0.951,
        "string_voltages": [188.5, 190.25],
    },
    "economics": {"tariff_current": 0.21},
    "system": {"firmware_version": "2.4.1"},
}
TEXTS_OF_BOTH = {
    "system_status.state": "DISCHARGING",
    "system_status.mode": "AUTO",
    "system_status.error_flags": '["FAN"]',
    "battery.faults": "[]",
    "battery.warnings": '["COLD","IMBALANCE"]',
    "grid.status": "connected",
    "system.firmware_version": "2.4.1",
}
NUMBERS_OF_BOTH = {
    "system_status.wifi_strength": [-58],
    "battery.voltage": [51.9, 377.5],
    "battery.current": [-7.25, -9.1],
    "battery.power": [-376.3],
    "battery.soc": [64, 0.64],
    "battery.soh": [0.97],
    "battery.power_kw": [-3.44],
    "battery.temperature_c": [26.5],
    "battery.cycle_count": [118],
    "battery.balancing_active": [0],
    "grid.voltage": [229.4, 231],
    "grid.power": [-120],
    "grid.frequency": [50.01, 49.98],
    "grid.power_kw": [0.42],
    "grid.price": [0.21],
    "grid.trip_occurred": [0],
    "grid.energy_imported_kwh": [3.75],
    "solar.power_ac_kw": [2.1],
    "solar.irradiance_w_m2": [312],
    "solar.efficiency": [0.951],
    "solar.string_voltages.1": [188.5],
    "solar.string_voltages.2": [190.25],
    "economics.tariff_current": [0.21],
}


@pytest.fixture
def post(ingest, device_token) -> Callable[..., httpx.Response]:
    """Send a body as Alice's device and return the answer."""

    def send(body: object, *, query: str = "") -> httpx.Response:
        headers = {"Authorization": f"Bearer {device_token}"}
        return httpx.post(f"{ingest.url}/api/readings{query}", content=json.dumps(body), headers=headers)

    return send


@pytest.fixture
def texts(telemetry, device_id) -> Callable[[], dict[tuple[str, datetime], str]]:
    """Read the stored texts of the device: {(metric, time): text}."""

    def read() -> dict[tuple[str, datetime], str]:
        with psycopg.connect(telemetry["reader"]) as conn:
            found = conn.execute(
                "SELECT metric, time, text FROM series JOIN readings ON series_id = series.id "
                "JOIN series_texts ON series_texts.series_id = series.id AND code = value "
                "WHERE device_id = %s",
                [device_id],
            ).fetchall()
        return {(metric, time): text for metric, time, text in found}

    return read


@pytest.fixture
def get(web, alice) -> Callable[..., httpx.Response]:
    """Ask the web as Alice."""
    from joulebook.web.accounts.operations import issue_user_token

    headers = {"Authorization": f"Bearer {issue_user_token(alice)}"}
    return lambda path: httpx.get(f"{web.url}{path}", headers=headers, timeout=60)


def test_both_packets_are_stored_whole_and_come_back_in_every_export(post, device, get):
    answer = post(FIRST)
    assert (answer.status_code, answer.json()["ignored"]) == (200, [])
    refused = post(SECOND)
    assert refused.status_code == 422
    assert [(one["code"], one["metric"]) for one in refused.json()["rejected"]] == [("time_ambiguous", None)]
    device.time_zone, device.time_without_offset = "Europe/Berlin", "device_zone"
    device.save()
    until(lambda: post(SECOND).status_code == 200, what="the rule does not reach ingest", seconds=20)
    again = post(SECOND).json()
    # A null is nothing, and the answer says so.
    assert (again["accepted"], again["duplicate"]) == (0, 24)
    assert again["ignored"] == ["battery.time_to_full_min"]

    path = f"/api/export/{device.device_id}"
    for file_format, read in (("parquet", pl.read_parquet), ("arrow", pl.read_ipc_stream)):
        wide = read(io.BytesIO(get(f"{path}?format={file_format}").content))
        assert wide["time"].to_list() == [
            datetime(2026, 11, 20, 9, 15, 4, tzinfo=UTC),
            datetime(2026, 11, 20, 9, 15, 4, 250_000, tzinfo=UTC),
        ]
        cells = {
            name: [cell for cell in wide[name].to_list() if cell is not None] for name in wide.columns[1:]
        }
        assert cells == {name: [text] for name, text in TEXTS_OF_BOTH.items()} | NUMBERS_OF_BOTH
        long = read(io.BytesIO(get(f"{path}?format={file_format}&layout=long").content))
        assert long.columns == ["time", "metric", "value", "text"]
        assert dict(long.drop_nulls("text").select("metric", "text").iter_rows()) == TEXTS_OF_BOTH
        assert long["value"].null_count() == len(TEXTS_OF_BOTH)
    window = "start=2026-11-20T09:00:00Z&end=2026-11-20T10:00:00Z"
    history = get(f"/api/history/{device.device_id}?{window}").json()
    found = {series["metric"]: series for series in history["series"]}
    assert found.keys() == TEXTS_OF_BOTH.keys() | NUMBERS_OF_BOTH.keys()
    for metric, text in TEXTS_OF_BOTH.items():
        words = (", ".join(json.loads(text)) or "none") if text[0] == "[" else text
        assert [state["word"] for state in found[metric]["states"]] == [words]
    csv = pl.read_csv(io.BytesIO(get(path).content))
    assert csv["system_status.state"].to_list() == ["DISCHARGING", None]
    assert csv["battery.warnings"].to_list() == [None, '["COLD","IMBALANCE"]']


def test_a_text_again_is_a_duplicate_and_another_one_a_conflict(post, texts, device_id):
    packet = {"timestamp": "2026-11-20T09:15:04Z", "mode": "AUTO"}
    stamp = datetime(2026, 11, 20, 9, 15, 4, tzinfo=UTC)
    assert post(packet).json()["accepted"] == 1
    assert post(packet).json()["duplicate"] == 1
    other = post({**packet, "mode": "ECO"})
    assert [one["code"] for one in other.json()["rejected"]] == ["conflict"]
    assert texts() == {("mode", stamp): "AUTO"}
    assert post({**packet, "mode": "ECO"}, query="?on_conflict=replace").json()["replaced"] == 1
    assert texts() == {("mode", stamp): "ECO"}


def test_a_value_of_another_form_than_the_metric_s_is_named_and_fails_nothing(post, texts):
    times = (f"2026-11-20T09:15:{second:02d}Z" for second in count())
    post({"timestamp": next(times), "mode": "AUTO", "level": 1, "flags": ["A"], "on": True})
    answer = post({"timestamp": next(times), "mode": 5, "level": "high", "flags": "A", "on": 0.5})
    assert answer.status_code == 200
    assert answer.json()["accepted"] == 1
    assert sorted(answer.json()["ignored"]) == ["flags", "level", "mode"]
    assert len(texts()) == 2


def test_a_line_with_a_number_for_a_metric_of_text_is_refused(post, ingest, device_token, texts):
    post({"timestamp": "2026-11-20T09:15:00Z", "mode": "AUTO"})
    answer = httpx.post(
        f"{ingest.url}/write",
        content="mode value=5\npower value=6",
        headers={"Authorization": f"Token {device_token}"},
    )
    assert answer.status_code == 400
    assert "line 1: value_type" in answer.json()["error"]
    assert "dropped=1" in answer.json()["error"]


@pytest.mark.parametrize("query", ["", "?atomic=1"])
def test_a_packet_of_which_nothing_has_the_metric_s_form_is_refused(post, query):
    post({"timestamp": "2026-11-20T09:15:00Z", "mode": "AUTO"})
    answer = post(
        [{"timestamp": "2026-11-20T09:15:01Z", "mode": 5}, {"timestamp": "2026-11-20T09:15:01Z", "n": 1}],
        query=query,
    )
    assert answer.status_code == 422
    assert [(one["index"], one["code"]) for one in answer.json()["rejected"]] == [(0, "nothing_stored")]
    assert answer.json()["accepted"] == (0 if query else 1)


def test_a_metric_has_a_limited_number_of_texts_and_the_others_are_named(post, texts):
    begin = datetime(2026, 11, 20, tzinfo=UTC)
    packets = [
        {"timestamp": (begin + timedelta(seconds=at)).isoformat(), "uptime": f"{at} s", "n": at}
        for at in range(205)
    ]
    answer = post(packets)
    assert answer.status_code == 422
    assert [(one["index"], one["metric"], one["code"]) for one in answer.json()["rejected"]] == [
        (at, "uptime", "text_limit") for at in range(200, 205)
    ]
    assert answer.json()["accepted"] == 405
    assert set(texts().values()) == {f"{at} s" for at in range(200)}
    known = post({"timestamp": "2026-11-21T00:00:00Z", "uptime": "7 s"})
    assert (known.status_code, known.json()["accepted"]) == (200, 1)
    none = post({"timestamp": "2026-11-21T00:00:01Z", "uptime": "new", "n": 1}, query="?atomic=1")
    assert (none.status_code, none.json()["accepted"]) == (422, 0)


def test_several_processes_give_one_code_to_a_text_and_none_twice(telemetry, device_id):
    words = [f"word {number}" for number in range(60)]
    found: list[dict[str, int]] = []
    with closing(connect(telemetry["writer"])) as conn:
        key = (device_id, "mode")
        series = ensure_series(conn, [key], forms={key: TEXTS})[key]

    def create(start: int) -> None:
        with closing(connect(telemetry["writer"])) as conn:
            for at in range(len(words)):
                word = words[(start + at) % len(words)]
                found.append(ensure_texts(conn, {series: [word]}, most=50)[series])

    threads = [threading.Thread(target=create, args=[start]) for start in (0, 3, 7, 30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(connect(telemetry["reader"])) as conn:
        stored = read_texts(conn, [series])[series]
    assert len(set(stored.values())) == len(stored) <= 50
    assert max(stored) == 50
    for codes in found:
        assert all(stored[code] == text for text, code in codes.items())


def test_a_series_keeps_the_form_of_its_first_reading(post, telemetry, device_id):
    post({"timestamp": "2026-11-20T09:15:00Z", "n": 1, "on": True, "mode": "AUTO", "flags": []})
    with psycopg.connect(telemetry["reader"]) as conn:
        found = conn.execute(
            "SELECT metric, form FROM series WHERE device_id = %s ORDER BY metric", [device_id]
        ).fetchall()
    assert found == [("flags", LISTS_OF_TEXTS), ("mode", TEXTS), ("n", 0), ("on", 1)]


def test_an_overview_has_the_text_of_a_device_without_numbers(post, telemetry, device_id):
    now = datetime.now(UTC)
    post({"timestamp": now.isoformat(), "flags": ["B", "A"]})
    settings = {device_id: SettingsByMetric()}
    with closing(connect(telemetry["reader"])) as conn:
        assert read_overviews(conn, settings, now=now)[device_id].text == "A, B"
        post({"timestamp": now.isoformat(), "z": 5})
        numbers = read_overviews(conn, settings, now=now)[device_id]
    assert (numbers.metric, numbers.value, numbers.text) == ("z", 5, None)


def test_a_token_knows_where_its_packets_have_time_and_values(ingest, device, transactional_db, texts):
    from joulebook.web.devices.operations import PacketFields, issue_device_token

    token = issue_device_token(device, fields=PacketFields("sent", "", "payload"))
    packet = {"sent": "2026-11-20T09:15:04Z", "payload": {"mode": "AUTO"}, "battery": 3}
    answer = httpx.post(
        f"{ingest.url}/api/readings", json=packet, headers={"Authorization": f"Bearer {token}"}
    )
    assert (answer.status_code, answer.json()["ignored"]) == (200, ["battery"])
    assert texts() == {("mode", datetime(2026, 11, 20, 9, 15, 4, tzinfo=UTC)): "AUTO"}
