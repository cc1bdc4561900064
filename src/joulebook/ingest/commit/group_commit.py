"""Group commit: requests that wait at the same moment share one COPY and one commit.

A thread owns the connection. While it copies and commits one batch, further requests gather; when it
is done it takes all of them at once. So batches grow with the load by themselves, and a lone request
waits for nobody. Nothing is acknowledged before its commit. What waits is bounded, and so is how long:
a database that does not answer frees its callers after `patience`. Where the queue is full, it is the
sender with the most readings in it whose newest are refused: nobody can fill it for all others.
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

from joulebook.ingest.connection import PATIENCE_SECONDS, PatientConnection, SeriesForgotten
from joulebook.ingest.metrics import IngestMetrics
from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import Connection
from joulebook.telemetry.errors import BatchRefused, DatabaseUnavailable, TelemetryError
from joulebook.telemetry.writer import write_batch, write_whole_batch

log = logging.getLogger(__name__)

Outcomes = NDArray[np.int8]


_HEAVIEST_SECONDS = 0.05
"""How long the sender with the most readings is remembered: finding it means to look at all."""


class QueueFull(TelemetryError):
    """As many readings wait for their commit as may; the client must keep its data and try later."""


@dataclass(frozen=True, eq=False)
class _Submission:
    batch: Batch
    done: asyncio.Future[Outcomes]
    since: float
    sender: str = ""
    connection: int | None = None
    replace: bool = False
    atomic: bool = False

    def joins(self, other: _Submission) -> bool:
        """Tell whether both may share one COPY: an atomic one succeeds or fails by itself."""
        same = self.replace == other.replace and self.connection == other.connection
        return same and not self.atomic and not other.atomic


class GroupCommitter:
    """Stores submitted batches, many to a transaction, and tells each what became of its rows.

    Start it inside the running event loop; `close` lets everything that waits finish first.
    """

    def __init__(
        self,
        url: str,
        *,
        queue_readings: int,
        flush_rows: int = 100_000,
        patience: float = PATIENCE_SECONDS,
        metrics: IngestMetrics | None = None,
    ) -> None:
        """Prepare to write to `url`.

        `queue_readings` bounds the readings that wait, `flush_rows` those of one COPY, `patience` the
        seconds that a batch waits for its commit. `metrics` is told of every commit.
        """
        self._metrics = metrics or IngestMetrics()
        self._metrics.queue_readings = lambda: self._waiting_readings
        self._metrics.oldest_unflushed = self._oldest_age
        self._connection = PatientConnection(url)
        self._queue_readings = queue_readings
        self._flush_rows = flush_rows
        self._patience = patience
        self._waiting: deque[_Submission] = deque()
        self._waiting_readings = 0
        self._by_sender: defaultdict[str, int] = defaultdict(int)
        self._heaviest, self._heaviest_at = "", 0.0
        self._storing: list[_Submission] = []
        self._storing_since = 0.0
        self._wake = threading.Condition()
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._watch = self._loop.call_later(patience / 20, self._free_overdue)
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    @property
    def connection(self) -> int:
        """The number of the connection that is written to; ids of series hold for as long as it does."""
        return self._connection.opened

    async def submit(
        self,
        batch: Batch,
        *,
        sender: str = "",
        connection: int | None = None,
        replace: bool = False,
        atomic: bool = False,
    ) -> Outcomes:
        """Store a batch of a sender's; return one `Outcome` a row after the commit.

        `connection` is what `connection` was before the ids of the series were asked for, or None where
        they are right whatever happens. With `replace` another value for a stored key takes its place. With
        `atomic` nothing is stored when the outcomes hold a conflict.

        Raises `QueueFull`, `DatabaseUnavailable` (its fate is unknown, sending again is harmless),
        `BatchRefused`, and `SeriesForgotten` where the connection is another one by now.
        """
        done: asyncio.Future[Outcomes] = self._loop.create_future()
        submission = _Submission(
            batch, done, self._loop.time(), sender, connection=connection, replace=replace, atomic=atomic
        )
        refused: list[_Submission] = []
        with self._wake:
            if self._closing:
                raise DatabaseUnavailable("ingest is shutting down")
            if self._waiting and self._waiting_readings + len(batch) > self._queue_readings:
                refused = self._make_room(sender, len(batch))
            self._waiting.append(submission)
            self._count(submission, 1)
            self._wake.notify()
        for each in refused:
            if not each.done.done():
                each.done.set_exception(QueueFull("others have fewer readings in the queue, which is full"))
        return await done

    def _count(self, submission: _Submission, sign: int) -> None:
        """Count the readings of a submission that has come or, with a `sign` of -1, has gone."""
        readings = sign * len(submission.batch)
        self._waiting_readings += readings
        left = self._by_sender[submission.sender] + readings
        if left:
            self._by_sender[submission.sender] = left
        else:
            del self._by_sender[submission.sender]

    def _make_room(self, sender: str, readings: int) -> list[_Submission]:
        """Take the newest submissions of the heaviest sender out of the queue; return them.

        Raises `QueueFull` where `sender` would itself be the heaviest, or where that is not enough.
        """
        full = QueueFull(f"{self._waiting_readings} readings wait for the database already")
        own = self._by_sender.get(sender, 0) + readings
        heaviest = self._heaviest_sender()
        over = self._waiting_readings + readings - self._queue_readings
        if heaviest == sender or self._by_sender.get(heaviest, 0) - over < own:
            raise full
        found: list[int] = []
        for index in range(len(self._waiting) - 1, -1, -1):
            if self._waiting[index].sender == heaviest:
                found.append(index)
                over -= len(self._waiting[index].batch)
                if over <= 0:
                    break
        if over > 0:
            raise full  # the rest is being stored, and cannot be taken back
        refused = [self._waiting[index] for index in found]
        for index, each in zip(found, refused, strict=True):  # from the end: the others keep their places
            del self._waiting[index]
            self._count(each, -1)
        return refused

    def _heaviest_sender(self) -> str:
        now = time.monotonic()
        if now - self._heaviest_at > _HEAVIEST_SECONDS:
            self._heaviest = max(self._by_sender, key=self._by_sender.__getitem__, default="")
            self._heaviest_at = now
        return self._heaviest

    async def close(self) -> None:
        """Refuse new batches, finish those that wait, and close the connection."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        # A thread that even a cut connection does not free is left behind: it ends with the process.
        await asyncio.to_thread(self._thread.join, 2 * self._patience)
        self._watch.cancel()

    def _run(self) -> None:
        while group := self._next_group():
            results = self._store(group)
            with self._wake:
                self._storing = []
                for submission in group:
                    self._count(submission, -1)
            self._loop.call_soon_threadsafe(_deliver, group, results)
        self._connection.close()

    def _free_overdue(self) -> None:
        """Answer the requests that have waited too long, and free the thread from a silent database."""
        self._watch = self._loop.call_later(self._patience / 20, self._free_overdue)
        now = self._loop.time()
        oldest = now - self._patience
        with self._wake:
            overdue = [submission for submission in self._storing if submission.since < oldest]
            while self._waiting and self._waiting[0].since < oldest:
                overdue.append(self._waiting.popleft())
                self._count(overdue[-1], -1)
            stuck = bool(self._storing) and self._storing_since < oldest
        if stuck:
            self._connection.cut()
        for submission in overdue:
            if not submission.done.done():
                message = f"the database has not answered for {self._patience:g} s"
                submission.done.set_exception(DatabaseUnavailable(message))

    def _next_group(self) -> list[_Submission]:
        """Wait for work and take as much of it as one COPY should carry; nothing when closed."""
        with self._wake:
            self._wake.wait_for(lambda: self._waiting or self._closing)
            group: list[_Submission] = []
            rows = 0
            while self._waiting and (
                not group
                or (
                    group[0].joins(self._waiting[0])
                    and rows + len(self._waiting[0].batch) <= self._flush_rows
                )
            ):
                group.append(self._waiting.popleft())
                rows += len(group[-1].batch)
            self._storing = group
            self._storing_since = self._loop.time()
            return group

    def _store(self, group: list[_Submission]) -> list[Outcomes | Exception]:
        try:
            outcomes = self._write(group)
        except BatchRefused as exc:
            if len(group) == 1:
                return [exc]
            # One client's rows must not fail another's: each on its own.
            return [result for submission in group for result in self._store([submission])]
        except Exception as exc:
            if not isinstance(exc, TelemetryError):
                log.exception("a batch could not be stored")
            return [exc] * len(group)
        ends = np.cumsum([len(submission.batch) for submission in group])
        return list(np.split(outcomes, ends[:-1]))

    def _write(self, group: list[_Submission]) -> Outcomes:
        """Store a group whose members join each other."""
        batch = Batch.concat(submission.batch for submission in group)
        write = write_whole_batch if group[0].atomic else write_batch

        def work(conn: Connection) -> Outcomes:
            if group[0].connection not in {None, self.connection}:
                raise SeriesForgotten("the connection to the database was opened anew")
            return write(conn, batch, replace=group[0].replace)

        began = time.perf_counter()
        outcomes = self._connection.run(work)
        self._metrics.commit_seconds.observe(time.perf_counter() - began)
        self._metrics.batch_readings.observe(len(batch))
        return outcomes

    def _oldest_age(self) -> float:
        with self._wake:
            begun = [submission.since for submission in (*self._storing[:1], *islice(self._waiting, 1))]
        return self._loop.time() - min(begun) if begun else 0.0


def _deliver(group: list[_Submission], results: list[Outcomes | Exception]) -> None:
    """Answer the requests of a group, in the event loop."""
    for submission, result in zip(group, results, strict=True):
        if submission.done.done():
            continue
        if isinstance(result, Exception):
            submission.done.set_exception(result)
        else:
            submission.done.set_result(result)
