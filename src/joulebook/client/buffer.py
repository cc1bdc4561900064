"""Stores the waiting packets in an SQLite file: in order, bounded, and still there after kill -9."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from joulebook.client.errors import BufferFull, BufferUnusable, ClientClosed

FILE = "packets.sqlite3"
_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS packets (id INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS bookmark (id INTEGER PRIMARY KEY CHECK (id = 1), text TEXT NOT NULL);
"""
# AUTOINCREMENT: a packet's number is never used again, so an answer never settles other packets.


@dataclass(frozen=True)
class WaitingPackets:
    """The oldest packets of a queue: the numbers of the first and the last one, and the text of each."""

    first: int
    last: int
    bodies: list[bytes]


@dataclass
class _Change:
    """One transaction's changes: of the count of packets, of their bytes, and of the dropped packets."""

    count: int = 0
    size: int = 0
    dropped: int = 0


class Buffer:
    """Packets in a folder of their own, for one process at a time; any thread may call its methods.

    Up to `room` bytes of packets may wait. If there are more, the oldest are dropped with `drop_oldest`, and
    `append` raises `BufferFull` without it. The methods raise `BufferUnusable`, and `ClientClosed` after
    `close`.
    """

    def __init__(self, folder: Path, *, room: int, drop_oldest: bool) -> None:
        """Open the buffer, or create it. Raises `BufferUnusable`."""
        self._path = folder / FILE
        self._room, self._drop_oldest = room, drop_oldest
        self._lock = threading.Lock()
        self._closed = False
        self.dropped = 0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._db = self._open()
        except (OSError, sqlite3.Error) as exc:
            raise BufferUnusable(f"buffer {folder} cannot be opened: {_remedy(exc)}") from exc
        self.count, self.size = self._db.execute(
            "SELECT count(*), coalesce(sum(length(body)), 0) FROM packets"
        ).fetchone()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=1.0, isolation_level=None, check_same_thread=False)
        try:
            # One process at a time: two would each send everything.
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("PRAGMA journal_mode = WAL")
            # FULL: a packet handed over is on the disk, and survives a power cut if the disk does.
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA journal_size_limit = 1048576")
            db.execute("BEGIN EXCLUSIVE")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            _check_version(version)
            for statement in _SCHEMA.strip().split("\n"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {_VERSION}")
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db

    def append(self, bodies: Sequence[bytes], *, bookmark: str | None = None) -> None:
        """Store packets, all or none, and in the same transaction the `bookmark`, unless it is None.

        Raises `BufferFull`, `BufferUnusable` and `ClientClosed`.
        """
        size = sum(map(len, bodies))
        with self._transaction() as change:
            excess = self.size + size - self._room if bodies else 0
            if excess > 0 and (size > self._room or not self._drop_oldest):
                raise BufferFull(
                    f"{self.count:,} packets with {self.size:,} bytes wait in {self._path.parent}, "
                    f"and {self._room:,} bytes is the most; they leave as soon as ingest takes them"
                )
            if excess > 0:
                self._remove_oldest(excess, change)
            self._db.executemany("INSERT INTO packets (body) VALUES (?)", ([body] for body in bodies))
            if bookmark is not None:
                self._db.execute("INSERT OR REPLACE INTO bookmark VALUES (1, ?)", [bookmark])
            change.count += len(bodies)
            change.size += size

    def _remove_oldest(self, excess: int, change: _Change) -> None:
        """Remove the oldest packets with at least `excess` bytes."""
        gone = freed = last = 0
        for number, size in self._db.execute("SELECT id, length(body) FROM packets ORDER BY id"):
            if freed >= excess:
                break
            gone, freed, last = gone + 1, freed + size, number
        self._db.execute("DELETE FROM packets WHERE id <= ?", [last])
        change.count -= gone
        change.size -= freed
        change.dropped += gone

    def oldest(self, *, most: int, most_bytes: int) -> WaitingPackets | None:
        """Return up to `most` packets with up to `most_bytes` in all, at least one; None if none waits."""
        numbers: list[int] = []
        bodies: list[bytes] = []
        size = 0
        with self._transaction():
            for number, body in self._db.execute("SELECT id, body FROM packets ORDER BY id LIMIT ?", [most]):
                size += len(body)
                if bodies and size > most_bytes:
                    break
                numbers.append(number)
                bodies.append(body)
        return WaitingPackets(numbers[0], numbers[-1], bodies) if bodies else None

    def settle(self, waiting: WaitingPackets) -> None:
        """Remove packets: ingest has stored them, or will never accept them."""
        span = [waiting.first, waiting.last]
        with self._transaction() as change:
            count, size = self._db.execute(
                "SELECT count(*), coalesce(sum(length(body)), 0) FROM packets WHERE id BETWEEN ? AND ?", span
            ).fetchone()
            self._db.execute("DELETE FROM packets WHERE id BETWEEN ? AND ?", span)
            change.count -= count
            change.size -= size

    def span(self) -> tuple[int, int] | None:
        """Return the numbers of the oldest and of the newest packet waiting; None without one."""
        with self._transaction():
            first, last = self._db.execute("SELECT min(id), max(id) FROM packets").fetchone()
        return None if first is None else (int(first), int(last))

    def bookmark(self) -> str | None:
        """Return the last stored bookmark; None if there is none."""
        with self._transaction():
            row = self._db.execute("SELECT text FROM bookmark").fetchone()
        return None if row is None else str(row[0])

    def close(self) -> None:
        """Close the file; harmless if it is closed."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[_Change]:
        """Run one transaction; once it is committed, add the changes noted in the yielded object."""
        change = _Change()
        with self._lock:
            if self._closed:
                raise ClientClosed("the client is closed; make a new one")
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield change
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as exc:
                raise BufferUnusable(f"buffer {self._path.parent} cannot be used: {_remedy(exc)}") from exc
            self.count += change.count
            self.size += change.size
            self.dropped += change.dropped


def _check_version(version: int) -> None:
    if version not in {0, _VERSION}:
        raise sqlite3.DatabaseError(f"it has format {version}, this version knows {_VERSION}")


def _remedy(exc: Exception) -> str:
    """Return a buffer's problem with its remedy."""
    text = str(exc)
    if "locked" in text:
        return "another process uses it; give each client a folder of its own"
    if "malformed" in text or "not a database" in text:
        return f"{text}; move the folder away; packets may be recovered from {FILE}"
    if "full" in text:
        return f"{text}; make room on the disk"
    return text
