"""Backup and restore beside `pg_dump` and `pg_restore` of the same readings, in turns.

Joulebook's command lowers its own priority, so that devices come first; here it does not, since the others
do not either. `pg_dump` runs as the server's superuser with its custom format, compressed as it does by
default; `pg_restore` fills an empty database between the two functions that TimescaleDB has for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import psycopg

from benchmarks.stack import Stack
from benchmarks.table import Promise, Row
from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase, ensure_binaries
from joulebook.telemetry.batch import Batch
from joulebook.telemetry.connection import connect
from joulebook.telemetry.series import ensure_series

READINGS = 10_000_000
_SERIES = 50
_STEP_SECONDS = 60
"""With these a home of fifty metrics sends for four and a half months: twenty chunks."""
_BLOCK = 1000
_BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
_LARGEST_RATIO = 1.3
_BACK_UP = """
import sys
from pathlib import Path
from joulebook.backup.create import create_backup
from joulebook.config import Config
create_backup(Config.from_environ(), Path(sys.argv[1]))
"""
_COPY = "COPY readings (time, value, series_id, import_id) FROM STDIN (FORMAT BINARY)"


def measure_backup(stack: Stack, *, turns: int, readings: int = READINGS) -> tuple[list[Row], list[Promise]]:
    """Store readings as devices send them, then back them up and restore them in both ways."""
    stack.stop()  # what is measured is alone
    home = stack.home / "backup"
    home.mkdir(exist_ok=True)
    try:
        return _Ways(stack, home, readings).measure(turns)
    finally:
        shutil.rmtree(home, ignore_errors=True)


class _Ways:
    """Joulebook's way and PostgreSQL's, each there and back."""

    def __init__(self, stack: Stack, folder: Path, readings: int) -> None:
        self._config = Config.from_environ()
        self._database = EmbeddedDatabase(self._config)
        self._binaries = ensure_binaries(self._config)
        self._folder = folder
        self._dump, self._backup = folder / "readings.dump", folder / "joulebook"
        self._home = folder / "home"
        _store(stack.writer_url, readings)
        with psycopg.connect(stack.reader_url) as conn:
            ((self._count,),) = conn.execute("SELECT count(*) FROM readings").fetchall()

    def measure(self, turns: int) -> tuple[list[Row], list[Promise]]:
        ways: dict[str, Callable[[], float]] = {
            "pg_dump": self._rate(self._pg_dump),
            "backup": self._rate(self._joulebook_backup),
            "pg_restore": self._rate(self._pg_restore),
            "restore": self._rate(self._joulebook_restore),
        }
        # A dump comes before what restores it; who begins changes from turn to turn.
        found = []
        for turn in range(turns):
            order = list(ways) if turn % 2 else ["backup", "pg_dump", "restore", "pg_restore"]
            found.append({name: ways[name]() for name in order})
        return _rows(found, self._count, self._dump.stat().st_size, _bytes_of(self._backup))

    def _rate(self, way: Callable[[], float]) -> Callable[[], float]:
        return lambda: self._count / way()

    def _pg_dump(self) -> float:
        self._dump.unlink(missing_ok=True)
        url = self._database.superuser_url(database="joulebook")
        return _timed([self._binaries.program("pg_dump"), "-Fc", "-f", str(self._dump), url])

    def _pg_restore(self) -> float:
        self._database.drop_database("bench_restore")
        self._database.create_database("bench_restore")
        url = self._database.superuser_url(database="bench_restore")
        begin = time.monotonic()
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("SELECT timescaledb_pre_restore()")
        _timed([self._binaries.program("pg_restore"), "-d", url, str(self._dump)], may_warn=True)
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("SELECT timescaledb_post_restore()")
            conn.execute("ANALYZE")
            took = time.monotonic() - begin
            ((count,),) = conn.execute("SELECT count(*) FROM readings").fetchall()
        self._database.drop_database("bench_restore")
        if count != self._count:
            raise RuntimeError(f"pg_restore restored {count} readings of {self._count}")
        return took

    def _joulebook_backup(self) -> float:
        shutil.rmtree(self._backup, ignore_errors=True)
        return _timed([sys.executable, "-c", _BACK_UP, str(self._backup)])

    def _joulebook_restore(self) -> float:
        """Restore into databases of the same server, which runs: as `pg_restore` does."""
        self._database.drop_database("bench_restore")
        self._database.create_database("bench_restore")
        shutil.rmtree(self._home, ignore_errors=True)
        environment = {
            **os.environ,
            "JOULEBOOK_HOME": str(self._home),
            "JOULEBOOK_TELEMETRY_URL": self._database.url("reader", database="bench_restore"),
            "JOULEBOOK_TELEMETRY_WRITER_URL": self._database.url("writer", database="bench_restore"),
            "JOULEBOOK_TELEMETRY_OWNER_URL": self._database.url("owner", database="bench_restore"),
        }
        return _timed([sys.executable, "-m", "joulebook", "restore", str(self._backup)], environment)


def _rows(
    turns: Sequence[dict[str, float]], count: int, dumped: int, backed_up: int
) -> tuple[list[Row], list[Promise]]:
    rows, promises = [], []
    for ours, theirs in (("backup", "pg_dump"), ("restore", "pg_restore")):
        seconds = {
            name: sorted(count / turn[name] for turn in turns)[len(turns) // 2] for name in (ours, theirs)
        }
        ratios = sorted(turn[theirs] / turn[ours] for turn in turns)
        ratio = ratios[len(ratios) // 2]
        rows += [
            Row(
                theirs,
                f"{seconds[theirs]:.1f} s",
                "1.00",
                f"of {count:,} readings; dump {dumped / 1e6:.0f} MB",
            ),
            Row(
                f"joulebook {ours}",
                f"{seconds[ours]:.1f} s",
                f"{ratio:.2f}",
                f"backup {backed_up / 1e6:.0f} MB",
            ),
        ]
        what = f"joulebook {ours}, of the time of {theirs}"
        promises.append(Promise(what, f"{ratio:.2f}", f"at most {_LARGEST_RATIO}", ratio <= _LARGEST_RATIO))
    return rows, promises


def _store(url: str, readings: int) -> None:
    random = np.random.default_rng(16)
    begin = int(_BEGIN.timestamp())
    with connect(url) as conn:
        found = ensure_series(conn, [("backup_device", f"metric_{number}") for number in range(_SERIES)])
        series = np.array(sorted(found.values()), np.int32)
        for first in range(0, readings // _SERIES, _BLOCK):
            seconds = np.arange(first, min(first + _BLOCK, readings // _SERIES), dtype=np.int64)
            time_ = np.repeat((seconds * _STEP_SECONDS + begin) * 1_000_000, _SERIES)
            value = random.normal(500, 100, len(time_)).round(1)
            batch = Batch(np.tile(series, len(seconds)), time_, value)
            with conn.cursor() as cursor, cursor.copy(_COPY) as copy:
                copy.write(batch.copy_bytes(import_id=0))


def _timed(
    command: Sequence[str], environment: dict[str, str] | None = None, *, may_warn: bool = False
) -> float:
    begin = time.monotonic()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode and not may_warn:
        raise RuntimeError(f"{command[0]} failed: {done.stderr[-2000:]}")
    return time.monotonic() - begin


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
