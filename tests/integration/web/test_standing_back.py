"""People who look do not slow devices down: the web and what it costs the database run at a lower priority."""

from __future__ import annotations

import os

import httpx
import psycopg

from joulebook.priority import STEPS


def niceness(process: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, process)


def backends(telemetry: dict[str, str], application: str) -> list[int]:
    with psycopg.connect(telemetry["superuser"]) as conn:
        found = conn.execute("SELECT pid FROM pg_stat_activity WHERE application_name = %s", [application])
        return [pid for (pid,) in found.fetchall()]


def test_the_web_stands_back_and_so_do_the_backends_that_answer_it(telemetry, web, ingest, device_token):
    # Both connect when they are first asked, and again when the database was away.
    headers = {"Authorization": f"Bearer {device_token}"}
    assert httpx.post(f"{ingest.url}/api/readings", json={"power": 1}, headers=headers).status_code == 200
    assert httpx.get(f"{web.url}/readyz").status_code == 200
    assert niceness(ingest.process.pid) == niceness(0)
    assert niceness(web.process.pid) == niceness(0) + STEPS
    (writing, *_), reading = backends(telemetry, "joulebook-writer"), backends(telemetry, "joulebook-web")
    # Beside those of the web lie the ones of other tests, which ask in this process.
    assert niceness(writing) + STEPS in {niceness(pid) for pid in reading}
