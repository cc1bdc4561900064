"""The client of the drills: it keeps a ledger of what it sent and of the answers, and so is their oracle."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import psycopg

START = datetime(2026, 5, 1, tzinfo=UTC)


class Ledger:
    """A client that sends each batch until it is acknowledged, and remembers what it was told."""

    def __init__(
        self, url: str, token: str, *, clients: int, batches: int, readings: int, start: datetime = START
    ) -> None:
        self.start = start
        self.url = f"{url}/api/readings"
        self.headers = {"Authorization": f"Bearer {token}"}
        self.clients, self.batches, self.readings = clients, batches, readings
        self.total = clients * batches * readings
        self.acknowledged = 0
        self.unknown_fate = 0
        self.refused = 0
        self.wrong: list[str] = []
        self.given_up = threading.Event()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Send everything; return when every batch is acknowledged."""
        with ThreadPoolExecutor(self.clients) as pool:
            list(pool.map(self._client, range(self.clients)))

    def _client(self, client: int) -> None:
        with httpx.Client(timeout=30) as http:
            for number in range(self.batches):
                self._send_until_acknowledged(http, client, number)

    def _send_until_acknowledged(self, http: httpx.Client, client: int, number: int) -> None:
        first = number * self.readings
        packets = [
            {
                "timestamp": (self.start + timedelta(seconds=first + row)).isoformat(),
                f"client_{client}": first + row,
            }
            for row in range(self.readings)
        ]
        deadline = time.monotonic() + 60
        while not self.given_up.is_set():
            if time.monotonic() > deadline:
                self.given_up.set()
                raise AssertionError("a batch was not acknowledged for a minute")
            try:
                answer = http.post(self.url, json=packets, headers=self.headers)
            except httpx.TransportError:
                with self._lock:
                    self.unknown_fate += 1
                time.sleep(0.1)
                continue
            if answer.status_code == 503:
                assert 1 <= int(answer.headers["Retry-After"]) <= 60
                with self._lock:
                    self.refused += 1
                time.sleep(0.2)
                continue
            with self._lock:
                body = answer.json()
                if answer.status_code != 200 or body["accepted"] + body["duplicate"] != self.readings:
                    self.wrong.append(f"{answer.status_code} {answer.text[:200]}")
                self.acknowledged += self.readings
            return


@contextmanager
def struck(ledger: Ledger, action: Callable[[], None], *, times: int) -> Iterator[list[float]]:
    """Do something violent at even steps of the ledger's way; give the seconds that each took."""
    took: list[float] = []
    failed: list[BaseException] = []

    def strike() -> None:
        try:
            for number in range(1, times + 1):
                while ledger.acknowledged < ledger.total * number / (times + 1):
                    if ledger.given_up.wait(0.002):
                        return
                begin = time.monotonic()
                action()
                took.append(time.monotonic() - begin)
        except BaseException as exc:  # noqa: BLE001 - raised again below
            failed.append(exc)
            ledger.given_up.set()

    thread = threading.Thread(target=strike)
    thread.start()
    try:
        yield took
    finally:
        ledger.given_up.set()
        thread.join()
    if failed:
        raise failed[0]


def assert_exactly_once(
    telemetry: dict[str, str], device_id: str, ledger: Ledger, drill: str, took: list[float]
) -> None:
    """Compare the ledger with what is stored, and print the drill's figures."""
    with psycopg.connect(telemetry["reader"]) as conn:
        rows = conn.execute(
            "SELECT metric, count(*), count(DISTINCT time), sum(value) FROM readings "
            "JOIN series ON series.id = series_id WHERE device_id = %s GROUP BY metric",
            [device_id],
        ).fetchall()
    expected = ledger.batches * ledger.readings
    lost = sum(expected - row[2] for row in rows) + (ledger.clients - len(rows)) * expected
    doubled = sum(row[1] - row[2] for row in rows)
    print(  # noqa: T201 - a drill reports its figures
        f"\n{drill}: {len(took)} times (away for {max(took):.1f} s at most), {ledger.acknowledged} readings acknowledged, lost {lost}, doubled {doubled}; "
        f"{ledger.unknown_fate} requests of unknown fate and {ledger.refused} answers 503 were sent again"
    )
    assert ledger.wrong == []
    assert ledger.acknowledged == ledger.total
    assert (lost, doubled) == (0, 0)
    assert {row[3] for row in rows} == {expected * (expected - 1) / 2}
