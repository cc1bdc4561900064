"""Faults that drills cause: a database that is stopped, backends that are killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

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
