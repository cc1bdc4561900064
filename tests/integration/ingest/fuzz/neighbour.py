"""A client that writes beside others all the time and keeps a ledger: what they do must not touch it."""

from __future__ import annotations

import threading
import time

import httpx
import psycopg

FIRST = 1_772_366_400
READINGS = 20


class Neighbour:
    """Sends a batch every few hundredths of a second until it is told to stop."""

    def __init__(self, url: str, token: str, device_id: str) -> None:
        self.device_id = device_id
        self.acknowledged = 0
        self.slowest = 0.0
        self.wrong: list[str] = []
        self._over = threading.Event()
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Neighbour:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more; what was begun is finished first."""
        self._over.set()
        self._thread.join()
        self._http.close()

    def _run(self) -> None:
        first = FIRST
        while not self._over.wait(0.02):
            packets = [{"timestamp": first + row, "steady": first + row} for row in range(READINGS)]
            begin = time.monotonic()
            try:
                answer = self._http.post("/api/readings?precision=s", json=packets)
            except httpx.TransportError as exc:
                self.wrong.append(repr(exc))
                continue
            self.slowest = max(self.slowest, time.monotonic() - begin)
            if answer.status_code != 200 or answer.json()["accepted"] != READINGS:
                self.wrong.append(f"{answer.status_code} {answer.text[:200]}")
            self.acknowledged += READINGS
            first += READINGS

    def lost(self, telemetry: dict[str, str]) -> int:
        """Return how many of the acknowledged readings are not stored as they were sent."""
        with psycopg.connect(telemetry["reader"]) as conn:
            rows = conn.execute(
                "SELECT extract(epoch FROM time)::int8, value FROM readings JOIN series ON series.id = series_id "
                "WHERE device_id = %s AND metric = 'steady'",
                [self.device_id],
            ).fetchall()
        assert len({row[0] for row in rows}) == len(rows)
        assert all(second == value for second, value in rows)
        return self.acknowledged - len(rows)
