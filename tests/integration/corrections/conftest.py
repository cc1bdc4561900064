"""A telemetry database of the corrections' own, so that a roller finds their readings alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from joulebook.telemetry.connection import connect
from joulebook.telemetry.rollups.roller import Roller

from ..rollups.conftest import RollupDatabase
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
