"""A telemetry database of the corrections' own, so that a roller finds their readings alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.rollups.roller import Roller

from ..rollup_database import RollupDatabase
from ..telemetry_database import telemetry_database


@pytest.fixture(scope="session")
def correction_urls(telemetry: dict[str, str], joulebook: Callable[..., object]) -> Iterator[dict[str, str]]:
    """The addresses of the roles in a migrated, empty telemetry database."""
    with telemetry_database("correction_tests", telemetry, joulebook) as urls:
        yield urls


@pytest.fixture
def database(correction_urls: dict[str, str]) -> Iterator[RollupDatabase]:
    """The database, empty; time is closed until 2026-01-01."""
    with (
        psycopg.connect(correction_urls["superuser"], autocommit=True) as owner,
        connect(correction_urls["writer"]) as writer,
        connect(correction_urls["writer"]) as rolling,
    ):
        found = RollupDatabase(correction_urls, owner, writer, Roller(rolling))
        found.clear("2026-01-01T00:00:00Z")
        yield found


@pytest.fixture
def no_corrections(telemetry: dict[str, str]) -> None:
    """Forget the corrections of earlier tests: accounts that are rolled back give their numbers again."""
    with psycopg.connect(telemetry["superuser"], autocommit=True) as conn:
        conn.execute("TRUNCATE corrections, corrected_readings, correction_steps")


@pytest.fixture
def work(writer: Connection, no_corrections: None, transaction_on_both: None) -> Callable[[], int]:
    """Do what a worker does until no correction waits; return how many it ran."""
    from joulebook.web.corrections.leases import claim_next
    from joulebook.worker.correction_runner import run_claimed

    def run() -> int:
        done = 0
        while claimed := claim_next("a-worker"):
            run_claimed(writer, claimed)
            done += 1
        return done

    return run
