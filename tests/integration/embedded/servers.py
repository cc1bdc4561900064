"""What tests do to running servers, and ask of them."""

from __future__ import annotations

import os
import signal
import time

import psycopg

from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase
from joulebook.embedded.layout import Layout
from joulebook.embedded.locks import is_held
from joulebook.embedded.processes import server_processes


def answers(database: EmbeddedDatabase) -> bool:
    with psycopg.connect(database.url("reader")) as conn:
        return conn.execute("SELECT 1").fetchone() == (1,)


def gone(layout: Layout, *, within: float) -> bool:
    deadline = time.monotonic() + within
    while server_processes(layout) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not server_processes(layout) and not is_held(layout.server_lock)


def kill(database: EmbeddedDatabase) -> int:
    """Kill the postmaster as a machine short of memory does, and return which process it was."""
    pid = database.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def compute(client: psycopg.Connection) -> None:
    """Let a backend compute for a long time: it does not notice for a while that its postmaster is gone."""
    client.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 4000000000)")
    client.pgconn.flush()
    time.sleep(0.2)


def write(database: EmbeddedDatabase, *, value: int) -> None:
    with psycopg.connect(database.url("owner")) as conn:
        conn.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        conn.execute("INSERT INTO kept VALUES (%s)", [value])


def kept(database: EmbeddedDatabase) -> list[int]:
    with psycopg.connect(database.url("owner")) as conn:
        return [value for (value,) in conn.execute("SELECT value FROM kept ORDER BY value")]


def environment(config: Config) -> dict[str, str]:
    return {**os.environ, "JOULEBOOK_HOME": str(config.home), "JOULEBOOK_CACHE": str(config.cache)}
