"""Rolls readings up, a little at each turn, on a connection that it keeps."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta

from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.errors import DatabaseAway
from joulebook.telemetry.rollups.roller import Roller

log = logging.getLogger(__name__)

GRACE = timedelta(seconds=15)
"""How long a minute stays open after its end: readings that come later than that cost a mark."""

TURN_SECONDS = 5.0
"""How long a turn rolls up before it lets the worker's other tasks have theirs."""


class RollupKeeper:
    """Closes minutes as they pass and rolls up what is marked; harmless beside others of its kind."""

    def __init__(self, url: str) -> None:
        """Prepare to connect to `url` as the writer."""
        self._url = url
        self._conn: Connection | None = None
        self._roller: Roller | None = None
        self._is_away = False

    def turn(self) -> bool:
        """Close what has passed and roll up for a while; return False where the database is away.

        That is told to the log once.
        """
        try:
            self._roll(until=time.monotonic() + TURN_SECONDS)
        except DatabaseAway as exc:
            self.close()
            if not self._is_away:
                log.warning("readings are not rolled up while their database is away: %s", exc)
            self._is_away = True
            return False
        else:
            if self._is_away:
                log.info("the readings' database is back, rolling up again")
            self._is_away = False
            return True

    def close(self) -> None:
        """Let go of the connection; the next turn opens another."""
        conn, self._conn, self._roller = self._conn, None, None
        if conn is not None:
            conn.close()

    def _roll(self, until: float) -> None:
        if self._conn is None or self._roller is None:
            self._conn = connect(self._url)
            self._roller = Roller(self._conn)
        self._roller.close(datetime.now(UTC) - GRACE)
        while self._roller.roll() and time.monotonic() < until:
            pass
