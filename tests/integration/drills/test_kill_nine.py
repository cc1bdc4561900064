"""kill -9 of ingest, the database and its backends under load: nothing acknowledged is lost, nothing is doubled.

The oracle is a ledger kept by the client: every batch that it sent, until an answer said that it is
stored. Each drill prints its figures.
"""

from __future__ import annotations

import os
import signal

import pytest

from .faults import copying_backend, kill_and_start_database, wait_for_the_database, writing_backends
from .ledger import Ledger, assert_exactly_once, struck


@pytest.fixture(
    params=[pytest.param(25, id="200,000"), pytest.param(250, id="2,000,000", marks=pytest.mark.slow)]
)
def batches(request) -> int:
    """Batches of 1,000 readings for each of 8 clients."""
    return request.param


@pytest.mark.timeout(900)
def test_killing_ingest_loses_and_doubles_nothing(telemetry, ingest, device_id, device_token, batches):
    ledger = Ledger(ingest.url, device_token, clients=8, batches=batches, readings=1000)

    def kill_and_start() -> None:
        ingest.kill()
        ingest.start()

    with struck(ledger, kill_and_start, times=5 if batches < 100 else 50) as took:
        ledger.run()
    ingest.wait(path="/readyz")
    assert_exactly_once(telemetry, device_id, ledger, "kill -9 of ingest", took)


@pytest.mark.timeout(900)
def test_killing_the_database_loses_and_doubles_nothing(telemetry, ingest, device_id, device_token, batches):
    ledger = Ledger(ingest.url, device_token, clients=8, batches=batches, readings=1000)
    with struck(ledger, kill_and_start_database, times=3 if batches < 100 else 20) as took:
        ledger.run()
    ingest.wait(path="/readyz")
    assert_exactly_once(telemetry, device_id, ledger, "kill -9 of the database", took)


@pytest.mark.timeout(900)
def test_killing_a_backend_in_the_middle_of_its_copy_loses_and_doubles_nothing(
    telemetry, ingest, device_id, device_token, batches
):
    ledger = Ledger(ingest.url, device_token, clients=8, batches=batches, readings=1000)
    in_copy: list[bool] = []

    def kill_backend() -> None:
        pid = copying_backend(telemetry, seconds=3)
        in_copy.append(pid is not None)
        for victim in [pid] if pid is not None else writing_backends(telemetry):
            os.kill(victim, signal.SIGKILL)
        wait_for_the_database(telemetry)  # the server ends all backends and recovers, as after a crash

    with struck(ledger, kill_backend, times=4 if batches < 100 else 50) as took:
        ledger.run()
    ingest.wait(path="/readyz")
    drill = f"kill -9 of a backend, {sum(in_copy)} of them mid-COPY"
    assert_exactly_once(telemetry, device_id, ledger, drill, took)
    assert any(in_copy)
