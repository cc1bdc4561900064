"""Stores the readings of a request and accounts for each of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from joulebook.ingest.commit.columns import Readings
from joulebook.ingest.commit.group_commit import (
    OVER_CAP,
    OVER_TEXTS,
    WRONG_FORM,
    GroupCommitter,
    Outcomes,
    packets_of_wrong_form,
)
from joulebook.ingest.metrics import IngestMetrics
from joulebook.telemetry.writer import Outcome


class StoredCounts(NamedTuple):
    """How many readings are new or replaced, were stored before, replaced a value, or conflict with one."""

    accepted: int = 0
    duplicate: int = 0
    replaced: int = 0
    conflicts: int = 0


class ReadingStore:
    """Stores the readings of requests; rejections by the database are added to their `rejected`."""

    def __init__(self, *, committer: GroupCommitter, metrics: IngestMetrics) -> None:
        self._committer = committer
        self._metrics = metrics

    async def store(
        self, readings: Readings, *, sender: str = "", replace: bool = False, atomic: bool = False
    ) -> StoredCounts:
        """Store the readings of a token, the `sender`, and return after their commit.

        If another value is stored for a time, the new one replaces it with `replace`, and is rejected as a
        conflict without. With `atomic` nothing is stored if any reading is rejected.
        Raises `DatabaseUnavailable`, `QueueFull` and `BatchRefused`.
        """
        stored = StoredCounts()
        if readings.time:
            outcomes = await self._committer.submit(readings, sender=sender, replace=replace, atomic=atomic)
            # Nearly always all are new.
            if outcomes is None:
                stored = StoredCounts(len(readings.time))
            else:
                stored = _count_outcomes(readings, outcomes, atomic=atomic)
        count = self._metrics.readings
        count["stored"] += stored.accepted - stored.replaced
        count["duplicate"] += stored.duplicate
        count["conflict"] += stored.conflicts
        count["replaced"] += stored.replaced
        count["rejected"] += readings.rejected_total - stored.conflicts
        return stored


def _count_outcomes(readings: Readings, outcomes: Outcomes, *, atomic: bool) -> StoredCounts:
    """Count the outcomes, and add those that are rejections to `rejected`."""
    for row in np.flatnonzero(outcomes == OVER_CAP):
        metric = readings.keys[readings.key[row]][1]
        message = f"the device has as many metrics as it may; {metric[:80]!r} would be one more"
        readings.reject(readings.packet[row], metric, "metric_limit", message)
    for row in np.flatnonzero(outcomes == OVER_TEXTS):
        metric = readings.keys[readings.key[row]][1]
        message = f"{metric[:80]!r} has as many different texts as it may; this would be one more"
        readings.reject(readings.packet[row], metric, "text_limit", message)
    for row in np.flatnonzero(outcomes == WRONG_FORM):
        metric = readings.keys[readings.key[row]][1]
        if readings.names_ignored:
            readings.ignore(metric)
        else:
            message = f"the readings of {metric[:80]!r} are text, and this is a number"
            readings.reject(readings.packet[row], metric, "value_type", message)
    for packet in packets_of_wrong_form(readings, outcomes) if readings.names_ignored else ():
        message = "no field of it can be stored: its metrics hold text, and these are numbers, or reversed"
        readings.reject(packet, None, "nothing_stored", message)
    for row in np.flatnonzero(outcomes == Outcome.CONFLICT):
        metric = readings.keys[readings.key[row]][1]
        message = "another value is stored for this time, and was kept"
        readings.reject(readings.packet[row], metric, "conflict", message)
    for row in np.flatnonzero(outcomes == Outcome.TOO_OLD):
        metric = readings.keys[readings.key[row]][1]
        readings.reject(readings.packet[row], metric, "time_past", "readings of this time are no longer kept")
    counts = np.bincount(outcomes, minlength=len(Outcome))
    if atomic and (counts[Outcome.CONFLICT] or counts[Outcome.TOO_OLD]):
        return StoredCounts(conflicts=int(counts[Outcome.CONFLICT]))
    return StoredCounts(
        accepted=int(counts[Outcome.STORED] + counts[Outcome.REPLACED]),
        duplicate=int(counts[Outcome.DUPLICATE]),
        replaced=int(counts[Outcome.REPLACED]),
        conflicts=int(counts[Outcome.CONFLICT]),
    )
