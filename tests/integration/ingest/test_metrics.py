"""`GET /metrics`: every number moves by what was really sent."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
from websockets.sync.client import connect

from ..drills.faults import stopped_database
from .conftest import until_waiting

SAMPLE = re.compile(r"^joulebook_(?:ingest_)?(\w+)\{(.*)\} (\S+)$", re.MULTILINE)


def numbers(url: str) -> dict[str, float]:
    answer = httpx.get(f"{url}/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = {}
    for name, labels, value in SAMPLE.findall(answer.text):
        assert 'process="1"' in labels
        others = [label for label in labels.split(",") if label != 'process="1"']
        found[f"{name} {','.join(others)}".strip()] = float(value)
    return found


def moved(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name)}


def test_readings_are_counted_by_outcome_and_requests_by_status(ingest, device_token):
    url = f"{ingest.url}/api/readings"
    headers = {"Authorization": f"Bearer {device_token}"}
    first = [{"timestamp": f"2026-05-01T00:00:0{second}Z", "power": second} for second in range(5)]
    other = [{"timestamp": "2026-05-01T00:00:00Z", "power": 9}]
    before = numbers(ingest.url)
    with httpx.Client(headers=headers) as http:
        assert http.post(url, json=first).status_code == 200
        assert http.post(url, json=first[:3]).status_code == 200
        assert http.post(url, json=[*other, {"timestamp": "2026-05-01", "power": 1}]).status_code == 422
        assert http.post(url, json=other, params={"atomic": 1}).status_code == 422
        assert http.post(url, json=other, params={"on_conflict": "replace"}).status_code == 200
        assert http.post(url, content=b"{").status_code == 400
        after = moved(before, numbers(ingest.url))
    assert httpx.post(url, json=first).status_code == 401
    assert moved(before, numbers(ingest.url))['requests_total status="401"'] == 1
    outcomes = {name: value for name, value in after.items() if name.startswith("readings_total")}
    assert outcomes == {
        'readings_total outcome="stored"': 5,
        'readings_total outcome="duplicate"': 3,
        'readings_total outcome="conflict"': 2,
        'readings_total outcome="replaced"': 1,
        'readings_total outcome="rejected"': 1,
    }
    assert after['requests_total status="200"'] == 3
    assert after['requests_total status="422"'] == 2
    assert after['requests_total status="400"'] == 1
    assert after["batch_readings_count"] == after["commit_seconds_count"] == 5
    assert after["batch_readings_sum"] == 11
    assert 0 < after["commit_seconds_sum"] < 10
    assert after['batch_readings_bucket le="1"'] == 3
    assert after['batch_readings_bucket le="10"'] == 5


def test_messages_of_websockets_are_counted_by_what_became_of_them(ingest, device_id, device_token):
    messages = [
        {"timestamp": "2026-05-02T00:00:00Z", "power": 1},
        {"timestamp": "2026-05-02T00:00:00Z", "power": 1},
        [{"timestamp": "2026-05-02T00:00:01Z", "power": 1}, {"timestamp": "2026-05-02", "power": 1}],
        [{"p": 1}] * 100_001,
    ]
    before = numbers(ingest.url)
    address = f"{ingest.url.replace('http', 'ws')}/ws/device/{device_id}"
    headers = {"Authorization": f"Bearer {device_token}"}
    with connect(address, additional_headers=headers, max_size=None) as connection:
        for message in [*map(json.dumps, messages), "{"]:
            connection.send(message.replace(" ", ""))
        answers = [json.loads(connection.recv(timeout=20)) for _ in range(5)]
    assert [answer.get("code") for answer in answers] == [None, None, None, "too_large", "unparsable"]
    after = moved(before, numbers(ingest.url))
    assert {name: value for name, value in after.items() if name.startswith("messages_total")} == {
        'messages_total outcome="stored"': 2,
        'messages_total outcome="partial"': 1,
        'messages_total outcome="too_large"': 1,
        'messages_total outcome="unparsable"': 1,
    }


def test_what_waits_for_the_database_can_be_seen(ingest, device_token):
    headers = {"Authorization": f"Bearer {device_token}"}
    packet = [{"timestamp": f"2026-05-01T00:00:0{second}Z", "power": 1} for second in range(7)]
    with httpx.Client(base_url=ingest.url, headers=headers, timeout=30) as http, ThreadPoolExecutor() as pool:
        assert http.post("/api/readings", json=packet[:1]).status_code == 200
        idle = numbers(ingest.url)
        assert idle["queue_readings"] == idle["oldest_unflushed_seconds"] == 0
        with stopped_database():
            answer = pool.submit(http.post, "/api/readings", json=packet)
            until_waiting(ingest, 7)
            time.sleep(0.6)
            waiting = numbers(ingest.url)
        assert answer.result().status_code == 200
    assert waiting["queue_readings"] == 7
    assert 0.5 < waiting["oldest_unflushed_seconds"] < 30
    assert waiting["open_connections"] >= 2  # the one that waits, and the one that asks
    assert numbers(ingest.url)["queue_readings"] == 0
