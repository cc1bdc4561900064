"""From a request's columns to stored rows: finds the series, joins the group commit, tells the outcome."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulebook.ingest.commit.columns import Readings
from joulebook.ingest.commit.group_commit import GroupCommitter, Outcomes
from joulebook.ingest.commit.series_directory import SeriesDirectory
from joulebook.ingest.connection import SeriesForgotten
from joulebook.ingest.metrics import IngestMetrics
from joulebook.telemetry.batch import Batch
from joulebook.telemetry.errors import DatabaseUnavailable
from joulebook.telemetry.writer import Outcome

_ATTEMPTS = 3
"""How often the ids of series are asked for because the connection to write to was opened anew."""


@dataclass(frozen=True)
class Stored:
    """How many readings are new, were there already, took another value's place, and had to stand back."""

    accepted: int = 0
    duplicate: int = 0
    replaced: int = 0
    conflicts: int = 0


class ReadingStore:
    """Stores the readings of requests; what is refused on the way is added to their `rejected`."""

    def __init__(self, *, series: SeriesDirectory, committer: GroupCommitter, metrics: IngestMetrics) -> None:
        self._series = series
        self._committer = committer
        self._metrics = metrics

    async def store(
        self, readings: Readings, *, sender: str = "", replace: bool = False, atomic: bool = False
    ) -> Stored:
        """Store the readings of a token, the `sender`, and return after their commit.

        With `replace` the newest value wins over a stored one, else the stored one is kept and the new
        one is rejected as a conflict. With `atomic` nothing is stored as soon as anything is rejected.
        Raises `DatabaseUnavailable`, `QueueFull` and `BatchRefused`.
        """
        stored = await self._store(readings, sender=sender, replace=replace, atomic=atomic)
        count = self._metrics.readings
        count["stored"] += stored.accepted - stored.replaced
        count["duplicate"] += stored.duplicate
        count["conflict"] += stored.conflicts
        count["replaced"] += stored.replaced
        count["rejected"] += readings.rejected_total - stored.conflicts
        return stored

    async def _store(self, readings: Readings, *, sender: str, replace: bool, atomic: bool) -> Stored:
        for _ in range(_ATTEMPTS):
            # Before the ids are asked for: what is asked of an earlier connection's database may be wrong.
            connection = self._committer.connection
            ids = self._series.known(readings.keys, connection=connection) if readings.time else []
            if ids is None:
                ids = await self._create_series(readings, connection=connection)
            if not readings.time or (atomic and readings.rejected_total):
                return Stored()
            batch = Batch(
                series_id=np.array([ids[number] for number in readings.key], np.int32),
                time=np.array(readings.time, np.int64),
                value=np.array(readings.value, np.float64),
            )
            try:
                outcomes = await self._committer.submit(
                    batch, sender=sender, connection=connection, replace=replace, atomic=atomic
                )
            except SeriesForgotten:
                continue
            return _account(readings, outcomes, atomic=atomic)
        raise DatabaseUnavailable("connections to the database do not last")

    async def _create_series(self, readings: Readings, *, connection: int) -> list[int]:
        """Create the series that are new; reject the readings of those beyond their device's cap."""
        found = await self._series.ensure(readings.keys, connection=connection)
        if len(found) < len(readings.keys):
            kept = []
            for row, number in enumerate(readings.key):
                if readings.keys[number] in found:
                    kept.append(row)
                    continue
                metric = readings.keys[number][1]
                message = f"the device has as many metrics as it may; {metric[:80]!r} would be one more"
                readings.reject(readings.packet[row], metric, "metric_limit", message)
            readings.keep(kept)
        return [found.get(key, 0) for key in readings.keys]


def _account(readings: Readings, outcomes: Outcomes, *, atomic: bool) -> Stored:
    """Count what became of the readings; those that had to stand back are added to `rejected`."""
    # As nearly always, all of them: looking for every other outcome costs more than parsing a packet.
    if not outcomes.any():
        return Stored(accepted=len(outcomes))
    counts = np.bincount(outcomes, minlength=len(Outcome))
    for row in np.flatnonzero(outcomes == Outcome.CONFLICT):
        metric = readings.keys[readings.key[row]][1]
        message = "another value is stored for this time, and was kept"
        readings.reject(readings.packet[row], metric, "conflict", message)
    for row in np.flatnonzero(outcomes == Outcome.TOO_OLD):
        metric = readings.keys[readings.key[row]][1]
        readings.reject(readings.packet[row], metric, "time_past", "readings of this time are no longer kept")
    if atomic and (counts[Outcome.CONFLICT] or counts[Outcome.TOO_OLD]):
        return Stored(conflicts=int(counts[Outcome.CONFLICT]))
    return Stored(
        accepted=int(counts[Outcome.STORED] + counts[Outcome.REPLACED]),
        duplicate=int(counts[Outcome.DUPLICATE]),
        replaced=int(counts[Outcome.REPLACED]),
        conflicts=int(counts[Outcome.CONFLICT]),
    )
