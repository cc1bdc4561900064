"""The migration that imports need goes back and forth, and gives each role its rights."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg
import pytest

from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase

from ...conftest import REPOSITORY
from ..rollup_database import DATABASE

TABLES = ("import_progress", "import_problems", "import_replaced")


def migrate(*target: str) -> None:
    server = EmbeddedDatabase(Config.from_environ())
    urls = {
        "JOULEBOOK_TELEMETRY_URL": server.url("reader", database=DATABASE),
        "JOULEBOOK_TELEMETRY_WRITER_URL": server.url("writer", database=DATABASE),
        "JOULEBOOK_TELEMETRY_OWNER_URL": server.url("owner", database=DATABASE),
    }
    words = [sys.executable, "manage.py", "migrate", "readings", *target, "--database", "telemetry_owner"]
    done = subprocess.run(
        words, cwd=REPOSITORY, env={**os.environ, **urls}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def refuses(conn: psycopg.Connection, statement: str) -> None:
    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)):
        conn.execute(statement)  # type: ignore[arg-type]
    conn.rollback()


def test_tables_and_rights_of_imports_come_and_go(rollup_database):
    try:
        migrate("0005_kept_from")
        left = rollup_database.owner.execute(
            "SELECT count(*) FROM pg_tables WHERE tablename = ANY(%s)", [list(TABLES)]
        ).fetchone()
        assert left == (0,)
        refuses(rollup_database.writer, "DELETE FROM readings")
    finally:
        migrate()
    with psycopg.connect(rollup_database.urls["reader"]) as reader:
        for table in TABLES:
            assert reader.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
            refuses(reader, f"DELETE FROM {table}")
            rollup_database.writer.execute(f"DELETE FROM {table}")
            refuses(rollup_database.writer, f"TRUNCATE {table}")
    rollup_database.writer.execute("DELETE FROM readings")
