"""Web, ingest and worker behind PgBouncer in transaction mode: each transaction may find another server session."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import psycopg
import pytest
from websockets.sync.client import connect

from ...conftest import Service, free_port, run_joulebook
from ..imports.working import expected, queue_file, rows, stored, wait_for_state
from ..ingest.conftest import until
from ..telemetry_database import addresses, telemetry_database
from ..worker_process import Worker
from .pgbouncer import PROGRAM, PgBouncer

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="pgbouncer is not installed; on Debian: apt-get install pgbouncer"
)

NOW = int(time.time()) // 60 * 60


@pytest.fixture(scope="module")
def direct(telemetry, joulebook) -> Iterator[dict[str, str]]:
    """The addresses of a database of these tests' own, past the pooler."""
    with telemetry_database("pooler_tests", telemetry, joulebook) as urls:
        yield urls


@pytest.fixture(scope="module")
def pooler(direct) -> Iterator[PgBouncer]:
    # Not below pytest's folders: another user could not enter those.
    folder = Path(tempfile.mkdtemp(prefix="joulebook-pooler-"))
    started = PgBouncer(folder, {role: direct[role] for role in ("writer", "reader")})
    yield started
    started.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def pooled(pooler) -> Iterator[dict[str, Service]]:
    """Web and ingest behind the pooler."""
    with ExitStack() as stack:
        services = {}
        for command in ("web", "ingest"):
            service = Service(command, free_port(), addresses(pooler.urls))
            service.start(path="/readyz")
            stack.callback(service.stop)
            services[command] = service
        yield services


@pytest.fixture
def worker(pooler, tmp_path, transactional_db) -> Iterator[Worker]:
    started = Worker(pooler.urls, tmp_path / "worker.log")
    yield started
    started.kill()


def test_the_pooler_gives_one_client_different_sessions(pooler):
    """Else the tests below would show nothing."""
    with ExitStack() as stack:
        clients = [
            stack.enter_context(psycopg.connect(pooler.urls["writer"], autocommit=True)) for _ in range(3)
        ]
        # All three are busy at once, so there are three sessions.
        for client in clients:
            stack.enter_context(client.transaction())
            client.execute("SELECT 1")
    with psycopg.connect(pooler.urls["writer"], autocommit=True, prepare_threshold=None) as client:
        sessions = {client.execute("SELECT pg_backend_pid()").fetchone() for _ in range(20)}
    assert len(sessions) > 1


@pytest.mark.timeout(900)
def test_everything_works_behind_the_pooler(pooled, worker, direct, pooler, alice, device, device_token):
    from joulebook.web.accounts.operations import issue_user_token

    ingest, web, device_id = pooled["ingest"], pooled["web"], device.device_id
    # Readings of the last hours, some late, some twice, some replaced: more often than statements are prepared.
    with httpx.Client(headers={"Authorization": f"Bearer {device_token}"}, timeout=60) as http:
        for turn in range(12):
            packets = [
                {"timestamp": NOW - 7200 + 60 * turn + second, "power": turn, f"metric_{turn}": second}
                for second in range(60)
            ]
            for query in ("", "", "&on_conflict=replace"):
                answer = http.post(f"{ingest.url}/api/readings?precision=s{query}", json=packets)
                assert answer.status_code == 200, answer.text
            assert answer.json()["duplicate"] == 120
    address = f"{ingest.url.replace('http', 'ws')}/ws/device/{device_id}"
    with connect(address, additional_headers={"Authorization": f"Bearer {device_token}"}) as connection:
        for second in range(12):
            connection.send(json.dumps({"power": second}))
            assert json.loads(connection.recv(timeout=30))["accepted"] == 1

    # Two imports, of which one replaces, and undoing that: what is there is what the first has stored.
    first = queue_file(alice, device, rows(5_000))
    wait_for_state(first, "done", seconds=240, log=worker.log)
    second = queue_file(alice, device, rows(5_000).replace(".5\n", ".75\n"), on_conflict="replace")
    wait_for_state(second, "done", seconds=240, log=worker.log)
    from joulebook.web.imports.operations import undo_import

    assert stored(direct["reader"], device_id)["energy"] != expected(5_000)["energy"]
    undo_import(second, by=alice)
    wait_for_state(second, "undone", seconds=240, log=worker.log)
    assert stored(direct["reader"], device_id)["energy"] == expected(5_000)["energy"]

    def is_rolled() -> bool:
        with psycopg.connect(direct["reader"]) as conn:
            ((waiting,),) = conn.execute("SELECT count(*) FROM rollup_dirty").fetchall()
            ((closed,),) = conn.execute(
                "SELECT closed_until > now() - '5 min'::interval FROM rollup_state"
            ).fetchall()
        return bool(closed) and not waiting

    until(is_rolled, what="the worker does not roll up", seconds=240)
    verified = run_joulebook("verify", "--full", **addresses(pooler.urls))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert re.search(r"buckets differing  0$", verified.stdout, re.MULTILINE)

    # Reads, again more often than statements are prepared, over readings and each rollup.
    headers = {"Authorization": f"Bearer {issue_user_token(alice)}"}
    with httpx.Client(base_url=web.url, headers=headers, timeout=120) as http:
        for _ in range(8):
            for asked in ("range=1h", "range=24h", "range=30d", "range=all&max_points=50"):
                answer = http.get(f"/api/history/{device_id}?{asked}")
                assert answer.status_code == 200, answer.text
        export = http.get(f"/api/export/{device_id}?start=2024-03-01T00:00:00Z&end=2024-03-02T00:00:00Z")
        assert export.status_code == 200
        assert len(export.text.splitlines()) > 5_000
        ticket = http.post(f"/api/live-ticket/{device_id}").json()["url"]
    stream = f"{ingest.url}{ticket[ticket.index('/live/') :]}"
    with httpx.stream("GET", stream, timeout=60) as live:
        lines = live.iter_lines()
        assert next(lines) == ": open"
        seen = ""
        deadline = time.monotonic() + 60
        while "42.5" not in seen:
            assert time.monotonic() < deadline
            httpx.post(
                f"{ingest.url}/api/readings",
                json={"power": 42.5},
                headers={"Authorization": f"Bearer {device_token}"},
            )
            seen = next(line for line in lines if line)
    for log in (web.log, ingest.log, worker.log):
        text = log.read_text()
        assert not re.search(r"prepared statement|Traceback|ERROR|rolled up while|unavailable", text), text[
            -3000:
        ]


def test_nothing_that_a_transaction_has_set_is_left_for_others(pooled, pooler, direct):
    """An import must not be committed on promises that another client has given up, nor end others' waiting."""
    with psycopg.connect(pooler.urls["writer"], autocommit=True, prepare_threshold=None) as client:
        for _ in range(20):
            found = client.execute(
                "SELECT current_setting('synchronous_commit'), current_setting('lock_timeout'), "
                "current_setting('idle_in_transaction_session_timeout')"
            ).fetchone()
            assert found == ("on", "0", "0")
