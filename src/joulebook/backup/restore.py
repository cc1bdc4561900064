"""Restores a backup into an empty home, or into empty databases on the user's own server.

First the migrations recorded in the backup create the schema. Then every table is filled from its parts, two
tables in parallel, and the number of rows is compared with the backup's. Restoring does not migrate to the
schema of this version: the command does that afterwards, and so does `joulebook up` at every start.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import LiteralString, cast

from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from psycopg import sql

from joulebook.backup.accounts import replace_sqlite, unpack_sqlite
from joulebook.backup.create import OWN_SETTINGS, SECRET_KEY, UPLOADS, Progress
from joulebook.backup.errors import BackupError, DamagedBackup, Stopped
from joulebook.backup.files import read_part
from joulebook.backup.manifest import (
    DatabaseCopy,
    FileCopy,
    Manifest,
    Migration,
    SqliteCopy,
    TableCopy,
    TablePart,
)
from joulebook.backup.tables import copy_in, find_tables, set_sequences, without_keys
from joulebook.config import Config, sqlite_path
from joulebook.telemetry.connection import Connection, connect, translated_errors

_APPS = ("accounts", "devices", "imports", "readings")
_LOADERS = 2
_MIGRATIONS_TABLE = ("public", "django_migrations")
_PATHS = {OWN_SETTINGS: Path("db") / OWN_SETTINGS, SECRET_KEY: Path(SECRET_KEY)}
_WITHOUT_LIMITS = (
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    # The last transaction, on another connection, waits for the disk, and so for all earlier ones.
    "SET synchronous_commit = off",
)


class Restore:
    """One restore of a checked backup: call the four steps in the order below.

    A restore that failed or was killed may be repeated from the first step. The caller marks the home as
    unfinished in the meantime. The steps raise `BackupError`, or its subclass `DamagedBackup` for a damaged
    part, and also `DatabaseUnavailable` and OSError.
    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        manifest: Manifest,
        *,
        progress: Progress = lambda _share: None,
        pause: Callable[[str], None] = lambda _point: None,
    ) -> None:
        """Prepare to restore the backup in `folder`.

        `progress` is called with the share done, 0 to 1. `pause` is called with the name of each point
        between two steps: tests stop there.
        """
        self._config = config
        self._folder = folder
        self._manifest = manifest
        self._progress = progress
        self._pause = pause
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._done = 0
        self._size = max(1, manifest.size)

    def check_kind(self) -> None:
        """Raise `BackupError` if the configured accounts database is of another kind than the backup's."""
        is_file = sqlite_path(self._config.database_url) is not None
        if is_file != isinstance(self._manifest.accounts, SqliteCopy):
            was = "PostgreSQL" if is_file else "SQLite"
            raise BackupError(
                f"the backup's accounts are {was}'s and can be restored only there: set "
                "JOULEBOOK_DATABASE_URL to such a database"
            )

    def restore_files(self) -> None:
        """Write the uploads, and if the backup has them, the secret key and the database's settings."""
        for copied in self._manifest.files:
            path = _PATHS.get(copied.name)
            if path is None:
                raise DamagedBackup(f"the backup holds an unknown file: {copied.name}")
            self._restore_file(copied, self._config.home / path)
            self._pause("file restored")
        for copied in self._manifest.uploads:
            self._restore_file(copied, self._config.home / UPLOADS / Path(copied.part.file).stem)
            self._pause("file restored")

    def restore_telemetry(self, owner_url: str) -> None:
        """Create the schema of the readings and fill it.

        `owner_url` is the database's address for the role of the owner. Django must be set up with the alias
        of the owner.
        """
        from joulebook.web.databases import OWNER

        migrate_to(OWNER, self._manifest.telemetry.migrations)
        self._pause("schema made")
        database = self._manifest.telemetry
        with translated_errors(), connect(owner_url) as conn:
            self._prepare(conn, database, with_migrations=False)
            copied = [table for table in database.tables if (table.schema, table.name) != _MIGRATIONS_TABLE]
            self._load_in_parallel(owner_url, copied)
            self._pause("tables filled")
            for table in database.tables:
                conn.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table.schema, table.name)))
            with conn.transaction():
                set_sequences(conn, database.sequences)
                # Emptied and filled in one transaction: a repeated restore still finds the applied
                # migrations.
                for table in database.tables:
                    if (table.schema, table.name) == _MIGRATIONS_TABLE:
                        conn.execute("DELETE FROM public.django_migrations")
                        for each in table.parts:
                            self._load(conn, table, each)

    def restore_accounts(self) -> None:
        """Restore the accounts database. Django must be set up, and not have connected to it yet."""
        copied = self._manifest.accounts
        if isinstance(copied, SqliteCopy):
            file = cast("Path", sqlite_path(self._config.database_url))
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = file.with_name(f".{file.name}.restored")
            unpack_sqlite(self._folder, copied, draft)
            self._advance(copied.part.size)
            self._pause("accounts unpacked")
            replace_sqlite(draft, file)
            return
        migrate_to("default", copied.migrations)
        with translated_errors(), connect(self._config.database_url) as conn, conn.transaction():
            # One transaction: tables refer to each other, and PostgreSQL checks these references at its end.
            self._prepare(conn, copied, with_migrations=True)
            for table in copied.tables:
                for each in table.parts:
                    self._load(conn, table, each)
            set_sequences(conn, copied.sequences)

    def _prepare(self, conn: Connection, database: DatabaseCopy, *, with_migrations: bool) -> None:
        """Compare the tables' columns, create the tables unknown to the migrations, and empty all tables.

        The table of applied migrations is emptied only `with_migrations`.
        """
        tables = {(table.schema, table.name): table for table in find_tables(conn)}
        for copied in database.tables:
            found = tables.get((copied.schema, copied.name))
            if found is None:
                _create_table(conn, copied)
            elif found.columns != copied.columns:
                raise BackupError(
                    f"the table {copied.schema}.{copied.name} has other columns here than in the backup"
                )
        emptied = [
            table.identifier for key, table in tables.items() if with_migrations or key != _MIGRATIONS_TABLE
        ]
        if emptied:
            conn.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(emptied)))

    def _load_in_parallel(self, url: str, tables: Sequence[TableCopy]) -> None:
        waiting = sorted(tables, key=lambda table: sum(each.part.size for each in table.parts))
        with ThreadPoolExecutor(_LOADERS, "joulebook-restore") as pool:
            futures = [pool.submit(self._load_some, url, waiting) for _ in range(_LOADERS)]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
            finally:
                self._stopped.set()
        failed = [exc for future in futures if (exc := future.exception()) is not None]
        if failed:
            # A loader raises `Stopped` because the other one failed: report the failure itself.
            raise min(failed, key=lambda exc: isinstance(exc, Stopped))
        self._stopped.clear()

    def _load_some(self, url: str, waiting: list[TableCopy]) -> None:
        """Fill waiting tables, the largest first, until there are none."""
        with connect(url) as conn:
            for statement in _WITHOUT_LIMITS:
                conn.execute(statement)
            while not self._stopped.is_set():
                with self._lock:
                    if not waiting:
                        return
                    table = waiting.pop()
                # One transaction for each table: if the process is killed, the table still has its keys.
                with conn.transaction(), without_keys(conn, table):
                    for each in table.parts:
                        self._load(conn, table, each)
                        self._pause("piece restored")

    def _load(self, conn: Connection, table: TableCopy, copied: TablePart) -> None:
        """Copy one part of a table in. Raises `DamagedBackup` if its number of rows is not the listed one."""
        rows = copy_in(conn, table, self._content(copied))
        if rows != copied.rows:
            raise DamagedBackup(f"{copied.part.file} has {rows:,} rows in place of {copied.rows:,}")

    def _content(self, copied: TablePart) -> Iterator[bytes]:
        for block in read_part(self._folder, copied.part, progress=self._advance):
            if self._stopped.is_set():
                raise Stopped
            yield block

    def _restore_file(self, copied: FileCopy, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for block in read_part(self._folder, copied.part, progress=self._advance):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            if file.tell() != copied.bytes:
                raise DamagedBackup(
                    f"{copied.part.file} has {file.tell():,} bytes in place of {copied.bytes:,}"
                )

    def _advance(self, size: int) -> None:
        with self._lock:
            self._done += size
            share = self._done / self._size
        self._progress(min(1.0, share))


def _create_table(conn: Connection, copied: TableCopy) -> None:
    """Create a table that the user had added: only its columns, without keys and indexes."""
    columns = []
    for column in copied.columns:
        # The server's own name of the type, because text from a file must not become part of a statement.
        row = conn.execute("SELECT format_type(to_regtype(%s), NULL)", [column.type]).fetchone()
        if row is None or row[0] is None:
            raise BackupError(
                f"{copied.schema}.{copied.name} needs the type {column.type}, unknown to this server"
            )
        type_ = sql.SQL(cast("LiteralString", row[0]))
        columns.append(sql.SQL("{} {}").format(sql.Identifier(column.name), type_))
    conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(copied.schema)))
    name = sql.Identifier(copied.schema, copied.name)
    conn.execute(sql.SQL("CREATE TABLE {} ({})").format(name, sql.SQL(", ").join(columns)))


def check_version(manifest: Manifest, package: Path) -> None:
    """Raise `BackupError` if a later version made the backup: one with migrations missing here.

    This works before Django is set up: it looks for the migrations' files in the folder of the `package`.
    """
    unknown = [
        f"{app}.{name}"
        for app, name in {*manifest.telemetry.migrations, *manifest.accounts.migrations}
        if app in _APPS and not (package / "web" / app / "migrations" / f"{name}.py").is_file()
    ]
    if unknown:
        raise BackupError(
            _newer(unknown, f"Joulebook {manifest.joulebook} made it; install that or a later one")
        )


def migrate_to(database: str, migrations: Iterable[Migration]) -> None:
    """Migrate a database to exactly these migrations. Raises `BackupError` if one is unknown."""
    wanted = set(migrations)
    loader = MigrationLoader(None)
    unknown = wanted - set(loader.graph.nodes)
    if unknown:
        raise BackupError(
            _newer([f"{app}.{name}" for app, name in unknown], "install the version that made it")
        )
    # Django reverts the migrations that depend on a named one, so only the last of each chain are named.
    last = [
        key
        for key in sorted(wanted)
        if not any(child.key in wanted for child in loader.graph.node_map[key].children)
    ]
    executor = MigrationExecutor(connections[database])
    executor.migrate(last)
    connections[database].close()


def _newer(unknown: list[str], remedy: str) -> str:
    names = ", ".join(sorted(unknown))
    return f"the backup is of a newer version, with migrations unknown here ({names}): {remedy}"
