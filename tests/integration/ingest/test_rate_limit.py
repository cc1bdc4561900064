"""A token above its rate is told 429 and when to come again; others are not held up."""

from __future__ import annotations

import json
import time

import httpx
import pytest
from websockets.sync.client import connect

from joulebook.web.devices.operations import create_device, issue_device_token

from ...conftest import Service, free_port


@pytest.fixture(scope="module")
def limited(telemetry):
    """An ingest service that allows 10 readings a second a token, and 100 at once."""
    service = Service("ingest", free_port(), {"JOULEBOOK_INGEST_RATE": "10"})
    service.start(path="/readyz")
    yield service
    service.stop()


def packets(first: int, count: int) -> list[dict[str, object]]:
    return [{"timestamp": 1_760_000_000 + second, "power": second} for second in range(first, first + count)]


def test_above_the_rate_the_answer_is_429_and_after_the_wait_all_is_stored(
    limited, alice, device_id, device_token
):
    url = f"{limited.url}/api/readings?precision=s"
    headers = {"Authorization": f"Bearer {device_token}"}
    other = create_device(f"{device_id}_other", owner=alice)
    other_headers = {"Authorization": f"Bearer {issue_device_token(other)}"}
    with httpx.Client(headers=headers) as http:
        assert http.post(url, json=packets(0, 100)).json()["accepted"] == 100
        assert http.post(url, json=packets(100, 30)).status_code == 200
        refused = http.post(url, json=packets(130, 20))
        assert refused.status_code == 429
        assert refused.json()["code"] == "rate"
        wait = int(refused.headers["Retry-After"])
        assert 1 <= wait <= 3
        assert httpx.post(url, json=packets(0, 50), headers=other_headers).status_code == 200
        time.sleep(wait)
        again = http.post(url, json=packets(100, 40))
        assert again.status_code == 200
        assert again.json()["accepted"] + again.json()["duplicate"] == 40
    text = httpx.get(f"{limited.url}/metrics").text
    assert 'joulebook_ingest_requests_total{process="1",status="429"}' in text


def test_line_protocol_clients_are_told_in_the_way_that_keeps_their_data(limited, device_token):
    """A v1 client drops its data on 429, and so is told 503; a v2 client knows 429."""
    headers = {"Authorization": f"Token {device_token}"}
    lines = "\n".join(f"home power={number} {1_760_000_000 + number}" for number in range(150))
    with httpx.Client(base_url=limited.url, headers=headers) as http:
        assert http.post("/api/v2/write?precision=s", content=lines).status_code == 204
        v2 = http.post("/api/v2/write?precision=s", content=lines)
        assert v2.status_code == 429
        assert 3 <= int(v2.headers["Retry-After"]) <= 6
        v1 = http.post("/write?precision=s", content=lines)
        assert v1.status_code == 503
        assert 3 <= int(v1.headers["Retry-After"]) <= 6


def test_a_client_that_sends_both_halves_of_a_batch_until_both_were_taken_comes_to_an_end(
    limited, device_token
):
    """So does a v2 client that was told 413: each time it begins with the first half."""

    def lines(first: int) -> str:
        seconds = range(1_760_000_000 + first, 1_760_000_000 + first + 115)
        return "\n".join(f"home power={second % 7} {second}" for second in seconds)

    headers = {"Authorization": f"Token {device_token}"}
    with httpx.Client(base_url=limited.url, headers=headers, params={"precision": "s"}) as http:
        assert http.post("/api/v2/write", content=lines(0)).status_code == 204
        refused = http.post("/api/v2/write", content=lines(115))
        assert refused.status_code == 429
        time.sleep(int(refused.headers["Retry-After"]))
        assert http.post("/api/v2/write", content=lines(0)).status_code == 204
        assert http.post("/api/v2/write", content=lines(115)).status_code == 204


def test_a_websocket_is_told_for_each_message_and_stores_all_of_it_after_the_wait(
    limited, device_id, device_token
):
    """What was sent before is stored, what came too fast is not, and the connection stays."""

    def ask(first: int, count: int) -> dict[str, object]:
        connection.send(json.dumps(packets(first, count)))
        return json.loads(connection.recv(timeout=60))

    address = f"{limited.url.replace('http', 'ws')}/ws/device/{device_id}?precision=s"
    headers = {"Authorization": f"Bearer {device_token}"}
    with connect(address, additional_headers=headers) as connection:
        assert ask(0, 130)["accepted"] == 130
        for seq in (2, 3):
            refused = ask(130, 20)
            assert (refused["seq"], refused["code"]) == (seq, "rate")
            assert "accepted" not in refused
        assert 1 <= refused["retry_after"] <= 3
        # The limit is the token's, whichever way it sends.
        url = f"{limited.url}/api/readings?precision=s"
        assert httpx.post(url, json=packets(0, 1), headers=headers).status_code == 429
        time.sleep(refused["retry_after"])
        again = ask(130, 20)
        assert (again["seq"], again["accepted"]) == (4, 20)
    text = httpx.get(f"{limited.url}/metrics").text
    assert 'joulebook_ingest_messages_total{outcome="rate",process="1"} 2' in text
