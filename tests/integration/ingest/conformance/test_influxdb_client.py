"""The official `influxdb-client` package writes to a running ingest, and what it wrote is read back equal."""

from __future__ import annotations

import threading
from datetime import timedelta, timezone
from decimal import Decimal
from typing import NamedTuple

import httpx
import numpy as np
import pytest
from influxdb_client import InfluxDBClient, Point, WriteOptions, WritePrecision
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.write_api import SYNCHRONOUS, PointSettings
from influxdb_client.rest import ApiException

from joulebook.web.accounts.operations import issue_user_token

from ....conftest import Service, free_port
from ..conftest import T0
from .metric_names import metric_of

SECOND = int(T0.timestamp())
IN_A_SECOND = {
    WritePrecision.S: 1,
    WritePrecision.MS: 10**3,
    WritePrecision.US: 10**6,
    WritePrecision.NS: 10**9,
}


@pytest.fixture(params=[False, True], ids=["plain", "gzip"])
def client(request, ingest, device_token):
    """The client as its documentation shows it, with and without compression."""
    with InfluxDBClient(ingest.url, token=device_token, org="home", enable_gzip=request.param) as client:
        yield client


@pytest.fixture
def write(client):
    """Write records at once; raise what the client raises."""
    with client.write_api(write_options=SYNCHRONOUS) as api:
        yield lambda record, **asked: api.write(bucket="energy", record=record, **asked)


def metric(measurement: str, field: str, **tags: str) -> str:
    """Return the metric of a measurement, a field and tags."""
    return metric_of(measurement, field, tags)


NUMBERS = {
    "float": 1240.5,
    "whole": 7.0,
    "negative": -0.125,
    "large": 1.5e22,
    "tiny": 5e-324,
    "seventeen_digits": 0.1 + 0.2,
    "zero": -0.0,
    "decimal": Decimal("77.250"),
    "decimal_exponent": Decimal("1E+5"),
    "integer": 42,
    "negative_integer": -42,
    "largest_integer": 2**63 - 1,
    "smallest_integer": -(2**63),
    "yes": True,
    "no": False,
    "numpy_float": np.float64(2.5),
    "numpy_short": np.float32(0.5),
    "numpy_integer": np.int64(-9),
}


def test_every_kind_of_number_is_read_back_equal(write, stored):
    point = Point("meter").time(T0)
    for name, value in NUMBERS.items():
        point.field(name, value)
    point.field("text", 'a "quoted", text = \\ with\nlines').field("none", None).field("nan", float("nan"))
    write(point)
    assert stored() == {(f"meter.{name}", 0): float(value) for name, value in NUMBERS.items()}


ODD = [
    "with blank",
    "with,comma",
    "with=equals",
    'with"quote',
    "Zähler 電力 ⚡",
    "{braces}",
    "a#b",
    "'single'",
    "%s %d",
    "a.b.c",
    "back\\slash",
]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_keep_their_place_in_measurement_tag_and_field(write, stored, name):
    points = [
        Point(name).field("power", 1.5).time(T0),
        Point("m").tag(name, "x").field("power", 2.5).time(T0),
        Point("m").tag("room", name).tag("other", "y").field("power", 3.5).time(T0),
        Point("m").field(name, 4.5).field("text", name).time(T0),
    ]
    write(points)
    assert stored() == {
        (metric(name, "power"), 0): 1.5,
        (metric("m", "power", **{name: "x"}), 0): 2.5,
        (metric("m", "power", room=name, other="y"), 0): 3.5,
        (metric("m", name), 0): 4.5,
    }


@pytest.mark.parametrize("precision", IN_A_SECOND)
def test_times_are_kept_in_every_precision_to_the_microsecond(write, stored, precision):
    number = SECOND * IN_A_SECOND[precision]
    odd = T0 + timedelta(seconds=20, microseconds=123_456)
    write(
        [
            Point("number").field("value", 1).time(number, precision),
            Point("aware").field("value", 2).time(T0.astimezone(timezone(timedelta(hours=5.5))), precision),
            Point("naive").field("value", 3).time(T0.replace(tzinfo=None), precision),
            Point("text").field("value", 4).time("2026-03-01T13:00:00+01:00", precision),
            Point("since_1970").field("value", 5).time(timedelta(seconds=SECOND), precision),
            Point("odd").field("value", 6).time(odd, precision),
        ],
        write_precision=precision,
    )
    unit = 10**6 // min(IN_A_SECOND[precision], 10**6)
    kept = 20 + 123_456 // unit * unit / 10**6
    assert stored() == {
        ("number", 0): 1, ("aware", 0): 2, ("naive", 0): 3, ("text", 0): 4, ("since_1970", 0): 5, ("odd", kept): 6,
    }  # fmt: skip


class Sample(NamedTuple):
    name: str
    room: str
    power: float
    at: int


def test_records_of_every_form_are_stored(write, stored):
    write(f"line power=1 {SECOND}000000000\nlines power=2 {SECOND}000000000")
    write(f"bytes power=3 {SECOND}".encode(), write_precision=WritePrecision.S)
    write({"measurement": "dictionary", "tags": {"room": "hall"}, "fields": {"power": 4}, "time": T0})
    write(
        Sample("tuple", "attic", 5.0, SECOND),
        write_precision=WritePrecision.S,
        record_measurement_key="name",
        record_tag_keys=["room"],
        record_field_keys=["power"],
        record_time_key="at",
    )
    unsigned = {"measurement": "typed", "fields": {"energy": 2**64 - 1}, "time": T0}
    write(unsigned, field_types={"energy": "uint"})
    write([])
    assert stored() == {
        ("line.power", 0): 1,
        ("lines.power", 0): 2,
        ("bytes.power", 0): 3,
        ("dictionary.power{room=hall}", 0): 4,
        ("tuple.power{room=attic}", 0): 5,
        ("typed.energy", 0): 2.0**64,
    }


class Told:
    """What a batching client's callbacks were told."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.failed: list[tuple[str, Exception]] = []
        self.again = threading.Event()

    def success(self, _: tuple[str, str, str], data: bytes) -> None:
        self.written += data.decode().splitlines()

    def error(self, _: tuple[str, str, str], data: bytes, exception: InfluxDBError) -> None:
        self.failed.append((data.decode(), exception))

    def retry(self, _: tuple[str, str, str], data: bytes, exception: InfluxDBError) -> None:
        self.again.set()

    def callbacks(self) -> dict[str, object]:
        return {
            "success_callback": self.success,
            "error_callback": self.error,
            "retry_callback": self.retry,
        }


def test_a_batching_client_stores_everything_and_the_history_shows_it(client, stored, web, alice, device_id):
    told = Told()
    rows = 2_500
    options = WriteOptions(batch_size=400, flush_interval=200)
    settings = PointSettings(room="cellar")
    with client.write_api(write_options=options, point_settings=settings, **told.callbacks()) as api:
        for row in range(rows):
            precision = list(IN_A_SECOND)[row % 4]
            time = (SECOND + row) * IN_A_SECOND[precision]
            api.write("energy", record=Point("battery").field("voltage", row / 8).time(time, precision))
    name = metric("battery", "voltage", room="cellar")
    assert told.failed == []
    assert len(told.written) == rows
    assert stored() == {(name, row): row / 8 for row in range(rows)}
    answer = httpx.get(
        f"{web.url}/api/history/{device_id}",
        params={
            "start": (T0 + timedelta(seconds=100)).isoformat(),
            "end": (T0 + timedelta(seconds=400)).isoformat(),
            "metric": name,
        },
        headers={"Authorization": f"Bearer {issue_user_token(alice)}"},
    )
    assert answer.status_code == 200
    assert answer.json()["time"] == list(range(SECOND + 100, SECOND + 400))
    [series] = answer.json()["series"]
    assert (series["metric"], series["value"]) == (name, [row / 8 for row in range(100, 400)])


def test_a_second_write_replaces_the_first(write, stored):
    write(Point("m").field("value", 1).time(T0))
    write(Point("m").field("value", 2).time(T0))
    assert stored() == {("m", 0): 2}


@pytest.mark.parametrize("token", ["wrong", "jbd00000000_" + "x" * 43, ""])
def test_a_wrong_token_is_an_error_of_status_401(ingest, stored, token):
    with InfluxDBClient(ingest.url, token=token, org="home") as client:
        with pytest.raises(ApiException) as raised:
            client.write_api(write_options=SYNCHRONOUS).write("energy", record="m v=1")
    assert raised.value.status == 401
    assert "token" in raised.value.message
    assert stored() == {}


def test_bad_lines_are_an_error_of_status_400_that_names_them_and_the_good_ones_are_stored(write, stored):
    with pytest.raises(ApiException) as raised:
        write(
            [f"m v=1 {SECOND}", "no line at all", f"m v=oops {SECOND}", f"m w=2 {SECOND}"],
            write_precision="s",
        )
    assert raised.value.status == 400
    assert raised.value.message.startswith("partial write: line 2: line_invalid")
    assert "line 3: line_invalid: 'oops'" in raised.value.message
    assert stored() == {("m.v", 0): 1, ("m.w", 0): 2}


def test_an_integer_that_influxdb_would_refuse_is_refused(write, stored):
    with pytest.raises(ApiException) as raised:
        write(Point("m").field("v", 2**63).field("w", 1).time(T0))
    assert raised.value.status == 400
    assert stored() == {}


def test_a_batching_client_drops_only_the_batch_with_a_bad_line_and_reports_it(client, stored):
    told = Told()
    with client.write_api(write_options=WriteOptions(batch_size=2), **told.callbacks()) as api:
        for line in [f"m v=1 {SECOND}", f"m v=2 {SECOND + 1}", f"m v= {SECOND + 2}", f"m v=4 {SECOND + 3}"]:
            api.write("energy", record=line, write_precision=WritePrecision.S)
    [(data, exception)] = told.failed
    assert exception.response.status == 400
    assert f"m v=4 {SECOND + 3}" in data
    assert not told.again.is_set()
    assert stored() == {("m.v", 0): 1, ("m.v", 1): 2, ("m.v", 3): 4}


def test_a_batching_client_that_sends_too_much_comes_back_until_all_is_stored(
    telemetry, device_token, stored
):
    """Told 429, it waits as long as `Retry-After` says; its own pause would be an hour."""
    service = Service("ingest", free_port(), {"JOULEBOOK_INGEST_RATE": "100"})
    service.start(path="/readyz")
    told = Told()
    options = WriteOptions(batch_size=1_050, retry_interval=3_600_000, max_retry_delay=3_600_000)
    try:
        with InfluxDBClient(service.url, token=device_token, org="home") as client:
            with client.write_api(write_options=options, **told.callbacks()) as api:
                for row in range(2_100):
                    api.write("energy", record=f"m v={row} {SECOND + row}", write_precision=WritePrecision.S)
                assert told.again.wait(60)
    finally:
        service.stop()
    assert told.failed == []
    assert stored() == {("m.v", row): row for row in range(2_100)}


def test_a_batching_client_keeps_its_data_while_the_database_is_away(telemetry, device_token, stored):
    """Told 503 by an ingest that is replaced by a healthy one, it sends the same again."""
    port = free_port()
    nowhere = f"postgresql://joulebook_writer@127.0.0.1:{free_port()}/joulebook?connect_timeout=2"
    away = Service("ingest", port, {"JOULEBOOK_TELEMETRY_WRITER_URL": nowhere})
    back = Service("ingest", port)
    told = Told()
    away.start()
    try:
        with InfluxDBClient(away.url, token=device_token, org="home") as client:
            options = WriteOptions(batch_size=10, retry_interval=1_000)
            with client.write_api(write_options=options, **told.callbacks()) as api:
                for row in range(10):
                    api.write("energy", record=f"m v={row} {SECOND + row}", write_precision=WritePrecision.S)
                assert told.again.wait(60)
                assert told.failed == []
                away.kill()
                back.start(path="/readyz")
    finally:
        away.stop()
        back.stop()
    assert told.failed == []
    assert stored() == {("m.v", row): row for row in range(10)}


def test_the_client_finds_the_service_well(client):
    assert client.ping() is True
    with pytest.deprecated_call():
        assert client.health().status == "pass"
    assert client.version().startswith("1.8")
