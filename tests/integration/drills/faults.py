"""Faults that drills cause: a database that is stopped, backends that are killed, a disk that is full."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Stop processes by SIGSTOP, as a hanging disk or hypervisor would; they go on afterwards."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def stopped_database() -> Iterator[None]:
    """Stop the session's whole database server, its backends included."""
    server = EmbeddedDatabase(Config.from_environ()).pid()
    assert server is not None
    with stopped(server):  # first, so that it starts no more of them
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        with stopped(*(int(pid) for pid in children)):
            yield


def kill_and_start_database() -> None:
    """End the session's whole database at once, as a power cut does, and start it again."""
    server = EmbeddedDatabase(Config.from_environ())
    pid = server.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    server.start(settings={"timescaledb.max_background_workers": "0"})


def writing_backends(telemetry: dict[str, str]) -> set[int]:
    """Return the process ids of the backends that ingest's connections have."""
    with psycopg.connect(telemetry["superuser"]) as conn:
        rows = conn.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'joulebook-writer'"
        ).fetchall()
    return {row[0] for row in rows}


def copying_backend(telemetry: dict[str, str], *, seconds: float) -> int | None:
    """Return a backend of ingest's that is in the middle of a COPY, if one is met within `seconds`."""
    deadline = time.monotonic() + seconds
    with psycopg.connect(telemetry["superuser"], autocommit=True) as conn:
        while time.monotonic() < deadline:
            row = conn.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'joulebook-writer' "
                "AND state = 'active' AND query LIKE 'COPY%'"
            ).fetchone()
            if row is not None:
                return int(row[0])
    return None


def wait_for_the_database(telemetry: dict[str, str], *, seconds: float = 60) -> None:
    """Return when the database takes connections again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with psycopg.connect(telemetry["reader"]) as conn:
                conn.execute("SELECT 1")
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "the database did not come back"
            time.sleep(0.02)
        else:
            return


class SmallDisk:
    """A filesystem of a few megabytes with a tablespace, in which new chunks of readings are created."""

    def __init__(self, telemetry: dict[str, str], megabytes: int) -> None:
        """Prepare it; skip the test where no filesystem may be mounted."""
        self._superuser = telemetry["superuser"]
        owner = (Config.from_environ().home / "db" / "data").stat()
        self.folder = Path(tempfile.mkdtemp(prefix="joulebook-small-disk-"))
        options = f"size={megabytes}m,mode=700,uid={owner.st_uid},gid={owner.st_gid}"
        command = ["mount", "-t", "tmpfs", "-o", options, "joulebook-small-disk", str(self.folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            refused = done.stderr.strip() if done.returncode else None
        except OSError as exc:
            refused = str(exc)
        if refused is not None:
            self.folder.rmdir()
            pytest.skip(
                f"filling a disk takes the right to mount a small one (root, CAP_SYS_ADMIN): {refused}"
            )
        self._run(
            f"CREATE TABLESPACE small_disk LOCATION '{self.folder}'",
            "GRANT CREATE ON TABLESPACE small_disk TO joulebook_owner",
            "SELECT attach_tablespace('small_disk', 'readings')",
        )

    def grow(self, megabytes: int) -> None:
        """Make room, as an operator does who deletes what is not needed."""
        options = f"remount,size={megabytes}m"
        subprocess.run(["mount", "-o", options, str(self.folder)], capture_output=True, check=True)

    def free_bytes(self) -> int:
        """Return how much room is left."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_bsize

    def remove(self, *, since: str, until: str) -> None:
        """Drop the chunks of this time, and the filesystem."""
        self._run(
            f"SELECT drop_chunks('readings', newer_than => '{since}'::timestamptz, older_than => '{until}'::timestamptz)",
            "SELECT detach_tablespace('small_disk', 'readings')",
            "DROP TABLESPACE small_disk",
        )
        subprocess.run(["umount", str(self.folder)], check=True)
        self.folder.rmdir()

    def _run(self, *statements: str) -> None:
        with psycopg.connect(self._superuser, autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement)
