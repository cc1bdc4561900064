"""Group commit: requests waiting at the same moment share one COPY and one commit.

A thread owns the connection. While it copies and commits one group, further requests gather in a queue; then
it takes all of them at once. So groups grow with the load, and a single request does not wait for others. A
request is acknowledged only after its commit. The queue is bounded in readings, and the wait in time: if the
database does not answer, requests fail after a timeout. If the queue is full, the sender with the most
readings in it loses its newest ones, so one sender cannot fill the queue for all others.

The same thread finds the ids of series and the codes of texts, on the same connection (`series_ids`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from joulebook.ingest.commit.columns import Readings
from joulebook.ingest.commit.series_ids import NO_SERIES, NO_TEXT, OTHER_FORM, SeriesIds
from joulebook.ingest.commit.units_said import UnitsSaid
from joulebook.ingest.connection import TIMEOUT_SECONDS, Reconnecting
from joulebook.ingest.metrics import IngestMetrics
from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import Connection
from joulebook.telemetry.errors import BatchRefused, DatabaseUnavailable, TelemetryError
from joulebook.telemetry.writer import write_batch, write_whole_batch

log = logging.getLogger(__name__)

Outcomes = NDArray[np.int8]
"""One number for each reading: a `telemetry.writer.Outcome`, or one of the following."""

OVER_CAP = 100
"""Not stored: the metric is new, and the device has as many metrics as it may."""

NOT_WRITTEN = 101
"""Not stored, nor compared with stored values: another reading of the atomic request was rejected before."""

WRONG_FORM = 102
"""Not stored: a number for a metric that holds text, or the other way round."""

OVER_TEXTS = 103
"""Not stored: the text is new, and the metric has as many different texts as it may."""

_HEAVIEST_SECONDS = 0.05
"""How long the sender with the most readings is remembered, because the search compares all senders."""


class QueueFull(TelemetryError):
    """The queue of readings is full; the client must keep its data and send it again later."""


@dataclass(slots=True, eq=False)
class _Submission:
    readings: Readings
    done: asyncio.Future[Outcomes | None]
    since: float
    sender: str
    replace: bool
    atomic: bool

    def __len__(self) -> int:
        return len(self.readings.time)

    def may_join(self, other: _Submission) -> bool:
        """Return whether both may share one COPY: an atomic submission succeeds or fails alone."""
        return self.replace == other.replace and not self.atomic and not other.atomic


class GroupCommitter:
    """Stores submitted readings, many requests in one transaction, and returns the outcome of each reading.

    Create it inside the running event loop. `close` stores everything still waiting.
    """

    def __init__(
        self,
        url: str,
        *,
        queue_readings: int,
        device_metrics: int,
        metric_texts: int = 200,
        flush_rows: int = 100_000,
        timeout: float = TIMEOUT_SECONDS,
        metrics: IngestMetrics | None = None,
    ) -> None:
        """Prepare to write to `url`.

        It creates up to `device_metrics` series for each device, and up to `metric_texts` texts for each of
        them. `queue_readings` bounds the readings in the queue, and `flush_rows` those of one COPY. A request
        fails if it is not committed after `timeout` seconds. Each commit is counted in `metrics`.
        """
        self._metrics = metrics or IngestMetrics()
        self._metrics.queue_readings = lambda: self._queued
        self._metrics.oldest_unflushed = self._oldest_age
        self._connection = Reconnecting(url)
        self._series: SeriesIds | None = None
        self._units: UnitsSaid | None = None
        self._device_metrics = device_metrics
        self._metric_texts = metric_texts
        self._queue_readings = queue_readings
        self._flush_rows = flush_rows
        self._timeout = timeout
        # Changed only in the event loop. A submission counts from `submit` until its result is delivered.
        self._queued = 0
        self._by_sender: defaultdict[str, int] = defaultdict(int)
        self._heaviest, self._heaviest_at = "", 0.0
        # The event loop appends, the thread takes: both under the lock.
        self._waiting: deque[_Submission] = deque()
        self._storing: list[_Submission] = []
        self._storing_since = 0.0
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._watch = self._loop.call_later(timeout / 20, self._fail_overdue)
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    async def submit(
        self, readings: Readings, *, sender: str = "", replace: bool = False, atomic: bool = False
    ) -> Outcomes | None:
        """Store the readings of a sender, and return the outcome of each after the commit.

        The result may be None if all readings are new. With `replace` another value replaces the stored one
        of the same key. With `atomic` nothing is stored if any reading is rejected, here or by the parser
        before.

        Raises `QueueFull`, `BatchRefused`, and `DatabaseUnavailable` (whether the readings are stored is then
        unknown, and sending them again is safe).
        """
        submission = _Submission(
            readings, self._loop.create_future(), self._loop.time(), sender, replace, atomic
        )
        rows = len(readings.time)
        if self._closing:
            raise DatabaseUnavailable("ingest is shutting down")
        removed: list[_Submission] = []
        with self._lock:
            if self._waiting and self._queued + rows > self._queue_readings:
                removed = self._make_room(sender, rows)
            self._waiting.append(submission)
            if len(self._waiting) == 1:
                self._wake.notify()
        self._queued += rows
        self._by_sender[sender] += rows
        for each in removed:
            self._finish(each, QueueFull("the queue is full, and other senders have fewer readings in it"))
        return await submission.done

    def _finish(self, submission: _Submission, result: Outcomes | Exception | None) -> None:
        """Stop counting a submission, and answer its request unless the request has failed already."""
        rows = len(submission)
        self._queued -= rows
        left = self._by_sender[submission.sender] - rows
        if left:
            self._by_sender[submission.sender] = left
        else:
            del self._by_sender[submission.sender]
        if submission.done.done():
            return
        if isinstance(result, Exception):
            submission.done.set_exception(result)
        else:
            submission.done.set_result(result)

    def _make_room(self, sender: str, rows: int) -> list[_Submission]:
        """Remove the newest submissions of the heaviest sender from the queue, and return them.

        Raises `QueueFull` if `sender` itself would then have the most readings, or if that does not free
        enough.
        """
        full = QueueFull(f"{self._queued} readings wait for the database already")
        own = self._by_sender.get(sender, 0) + rows
        now = time.monotonic()
        if now - self._heaviest_at > _HEAVIEST_SECONDS:
            self._heaviest = max(self._by_sender, key=self._by_sender.__getitem__, default="")
            self._heaviest_at = now
        heaviest = self._heaviest
        over = self._queued + rows - self._queue_readings
        if heaviest == sender or self._by_sender.get(heaviest, 0) - over < own:
            raise full
        indexes = []
        for index in range(len(self._waiting) - 1, -1, -1):
            if self._waiting[index].sender == heaviest:
                indexes.append(index)
                over -= len(self._waiting[index])
                if over <= 0:
                    break
        if over > 0:
            raise full  # the rest is being stored already
        removed = [self._waiting[index] for index in indexes]
        for index in indexes:  # from the end: the indexes of the others stay valid
            del self._waiting[index]
        return removed

    def _fail_overdue(self) -> None:
        """Fail the requests that have waited too long; cut the connection if the database does not answer."""
        self._watch = self._loop.call_later(self._timeout / 20, self._fail_overdue)
        oldest = self._loop.time() - self._timeout
        message = f"the database has not answered for {self._timeout:g} s"
        with self._lock:
            overdue = []
            while self._waiting and self._waiting[0].since < oldest:
                overdue.append(self._waiting.popleft())
            storing = [submission for submission in self._storing if submission.since < oldest]
            is_stuck = bool(self._storing) and self._storing_since < oldest
        if is_stuck:
            self._connection.cut()
        for submission in overdue:
            self._finish(submission, DatabaseUnavailable(message))
        for submission in storing:  # counted until the thread is done with them
            if not submission.done.done():
                submission.done.set_exception(DatabaseUnavailable(message))

    def _oldest_age(self) -> float:
        """Return the seconds since the oldest uncommitted submission; 0 if there is none."""
        with self._lock:
            begun = [submission.since for submission in (*self._storing[:1], *islice(self._waiting, 1))]
        return self._loop.time() - min(begun) if begun else 0.0

    async def close(self) -> None:
        """Refuse new readings, store those waiting, and close the connection."""
        with self._lock:
            self._closing = True
            self._wake.notify()
        # If even a cut connection does not free the thread, it ends with the process.
        await asyncio.to_thread(self._thread.join, 2 * self._timeout)
        self._watch.cancel()

    # The thread

    def _run(self) -> None:
        while group := self._next_group():
            results = self._store(group)
            with self._lock:
                self._storing = []
            self._loop.call_soon_threadsafe(self._deliver, group, results)
        self._connection.close()

    def _deliver(self, group: list[_Submission], results: list[Outcomes | Exception | None]) -> None:
        for submission, result in zip(group, results, strict=True):
            self._finish(submission, result)

    def _next_group(self) -> list[_Submission]:
        """Wait for submissions; return those of one COPY, or an empty list after `close`."""
        with self._lock:
            while not (self._waiting or self._closing):
                self._wake.wait()
            waiting = self._waiting
            group: list[_Submission] = []
            rows = 0
            while waiting and (
                not group or (group[0].may_join(waiting[0]) and rows + len(waiting[0]) <= self._flush_rows)
            ):
                group.append(waiting.popleft())
                rows += len(group[-1])
            self._storing = group
            self._storing_since = self._loop.time()
            return group

    def _store(self, group: list[_Submission]) -> list[Outcomes | Exception | None]:
        """Store a group; return for each submission its outcomes, its error, or None if all are new."""
        began = time.perf_counter()
        try:
            outcomes = self._connection.run(lambda conn: self._write(conn, group))
        except BatchRefused as exc:
            if len(group) == 1:
                return [exc]
            # Store each submission alone: one client's rows must not make another's fail.
            return [result for submission in group for result in self._store([submission])]
        except Exception as exc:
            if not isinstance(exc, TelemetryError):
                log.exception("readings could not be stored")
            return [exc] * len(group)
        self._metrics.commit_seconds.observe(time.perf_counter() - began)
        self._metrics.batch_readings.observe(len(outcomes))
        if not outcomes.any():
            return [None] * len(group)
        results: list[Outcomes | Exception | None] = []
        start = 0
        for submission in group:
            results.append(outcomes[start : start + len(submission)])
            start += len(submission)
        return results

    def _write(self, conn: Connection, group: list[_Submission]) -> Outcomes:
        """Write the readings of a group and return their outcomes."""
        if self._series is None or self._series.conn is not conn:
            self._series = SeriesIds(
                conn, most_per_device=self._device_metrics, most_texts=self._metric_texts
            )
        first = group[0]
        times: list[int] = []
        for submission in group:
            times += submission.readings.time
        ids, values = self._series.resolve([submission.readings for submission in group])
        if any(submission.readings.units for submission in group):
            if self._units is None or self._units.conn is not conn:
                self._units = UnitsSaid(conn)
            self._units.note(submission.readings for submission in group)
        batch = Batch(
            series_id=np.array(ids, np.int32),
            time=np.array(times, np.int64),
            value=np.array(values, np.float64),
        )
        write = write_whole_batch if first.atomic else write_batch
        has_series = batch.series_id > NO_SERIES
        if has_series.all() and not (first.atomic and first.readings.rejected_total):
            return write(conn, batch, replace=first.replace)
        outcomes = np.full(len(batch), NOT_WRITTEN, np.int8)
        for stands_in, outcome in _NOT_STORED:
            outcomes[batch.series_id == stands_in] = outcome
        if has_series.any() and not (first.atomic and _is_refused(first.readings, outcomes)):
            outcomes[has_series] = write(conn, batch.take(has_series), replace=first.replace)
        return outcomes


_NOT_STORED = ((NO_SERIES, OVER_CAP), (OTHER_FORM, WRONG_FORM), (NO_TEXT, OVER_TEXTS))


def _is_refused(readings: Readings, outcomes: Outcomes) -> bool:
    """Return whether anything of an atomic request is refused, so that nothing of it may be stored.

    A reading of the wrong form is ignored like a null, and its packet is refused if nothing else is in it.
    """
    is_refused = np.isin(outcomes, (OVER_CAP, OVER_TEXTS)).any()
    return bool(is_refused or readings.rejected_total or packets_of_wrong_form(readings, outcomes))


def packets_of_wrong_form(readings: Readings, outcomes: Outcomes) -> list[int]:
    """Return the indexes of packets that have readings, all of them of the wrong form."""
    is_wrong = outcomes == WRONG_FORM
    if not is_wrong.any():
        return []
    packet = np.array(readings.packet)
    return sorted(set(packet[is_wrong].tolist()) - set(packet[~is_wrong].tolist()))
