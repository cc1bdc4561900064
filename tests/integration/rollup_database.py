"""A telemetry database of the rollup tests' own, so that a roller finds their readings alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import psycopg
import pytest

from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.rollups.roller import Roller
from joulebook.telemetry.series import ensure_series

from .rollups.rollup_truth import differing_buckets
from .telemetry_database import telemetry_database

DATABASE = "rollup_tests"


@pytest.fixture(scope="session")
def rollup_urls(telemetry: dict[str, str], joulebook: Callable[..., object]) -> Iterator[dict[str, str]]:
    """The addresses of the roles in a migrated, empty telemetry database."""
    with telemetry_database(DATABASE, telemetry, joulebook) as urls:
        yield urls


@dataclass
class RollupDatabase:
    """Connections of each role, and what the tests do with them."""

    urls: dict[str, str]
    owner: psycopg.Connection
    writer: Connection
    roller: Roller
    _names: Iterator[int] = field(default_factory=lambda: count(1))

    def clear(self, closed_until: object) -> None:
        """Forget all readings and rollups, and set until when time is closed."""
        self.owner.execute(
            "TRUNCATE readings, readings_1m, readings_5m, readings_1h, rollup_dirty, series, "
            "import_progress, import_problems, import_replaced, corrections, corrected_readings, correction_steps, "
            "series_texts "
            "RESTART IDENTITY"
        )
        self.owner.execute(
            "UPDATE rollup_state SET closed_until = %s, writable_from = DEFAULT, readings_kept_from = DEFAULT, "
            "readings_1m_kept_from = DEFAULT, readings_5m_kept_from = DEFAULT, "
            "readings_1h_kept_from = DEFAULT, kept_from_moved_at = DEFAULT",
            [closed_until],
        )

    def reopen(self, closed_until: object) -> None:
        """Go back to where time is closed until an instant, which is harmless for series of one's own."""
        self.owner.execute("DELETE FROM rollup_dirty")
        self.owner.execute("UPDATE rollup_state SET closed_until = %s", [closed_until])

    def series(self, number: int = 1) -> list[int]:
        """Create series and return their ids."""
        keys = [(f"device-{next(self._names)}", "power") for _ in range(number)]
        return list(ensure_series(self.writer, keys).values())

    def roll_all(self) -> int:
        """Roll up until nothing is marked; return the number of passes."""
        passes = 0
        while self.roller.roll():
            passes += 1
        return passes

    def closed_until(self) -> int:
        """Return until when time is closed, in microseconds since 1970."""
        row = self.owner.execute("SELECT closed_until FROM rollup_state").fetchone()
        assert row
        return to_microseconds(row[0])

    def differing(self) -> list[object]:
        """Return every closed bucket of any table that a recomputation in Python tells otherwise."""
        return differing_buckets(self.owner)

    def marks(self) -> int:
        """Return the number of marks."""
        row = self.owner.execute("SELECT count(*) FROM rollup_dirty").fetchone()
        assert row
        return int(row[0])


@pytest.fixture
def rollup_database(rollup_urls: dict[str, str]) -> Iterator[RollupDatabase]:
    """The rollup tests' database, empty; time is closed until 2026-01-01."""
    with (
        psycopg.connect(rollup_urls["superuser"], autocommit=True) as owner,
        connect(rollup_urls["writer"]) as writer,
        connect(rollup_urls["writer"]) as rolling,
    ):
        database = RollupDatabase(rollup_urls, owner, writer, Roller(rolling))
        database.clear("2026-01-01T00:00:00Z")
        yield database
