"""The accounts database at one moment: a copy of SQLite's file, or PostgreSQL's tables.

`hold_imports` locks the records of imports while the snapshots of both databases are taken. So no import is
further in one snapshot than in the other: see `joulebook.backup.create`.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg

from joulebook.backup.errors import BackupError, DamagedBackup
from joulebook.backup.files import BLOCK_BYTES, PartWriter, read_part
from joulebook.backup.manifest import Migration, SqliteCopy
from joulebook.backup.tables import LOCK_PATIENCE, Snapshot
from joulebook.config import Config, sqlite_path
from joulebook.telemetry.connection import connect, translated_errors

_BUSY_SECONDS = 20.0
_MIGRATIONS = "SELECT app, name FROM django_migrations ORDER BY id"
_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
_PAGES_AT_ONCE = 1000


@contextmanager
def hold_imports(config: Config) -> Iterator[None]:
    """Lock the records of imports in the accounts until the block ends. Keep it short: the web waits, too.

    Raises `BackupError` or `DatabaseUnavailable` if the lock is not free soon.
    """
    file = sqlite_path(config.database_url)
    if file is None:
        with translated_errors(), connect(config.database_url) as conn, conn.transaction():
            conn.execute(f"SET LOCAL lock_timeout = '{LOCK_PATIENCE}'")
            conn.execute("LOCK TABLE imports_import IN SHARE MODE")
            yield
        return
    with closing(_open(file)) as accounts:
        try:
            accounts.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as exc:
            raise BackupError(f"the accounts in {file} are busy: {exc}") from exc
        yield
        accounts.execute("ROLLBACK")


class SqliteSnapshot:
    """One moment of a SQLite database in WAL mode, until `close`. Writers do not wait for it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._conn = _open(file)

    def close(self) -> None:
        """End the snapshot."""
        self._conn.close()

    def take(self) -> None:
        """Begin the snapshot."""
        self._conn.execute("BEGIN")
        self._conn.execute("SELECT count(*) FROM sqlite_schema").fetchone()

    def copy(self, folder: Path, file: str) -> SqliteCopy:
        """Copy the database into a part of a backup's folder."""
        plain = folder / "accounts.unpacked"
        os.close(os.open(plain, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            with closing(_open(plain)) as copy:
                # It reads in the open transaction, so it sees the snapshot and no later writes.
                self._conn.backup(copy, pages=_PAGES_AT_ONCE)
                # One file, without a log beside it.
                copy.execute("PRAGMA journal_mode = DELETE")
                rows, migrations = _look_into(copy)
            with plain.open("rb") as content, PartWriter(folder, file) as writer:
                while block := content.read(BLOCK_BYTES):
                    writer.write(block)
                return SqliteCopy(writer.finish(), migrations, rows)
        finally:
            plain.unlink(missing_ok=True)


def open_accounts(config: Config) -> Snapshot | SqliteSnapshot:
    """Return an object to take a snapshot of the accounts. Raises `BackupError` if there are none."""
    file = sqlite_path(config.database_url)
    if file is None:
        return Snapshot(config.database_url)
    if not file.is_file():
        raise BackupError(f"there is nothing to back up: {file} does not exist")
    return SqliteSnapshot(file)


def unpack_sqlite(folder: Path, copied: SqliteCopy, target: Path) -> None:
    """Write the copy of a SQLite database to `target`, and check it. Raises `DamagedBackup`."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for block in read_part(folder, copied.part):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    with closing(_open(target)) as conn:
        try:
            rows, migrations = _look_into(conn)
        except sqlite3.Error as exc:
            raise DamagedBackup(f"the accounts in {folder} are damaged: {exc}") from exc
    if rows != copied.rows or migrations != copied.migrations:
        raise DamagedBackup(f"the accounts in {folder} are not those listed in the manifest")


def replace_sqlite(draft: Path, file: Path) -> None:
    """Move a restored database to `file`; a log of an earlier database must not be applied to it."""
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    shutil.move(draft, file)


def _open(file: Path) -> sqlite3.Connection:
    # Threads use it in turn: one takes the snapshot, another copies it.
    return sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _look_into(conn: sqlite3.Connection) -> tuple[dict[str, int], tuple[Migration, ...]]:
    """Return the rows of each table, and the migrations. Raises `DamagedBackup`."""
    ((found,),) = conn.execute("PRAGMA integrity_check(1)").fetchall()
    if found != "ok":
        raise DamagedBackup(f"the accounts are damaged: {found}")
    rows = {}
    for (table,) in conn.execute(_TABLES).fetchall():
        quoted = '"' + table.replace('"', '""') + '"'
        ((rows[table],),) = conn.execute(f"SELECT count(*) FROM {quoted}").fetchall()  # noqa: S608 - quoted
    return rows, tuple(conn.execute(_MIGRATIONS).fetchall())


def read_migrations(conn: psycopg.Connection[tuple[object, ...]]) -> tuple[Migration, ...]:
    """Return the migrations applied to a PostgreSQL database, in their order."""
    return tuple((str(app), str(name)) for app, name in conn.execute(_MIGRATIONS).fetchall())
