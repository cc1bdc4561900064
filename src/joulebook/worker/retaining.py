"""Applies retention now and then, on a connection that it opens for it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from joulebook.telemetry.connection import connect
from joulebook.telemetry.errors import DatabaseAway
from joulebook.telemetry.readings import from_microseconds
from joulebook.telemetry.retention import QUERIES_END, Keep, Retention

log = logging.getLogger(__name__)

EVERY = timedelta(hours=1)
"""How long after something was found to be too old it is dropped, at the soonest."""


class RetentionKeeper:
    """Drops what is older than it is to be kept; harmless beside others of its kind."""

    def __init__(self, url: str, keep: Keep, *, patience: timedelta = QUERIES_END) -> None:
        """Prepare to connect to `url` as the writer."""
        self._url = url
        self._keep = keep
        self._patience = patience

    def turn(self) -> bool:
        """Drop what was found to be too old some time ago, and find what is too old now.

        Return False where the database is away.
        """
        try:
            with connect(self._url) as conn:
                retention = Retention(conn, self._keep)
                for gone in retention.drop(patience=self._patience):
                    log.info("%s: dropped %d chunk(s) before %s", gone.table, gone.chunks, _day(gone.before))
                for table, instant in retention.move(datetime.now(UTC)).items():
                    log.info("%s: what is older than %s is no longer kept", table, _day(instant))
        except DatabaseAway as exc:
            log.warning("nothing is dropped while the readings' database is away: %s", exc)
            return False
        return True


def _day(instant: int) -> str:
    return f"{from_microseconds(instant):%Y-%m-%dT%H:%MZ}"
