"""`POST /api/readings` over real HTTP: every answer, and what is stored when it was given."""

from __future__ import annotations

import gzip
import http.client
import json
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest
import zstandard

from .conftest import T0


def at(seconds: float) -> str:
    return (T0 + timedelta(seconds=seconds)).isoformat()


@pytest.fixture
def post(ingest, device_token):
    """Send a body as the device and return the response."""

    def send(
        body: object, *, token: str | None = device_token, query: str = "", **headers: str
    ) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return httpx.post(f"{ingest.url}/api/readings{query}", content=content, headers=headers)

    return send


def test_a_packet_is_stored_and_acknowledged(post, stored):
    answer = post({"timestamp": at(0), "power": 1240.5, "battery": {"voltage": 53.2, "on": True}})
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 3, "duplicate": 0, "rejected": [], "ignored": []}
    assert stored() == {("power", 0): 1240.5, ("battery.voltage", 0): 53.2, ("battery.on", 0): 1.0}


def test_what_is_no_reading_is_named_and_fails_nothing(post, stored):
    answer = post(
        {"timestamp": at(0), "power": 1, "phases": [{"power": 1}], "mixed": [1, "a"], "error": None}
    )
    assert answer.status_code == 200
    assert answer.json()["ignored"] == ["phases", "mixed", "error"]
    assert stored() == {("power", 0): 1.0}


def test_the_same_packets_again_are_duplicates_and_change_nothing(post, stored):
    packets = [{"timestamp": at(second), "power": second} for second in range(50)]
    assert post(packets).json()["accepted"] == 50
    again = post(packets)
    assert (again.status_code, again.json()["accepted"], again.json()["duplicate"]) == (200, 0, 50)
    assert len(stored()) == 50


def test_another_value_for_a_stored_time_is_a_conflict_and_the_first_stays(post, stored):
    post({"timestamp": at(0), "power": 1})
    answer = post([{"timestamp": at(1), "power": 5}, {"timestamp": at(0), "power": 2}])
    assert answer.status_code == 422
    body = answer.json()
    assert (body["accepted"], body["rejected_total"]) == (1, 1)
    assert (body["rejected"][0]["index"], body["rejected"][0]["metric"]) == (1, "power")
    assert body["rejected"][0]["code"] == "conflict"
    assert stored() == {("power", 0): 1.0, ("power", 1): 5.0}


def test_ndjson_arrays_and_compressed_bodies_say_the_same(post, stored):
    lines = b"\n".join(json.dumps({"timestamp": at(second), "power": second}).encode() for second in range(3))
    assert post(lines + b"\n\n", **{"Content-Type": "application/x-ndjson"}).json()["accepted"] == 3
    array = json.dumps([{"timestamp": at(second), "power": second} for second in range(3)]).encode()
    for encoding, body in {"gzip": gzip.compress(array), "zstd": zstandard.compress(array)}.items():
        answer = post(body, **{"Content-Encoding": encoding})
        assert (answer.status_code, answer.json()["duplicate"]) == (200, 3)
    assert len(stored()) == 3


@pytest.mark.parametrize(
    ("packet", "query", "code"),
    [
        ({"timestamp": "2026-03-01T12:00:00", "power": 1}, "", "time_ambiguous"),
        ({"timestamp": 1772366400, "power": 1}, "", "time_ambiguous"),
        ({"timestamp": "yesterday", "power": 1}, "", "time_invalid"),
        ({"timestamp": None, "power": 1}, "", "time_invalid"),
        ({"timestamp": 1e300, "power": 1}, "?precision=s", "time_future"),
        ({"timestamp": "9999-12-31T23:59:59Z", "power": 1}, "", "time_future"),
        ({"timestamp": "1999-12-31T23:59:59Z", "power": 1}, "", "time_past"),
        (
            {"timestamp": "2026-03-01T12:00:00Z", "device_id": "somebody_else", "power": 1},
            "",
            "device_not_allowed",
        ),
        ({"timestamp": "2026-03-01T12:00:00Z", "": 1}, "", "metric_name"),
        ({"timestamp": "2026-03-01T12:00:00Z", "a\u0000b": 1}, "", "metric_name"),
        ({"timestamp": "2026-03-01T12:00:00Z", "x" * 201: 1}, "", "metric_name"),
        ([1, 2], "", "value_type"),
    ],
)
def test_a_bad_packet_is_named_with_its_reason_and_its_neighbours_are_stored(
    post, stored, packet, query, code
):
    good = {"timestamp": 1772366400 if query else at(7), "voltage": 230}
    answer = post([good, packet, {**good, "current": 4}], query=query)
    assert answer.status_code == 422
    [rejected] = answer.json()["rejected"]
    assert (rejected["index"], rejected["code"]) == (1, code)
    assert set(stored()) >= {("voltage", 0 if query else 7), ("current", 0 if query else 7)}
    assert len(stored()) == 2


@pytest.mark.parametrize(
    ("precision", "stamp"),
    [
        ("s", 1772366400),
        ("s", 1772366400.0),
        ("ms", 1772366400000),
        ("us", 1772366400000000),
        ("ns", 1772366400000000999),
    ],
)
def test_numbers_as_time_are_read_in_the_precision_that_the_request_names(post, stored, precision, stamp):
    assert post({"timestamp": stamp, "power": 1}, query=f"?precision={precision}").status_code == 200
    assert stored() == {("power", 0): 1.0}


def test_a_packet_without_a_time_is_stored_at_its_arrival(post, telemetry, device_id):
    before = datetime.now(UTC)
    assert post([{"power": 1}, {"power": 2}]).json()["accepted"] == 2
    with psycopg.connect(telemetry["reader"]) as conn:
        rows = conn.execute(
            "SELECT time FROM readings JOIN series ON series.id = series_id WHERE device_id = %s", [device_id]
        ).fetchall()
    assert all(before <= row[0] <= datetime.now(UTC) for row in rows)


@pytest.mark.parametrize(
    "body",
    [b"", b"  ", b"{", b"[1,", b"\xff\xfe", b'{"a":1}\n{"a"', b"[" * 100_000],
)
def test_a_body_that_cannot_be_parsed_is_refused_whole(post, stored, body):
    answer = post(body)
    assert answer.status_code == 400
    assert answer.json()["code"] == "unparsable"
    assert stored() == {}


def test_a_broken_line_of_ndjson_is_named_and_nothing_is_stored(post, stored):
    answer = post(b'{"power": 1}\n{"power": 2}\n{"power": oops}\n')
    assert answer.status_code == 400
    assert "line 3" in answer.json()["message"]
    assert stored() == {}


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "br"])
def test_a_damaged_or_unknown_encoding_is_refused(post, stored, encoding):
    assert post(b"not compressed at all", **{"Content-Encoding": encoding}).status_code == 400
    assert stored() == {}


@pytest.mark.parametrize("token", [None, "nonsense", "jbd00000000_" + "x" * 43, "é"])
def test_without_a_token_in_force_nothing_is_taken(ingest, device_token, token):
    headers = [] if token is None else [(b"Authorization", b"Bearer " + token.encode())]
    answer = httpx.post(f"{ingest.url}/api/readings", content=b"{}", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_in_the_address_is_no_token(ingest, device_token):
    answer = httpx.post(f"{ingest.url}/api/readings?token={device_token}", content=b'{"power": 1}')
    assert answer.status_code == 401


def test_a_revoked_token_is_refused_within_ten_seconds(post, device):
    import time

    from django.utils import timezone

    assert post({"power": 1}).status_code == 200
    device.tokens.get().revoke(now=timezone.now())
    deadline = time.monotonic() + 10
    while (status := post({"power": 1}).status_code) == 200 and time.monotonic() < deadline:
        time.sleep(0.25)
    assert status == 401


def test_a_body_too_large_is_refused_however_it_comes(ingest, post, stored):
    limit = 16 * 1024 * 1024
    assert post(b" " * (limit + 1)).status_code == 413
    assert post(gzip.compress(b" " * (limit + 1)), **{"Content-Encoding": "gzip"}).status_code == 413
    assert post(zstandard.compress(b" " * (limit + 1)), **{"Content-Encoding": "zstd"}).status_code == 413
    assert stored() == {}


def test_more_readings_than_one_request_may_hold_are_refused_whole(post, stored):
    packets = [{"timestamp": at(second), "a": 1, "b": 2} for second in range(50_001)]
    answer = post(packets)
    assert answer.status_code == 413
    assert stored() == {}


def test_metrics_beyond_the_cap_of_a_device_are_refused_and_the_others_stored(post, stored):
    many = {f"metric_{number}": number for number in range(510)}
    answer = post({"timestamp": at(0), **many})
    assert answer.status_code == 422
    body = answer.json()
    assert (body["accepted"], body["rejected_total"], len(body["rejected"])) == (500, 10, 10)
    assert {rejected["code"] for rejected in body["rejected"]} == {"metric_limit"}
    assert len(stored()) == 500


def test_a_hundred_rejected_readings_are_listed_and_all_are_counted(post):
    body = post([{"timestamp": "no", "power": 1}] * 250).json()
    assert (len(body["rejected"]), body["rejected_total"]) == (100, 250)


@pytest.mark.parametrize("query", ["?precision=h", "?precission=s"])
def test_a_parameter_that_is_not_known_is_refused(post, stored, query):
    assert post({"timestamp": 1772366400, "power": 1}, query=query).status_code == 400
    assert stored() == {}


def test_devices_that_send_at_the_same_moment_each_get_their_own_answer(ingest, post, stored):
    from concurrent.futures import ThreadPoolExecutor

    def send(number: int) -> tuple[int, dict]:
        bad = {"timestamp": "bad", "power": 0}
        answer = post(
            [{"timestamp": at(number), f"metric_{number}": number}, *([bad] if number % 3 == 0 else [])]
        )
        return answer.status_code, answer.json()

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(send, range(60)))
    for number, (status, body) in enumerate(answers):
        assert body["accepted"] == 1
        assert status == (422 if number % 3 == 0 else 200)
    assert len(stored()) == 60


def test_a_client_that_leaves_in_the_middle_of_its_body_harms_nobody(ingest, post, device_token):
    connection = http.client.HTTPConnection(ingest.url.removeprefix("http://"))
    connection.putrequest("POST", "/api/readings")
    connection.putheader("Authorization", f"Bearer {device_token}")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b'{"power":')
    connection.close()
    assert post({"power": 1}).status_code == 200


def test_the_documentation_works_offline(ingest):
    page = httpx.get(f"{ingest.url}/docs").text
    for address in [part.split('"')[0] for part in page.split('src="')[1:]] + ["docs/assets/swagger-ui.css"]:
        assert not address.startswith("/")
        assert httpx.get(f"{ingest.url}/{address}").status_code == 200
    assert "https://" not in page
    document = httpx.get(f"{ingest.url}/openapi.json").json()
    assert set(document["paths"]["/api/readings"]["post"]["responses"]) >= {
        "200",
        "400",
        "401",
        "413",
        "422",
        "503",
    }


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1" + b"0" * 400])
@pytest.mark.parametrize("separator", [b",", b"\n"])
def test_a_number_that_is_none_costs_no_more_than_itself(post, stored, number, separator):
    packets = [
        b'{"timestamp": "2026-03-01T12:00:0%dZ", "power": %s, "voltage": 230}' % (n, v)
        for n, v in enumerate([b"1", number])
    ]
    body = separator.join(packets)
    answer = post(body if separator == b"\n" else b"[" + body + b"]")
    assert answer.status_code == 422
    [rejected] = answer.json()["rejected"]
    assert (rejected["index"], rejected["metric"], rejected["code"]) == (1, "power", "value_not_finite")
    assert stored() == {("power", 0): 1, ("voltage", 0): 230, ("voltage", 1): 230}


def test_with_replace_the_newest_value_wins(post, stored):
    post([{"timestamp": at(0), "power": 1}, {"timestamp": at(1), "power": 1}])
    answer = post(
        [
            {"timestamp": at(0), "power": 2},
            {"timestamp": at(1), "power": 1},
            {"timestamp": at(2), "power": 3},
        ],
        query="?on_conflict=replace",
    )
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 2, "duplicate": 1, "replaced": 1, "rejected": [], "ignored": []}
    assert stored() == {("power", 0): 2, ("power", 1): 1, ("power", 2): 3}


@pytest.mark.parametrize(
    "bad",
    [{"timestamp": "never", "power": 2}, {"timestamp": T0.isoformat(), "power": 2}, {"": 1}],
    ids=["bad", "conflict", "name"],
)
def test_atomic_stores_none_when_one_is_refused(post, stored, bad):
    post({"timestamp": at(0), "power": 1})
    answer = post([{"timestamp": at(1), "power": 1}, bad], query="?atomic=1")
    assert answer.status_code == 422
    assert (answer.json()["accepted"], answer.json()["rejected_total"]) == (0, 1)
    assert answer.json()["rejected"][0]["index"] == 1
    assert stored() == {("power", 0): 1}
    assert (
        post(
            [{"timestamp": at(1), "power": 1}, {"timestamp": at(0), "power": 1}], query="?atomic=1"
        ).status_code
        == 200
    )
    assert len(stored()) == 2


class TestGateways:
    @pytest.fixture
    def second(self, alice, device_id):
        from joulebook.web.devices.operations import create_device

        return create_device(f"{device_id}_b", owner=alice)

    @pytest.fixture
    def gateway_token(self, transactional_db, device, second):
        from joulebook.web.devices.operations import issue_gateway_token

        return issue_gateway_token([device, second], name="barn")

    def test_a_gateway_writes_for_each_of_its_devices_in_one_request(
        self, post, telemetry, device, second, gateway_token
    ):
        packets = [{"device_id": one.device_id, "timestamp": at(0), "power": 1} for one in (device, second)]
        assert post(packets, token=gateway_token).json()["accepted"] == 2
        with psycopg.connect(telemetry["reader"]) as conn:
            rows = conn.execute(
                "SELECT device_id FROM readings JOIN series ON series.id = series_id WHERE device_id = ANY(%s)",
                [[device.device_id, second.device_id]],
            ).fetchall()
        assert {row[0] for row in rows} == {device.device_id, second.device_id}

    def test_another_device_none_and_one_that_does_not_exist_are_refused_alike(
        self, post, stored, device, gateway_token
    ):
        good = {"device_id": device.device_id, "timestamp": at(0), "power": 1}
        bad = [{"device_id": "somebody_else"}, {"device_id": "no_such_device"}, {}, {"device_id": 7}]
        answer = post([good, *({**good, "device_id": None} | one for one in bad)], token=gateway_token)
        assert answer.json()["accepted"] == 1
        assert [one["code"] for one in answer.json()["rejected"]] == ["device_not_allowed"] * 4
        first, second = (one["message"] for one in answer.json()["rejected"][:2])
        assert first.replace("somebody_else", "") == second.replace("no_such_device", "")

    def test_a_device_that_was_handed_over_drops_out(self, post, device, second, make_user, gateway_token):
        second.owner = make_user("dora")
        second.save()
        answer = post({"device_id": second.device_id, "power": 1}, token=gateway_token)
        assert answer.json()["rejected"][0]["code"] == "device_not_allowed"
        assert post({"device_id": device.device_id, "power": 1}, token=gateway_token).status_code == 200

    def test_the_devices_of_a_gateway_have_one_owner(self, device, second, make_user):
        from joulebook.web.devices.operations import issue_gateway_token

        second.owner = make_user("dora")
        second.save()
        with pytest.raises(ValueError, match="one owner"):
            issue_gateway_token([device, second])
