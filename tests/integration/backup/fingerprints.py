"""What two databases hold, as figures that are equal only where every row is: written without the code under test."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg

Fingerprint = dict[str, list[str]]


def of_telemetry(conn: psycopg.Connection) -> Fingerprint:
    """Return by table how many rows it has, and a sum over hashes of all of them, whatever their order."""
    tables = conn.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
    ).fetchall()
    found = {}
    for (table,) in tables:
        query = f'SELECT count(*)::text, coalesce(sum(hashtextextended(t::text, 7)::numeric), 0)::text FROM "{table}" AS t'
        found[table] = list(conn.execute(query).fetchall()[0])
    return found


def of_accounts(file: Path) -> Fingerprint:
    """Return the same of a SQLite database, which others may be writing to."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as conn:
        conn.execute("BEGIN")
        tables = [name for (name,) in conn.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        found = {}
        for table in sorted(tables):
            rows = sorted(repr(row) for row in conn.execute(f'SELECT * FROM "{table}"'))
            found[table] = [str(len(rows)), hashlib.sha256("\n".join(rows).encode()).hexdigest()]
    return found


def of_folder(folder: Path) -> dict[str, str]:
    """Return by name the SHA-256 of each file of a folder."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
