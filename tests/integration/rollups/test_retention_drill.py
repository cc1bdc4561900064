"""Writers, undone imports, rollers and retention at once: no orphan, and nothing resurrected.

The oracle is a ledger of every reading, kept by those who wrote and removed it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import psycopg
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import Connection, connect
from joulebook.telemetry.imports.undo import UndoRun
from joulebook.telemetry.readings import MICROSECONDS, to_microseconds
from joulebook.telemetry.retention import Retention
from joulebook.telemetry.rollups.roller import Roller
from joulebook.telemetry.rollups.state import TABLES, read_state
from joulebook.telemetry.rollups.verify import verify_all
from joulebook.telemetry.timescale import read_chunks
from joulebook.telemetry.writer import Outcome, write_batch

CLOSED = datetime(2026, 1, 1, tzinfo=UTC)
MIDNIGHT = to_microseconds(CLOSED)
HOUR = 3600 * MICROSECONDS
DAYS = 280
KEPT_DAYS = 40

Key = tuple[int, int]


class Ledger:
    """What is stored by which import, as its clients were told."""

    def __init__(self) -> None:
        self.value: dict[Key, float] = {}
        self.imports: dict[int, list[Key]] = {}
        self.counts = Counter[str]()
        self._lock = threading.Lock()

    def wrote(self, batch: Batch, outcome: np.ndarray, import_id: int) -> None:
        keys = list(zip(batch.series_id.tolist(), batch.time.tolist(), strict=True))
        with self._lock:
            stored = [place for place, each in enumerate(outcome) if each == Outcome.STORED]
            self.counts["stored"] += len(stored)
            self.counts["too old"] += int((outcome == Outcome.TOO_OLD).sum())
            self.imports[import_id] = [keys[place] for place in stored]
            self.value |= {keys[place]: float(batch.value[place]) for place in stored}

    def undid(self, keys: list[Key]) -> None:
        with self._lock:
            self.counts["undone"] += len(keys)
            for key in keys:
                del self.value[key]

    def next_undo(self) -> int | None:
        with self._lock:
            return min(self.imports) if len(self.imports) > 5 else None

    def forget(self, import_id: int) -> None:
        with self._lock:
            del self.imports[import_id]


def removed_by_undo(conn: Connection, import_id: int) -> list[Key]:
    """Undo an import and return the keys that are gone by it: what is too old stays until it is dropped."""
    seen: dict[str, set[Key]] = {}

    def look(point: str) -> None:
        rows = conn.execute("SELECT series_id, time FROM readings WHERE import_id = %s", [import_id])
        seen[point] = {(series_id, to_microseconds(instant)) for series_id, instant in rows.fetchall()}

    run = UndoRun(conn, import_id=import_id, lease=1, slice_readings=2000, pause=look)
    gone: list[Key] = []
    while run.step():
        # Nothing is looked at in a slice that lies before what may be changed.
        gone += seen.pop("uncovered", set()) - seen.pop("removed", set())
    assert len(gone) == run.removed
    return gone


class Drill:
    """Everybody who takes part, each on a connection of its own."""

    def __init__(self, urls: dict[str, str], series: list[int]) -> None:
        self.urls, self.series = urls, series
        self.ledger = Ledger()
        self.stop = threading.Event()
        self.numbers = iter(range(1, 1 << 30))
        self.lock = threading.Lock()
        self.dropped = 0

    def write(self) -> None:
        with self.lock:
            random = np.random.default_rng(next(self.numbers))
        with connect(self.urls["writer"]) as conn:
            # A little slower than the rollers, or nothing would ever be rolled up, and so none dropped.
            while not self.stop.wait(0.05):
                with self.lock:
                    import_id = next(self.numbers)
                time_ = MIDNIGHT + random.integers(0, DAYS * 24 * HOUR, 20)
                number = random.choice(self.series, 20).astype(np.int32)
                batch = Batch(number, time_, random.normal(size=20))
                self.ledger.wrote(batch, write_batch(conn, batch, import_id=import_id), import_id)

    def undo(self) -> None:
        with connect(self.urls["writer"]) as conn:
            while not self.stop.wait(0.1):
                import_id = self.ledger.next_undo()
                if import_id is None:
                    continue
                gone = removed_by_undo(conn, import_id)
                self.ledger.forget(import_id)
                self.ledger.undid(gone)

    def retain(self) -> None:
        keep = {
            "readings": timedelta(days=KEPT_DAYS),
            "readings_1m": None,
            "readings_5m": None,
            "readings_1h": None,
        }
        with connect(self.urls["writer"]) as conn:
            retention = Retention(conn, keep)
            day = 0
            while not self.stop.wait(0.05):
                day = min(day + 3, DAYS)
                self.dropped += len(retention.drop(patience=timedelta(0)))
                retention.move(CLOSED + timedelta(days=day))

    def roll(self) -> None:
        with connect(self.urls["writer"]) as conn:
            roller = Roller(conn)
            while not self.stop.is_set():
                if not roller.roll():
                    self.stop.wait(0.01)

    def read(self) -> None:
        """Read as history does, so that dropping meets queries under way."""
        with psycopg.connect(self.urls["reader"], autocommit=True) as conn:
            while not self.stop.is_set():
                conn.execute("SELECT count(*), sum(value) FROM readings WHERE series_id = 1")
                self.stop.wait(0.01)

    def is_enough(self) -> bool:
        counts = self.ledger.counts
        return self.dropped > 5 and min(counts["stored"], counts["undone"], counts["too old"]) > 50

    def run(self, seconds: float) -> None:
        parts: list[Callable[[], None]] = [
            self.write, self.write, self.undo, self.retain, self.roll, self.roll, self.read,
        ]  # fmt: skip
        with ThreadPoolExecutor(len(parts)) as pool:
            running = [pool.submit(part) for part in parts]
            begin = time.monotonic()
            # On a busy machine it takes longer until enough has happened.
            while not self.is_enough() or time.monotonic() < begin + seconds:
                if any(each.done() for each in running) or time.monotonic() > begin + seconds + 90:
                    break
                time.sleep(0.05)
            self.stop.set()
            for each in running:
                each.result(60)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seconds", [pytest.param(6), pytest.param(60, marks=pytest.mark.slow)])
def test_write_against_drop_against_undo_leaves_no_orphan_and_resurrects_nothing(rollup_database, seconds):
    series = rollup_database.series(3)
    rollup_database.roller.close(CLOSED + timedelta(days=DAYS))
    rollup_database.roll_all()
    drill = Drill(rollup_database.urls, series)
    drill.run(seconds)
    rollup_database.roll_all()
    with connect(rollup_database.urls["writer"]) as conn:
        Retention(conn, dict.fromkeys(("readings", "readings_1m", "readings_5m", "readings_1h"))).drop(
            patience=timedelta(0)
        )
        retained_from = read_state(conn).retained_from["readings"]
        chunks = read_chunks(conn, TABLES)["readings"]
        found = verify_all(conn, 0, 1 << 60)

    ledger = drill.ledger.value
    stored = {
        (row[0], to_microseconds(row[1])): row[2]
        for row in rollup_database.owner.execute("SELECT series_id, time, value FROM readings")
    }
    kept = {key: value for key, value in ledger.items() if key[1] >= retained_from}
    hours = Counter((number, instant // HOUR * HOUR) for number, instant in ledger)
    rolled = {
        (row[0], to_microseconds(row[1])): row[2]
        for row in rollup_database.owner.execute("SELECT series_id, bucket, count FROM readings_1h")
    }
    readings_wrong = len(stored.items() ^ kept.items())
    hours_wrong = len(rolled.items() ^ hours.items())
    counts = drill.ledger.counts
    print(  # noqa: T201 - a drill reports its figures
        f"\nwrite against drop against undo for {seconds} s: {counts['stored']} stored, "
        f"{counts['undone']} undone, {counts['too old']} refused, {drill.dropped} chunks dropped; "
        f"mismatches: {readings_wrong} readings, {hours_wrong} hours, {found.differing} buckets"
    )
    assert (readings_wrong, hours_wrong, found.differing) == (0, 0, 0)
    assert rollup_database.marks() == 0
    assert all(begin >= retained_from for begin, _ in chunks)
    assert drill.is_enough()
