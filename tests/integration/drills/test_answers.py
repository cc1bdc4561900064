"""Answers that get lost, poison among good readings, and writers that meet on the same keys."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from ...conftest import Service, free_port

FIRST_SECOND = 1_770_000_000
CLIENTS = 8


def stored(telemetry: dict[str, str], device_id: str) -> tuple[int, int]:
    """Return the device's rows, and its distinct keys."""
    with psycopg.connect(telemetry["reader"]) as conn:
        return conn.execute(
            "SELECT count(*), count(DISTINCT (series_id, time)) FROM readings "
            "JOIN series ON series.id = series_id WHERE device_id = %s",
            [device_id],
        ).fetchone()


@pytest.mark.parametrize(
    "rounds", [20, pytest.param(500, marks=pytest.mark.slow)], ids=["short", "500 answers"]
)
def test_a_retry_after_a_lost_answer_is_all_duplicate(telemetry, ingest, device_id, device_token, rounds):
    """The client hangs up: after the commit in even rounds, as soon as it has sent in odd ones."""
    address = urlsplit(ingest.url)
    readings, retries = 50, Counter()
    with httpx.Client(headers={"Authorization": f"Bearer {device_token}"}) as http:
        for number in range(rounds):
            first = FIRST_SECOND + number * readings
            packets = [{"timestamp": first + row, "power": row} for row in range(readings)]
            body = json.dumps(packets).encode()
            with socket.create_connection((address.hostname, address.port)) as lost:
                head = (
                    f"POST /api/readings?precision=s HTTP/1.1\r\nHost: localhost\r\n"
                    f"Authorization: Bearer {device_token}\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                lost.sendall(head.encode() + body)
                deadline = time.monotonic() + 20
                while number % 2 == 0 and stored(telemetry, device_id)[0] < (number + 1) * readings:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
            answer = http.post(f"{ingest.url}/api/readings?precision=s", json=packets)
            assert answer.status_code == 200
            told = answer.json()
            assert told["accepted"] + told["duplicate"] == readings
            if number % 2 == 0:
                assert told["duplicate"] == readings
            retries.update(accepted=told["accepted"], duplicate=told["duplicate"])
    rows, keys = stored(telemetry, device_id)
    print(  # noqa: T201 - a drill reports its figures
        f"\nanswers dropped, {rounds} times: the retries were {retries['duplicate']} duplicates and "
        f"{retries['accepted']} accepted; rows twice: {rows - keys}"
    )
    assert rows == keys == rounds * readings


def poison(kind: int, second: int, client: int) -> tuple[dict[str, object], str]:
    """Return a packet that is refused, and the code with which."""
    metric = f"client_{client}"
    return [
        ({"timestamp": second, metric: float("nan")}, "value_not_finite"),
        ({"timestamp": "2026-05-01T00:00:00", metric: 1}, "time_ambiguous"),
        ({"timestamp": 1, metric: 1}, "time_past"),
        ({"timestamp": second, metric: 1, "device_id": "somebody_else"}, "device_not_allowed"),
        ({"timestamp": FIRST_SECOND - 1, metric: -1}, "conflict"),
    ][kind % 5]


@pytest.mark.parametrize(
    "batches", [13, pytest.param(125, marks=pytest.mark.slow)], ids=["100,000", "1,000,000"]
)
def test_one_poison_reading_in_a_thousand_is_named_exactly_and_costs_no_other(
    telemetry, ingest, device_id, device_token, batches
):
    wrong: list[str] = []

    def send_all(client: int) -> None:
        dice = random.Random(client)
        headers = {"Authorization": f"Bearer {device_token}"}
        with httpx.Client(timeout=60, headers=headers) as http:
            url = f"{ingest.url}/api/readings?precision=s"
            # The value with which the poison of the last kind is in conflict.
            assert (
                http.post(url, json={"timestamp": FIRST_SECOND - 1, f"client_{client}": 0}).status_code == 200
            )
            for batch in range(batches):
                first = FIRST_SECOND + batch * 1000
                packets = [{"timestamp": first + row, f"client_{client}": row} for row in range(1000)]
                index = dice.randrange(1000)
                packets[index], code = poison(batch + client, first + index, client)
                answer = http.post(url, content=json.dumps(packets))
                told = answer.json()
                named = [(one["index"], one["code"]) for one in told.get("rejected", [])]
                if answer.status_code != 422 or named != [(index, code)] or told["accepted"] != 999:
                    wrong.append(f"{answer.status_code} {answer.text[:300]}, expected {index} {code}")

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(send_all, range(CLIENTS)))
    rows, keys = stored(telemetry, device_id)
    print(  # noqa: T201 - a drill reports its figures
        f"\npoison 1 in 1,000, {CLIENTS * batches * 1000:,} readings by {CLIENTS} clients: "
        f"wrong indices: {len(wrong)}; good readings stored: {rows - CLIENTS:,}, twice: {rows - keys}"
    )
    assert wrong == []
    assert rows == keys == CLIENTS * (batches * 999 + 1)


@pytest.mark.parametrize(
    "rounds", [6, pytest.param(100, marks=pytest.mark.slow)], ids=["short", "100 rounds"]
)
def test_no_deadlock_reaches_writers_of_shuffled_overlapping_keys(telemetry, device_id, device_token, rounds):
    """8 writers over 4 processes, half of them replacing, each sending the same keys in its own order."""
    service = Service("ingest", free_port(), {"JOULEBOOK_INGEST_WORKERS": "4"})
    service.start(path="/readyz")
    statuses: Counter[int] = Counter()
    told: Counter[str] = Counter()
    lock, together = threading.Lock(), threading.Barrier(CLIENTS)
    keys = 1500

    def deadlocks() -> int:
        with psycopg.connect(telemetry["superuser"]) as conn:
            return conn.execute(
                "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            ).fetchone()[0]

    def send_all(client: int) -> None:
        dice = random.Random(client)
        replaces = client % 2 == 0
        for number in range(rounds):
            packets = [
                {
                    "timestamp": FIRST_SECOND + number * keys // 2 + row,
                    "replaced" if replaces else "kept": client if replaces else row % (keys // 2),
                }
                for row in range(keys)
            ]
            dice.shuffle(packets)
            together.wait(timeout=60)
            answer = httpx.post(
                f"{service.url}/api/readings?precision=s" + ("&on_conflict=replace" if replaces else ""),
                json=packets,
                headers={"Authorization": f"Bearer {device_token}"},
                timeout=60,
            )
            with lock:
                statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    told["kept accepted"] += 0 if replaces else answer.json()["accepted"]
                    told["all"] += answer.json()["accepted"] + answer.json()["duplicate"]

    try:
        before = deadlocks()
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(send_all, range(CLIENTS)))
        time.sleep(1.1)  # the server's own count arrives late
        seen = deadlocks() - before
    finally:
        service.stop()
    rows, distinct = stored(telemetry, device_id)
    print(  # noqa: T201 - a drill reports its figures
        f"\n8 writers of shuffled overlapping keys, {rounds} rounds: deadlocks seen by the database: {seen}, "
        f"by clients: {CLIENTS * rounds - statuses[200]}; rows twice: {rows - distinct}"
    )
    assert statuses == {200: CLIENTS * rounds}
    assert told["all"] == CLIENTS * rounds * keys
    assert rows == distinct == (rounds + 1) * keys // 2 * 2
    assert told["kept accepted"] == (rounds + 1) * keys // 2
