"""Creates a backup while everything runs: both databases at one instant, uploads, settings, and keys.

**One instant.** An import lies in two databases: its record in the accounts, its readings and the readings
replaced by them in telemetry. While both snapshots are taken, a lock on the records of imports is held, so no
import can change in the accounts between the two. Together the snapshots are the state of a machine after all
of its processes were killed at that instant. Joulebook continues from such a state by design: each step of an
import and of an undo is one transaction of telemetry, an import ends in the accounts only after the last of
them, and another worker takes over an expired lease. Uploads are opened under the same lock. They do not
change, and an upload still needed by an import is removed only after a change of the import's record; an open
file can be read to its end even after its removal.

**All or nothing.** Everything is written to a hidden folder beside the target. Every file and the folder are
synchronised with the disk, the manifest last, and then the folder gets its name. A backup interrupted at any
moment leaves nothing under that name, and touches no other backup.

Only the reader's rights are needed in telemetry, and its connections cannot write.
"""

from __future__ import annotations

import fcntl
import os
import re
import resource
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from psycopg import Error as PostgresError

from joulebook import __version__
from joulebook.backup.accounts import SqliteSnapshot, hold_imports, open_accounts, read_migrations
from joulebook.backup.errors import BackupError
from joulebook.backup.files import BLOCK_BYTES, PartWriter, sync_folder
from joulebook.backup.manifest import (
    DatabaseCopy,
    FileCopy,
    Manifest,
    SqliteCopy,
    TableCopy,
    TablePart,
    write_manifest,
)
from joulebook.backup.tables import (
    DatabaseTable,
    Piece,
    Snapshot,
    copy_out,
    cut,
    find_sequences,
    run_in_parallel,
)
from joulebook.config import VARIABLES, Config
from joulebook.embedded import telemetry_url
from joulebook.telemetry.connection import translated_errors
from joulebook.telemetry.errors import DatabaseUnavailable

UNFINISHED = ".unfinished"
"""The end of the name of a folder with an unfinished backup; the name begins with a dot."""

UPLOADS = "uploads"
OWN_SETTINGS = "postgresql.local.conf"
SECRET_KEY = "secret-key"  # noqa: S105 - a file's name

_ATTEMPTS = 6
_OPEN_FILES = 200  # beside the uploads
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_]+")
# Not copied: settings with secrets, and folders of this machine.
_LEFT_OUT = re.compile(r"JOULEBOOK_(SECRET_KEY|DATABASE_URL|TELEMETRY_.*URL|HOME|CACHE|POSTGRES_BIN)")
_VERSION = """
SELECT current_setting('server_version') || coalesce(
    (SELECT ', TimescaleDB ' || extversion FROM pg_extension WHERE extname = 'timescaledb'), '')
"""

Progress = Callable[[float], None]


def create_backup(
    config: Config,
    target: Path,
    *,
    with_keys: bool = False,
    is_nice: bool = False,
    progress: Progress = lambda _share: None,
    pause: Callable[[str], None] = lambda _point: None,
) -> Manifest:
    """Back everything up into the new folder `target`; return its manifest.

    With `is_nice` the database's reading processes get a lower priority, where possible. `progress` is called
    with the finished share, 0 to 1. `pause` is called with the name of each point between two steps: tests
    stop there. Raises `BackupError`, `DatabaseUnavailable` and `ConfigError`.
    """
    if target.exists() or target.is_symlink():
        raise BackupError(f"{target} is there already: name a new folder")
    try:
        with unfinished(target) as folder:
            manifest = _Backup(
                config, folder, with_keys=with_keys, is_nice=is_nice, progress=progress, pause=pause
            ).run()
            write_manifest(folder, manifest)
            for inner, _, _ in os.walk(folder):
                sync_folder(Path(inner))
            pause("written")
            folder.rename(target)
            sync_folder(target.parent)
            pause("named")
    except OSError as exc:
        reason = f"{exc.strerror or exc} ({exc.filename or target})"
        raise BackupError(f"the backup was not made: {reason}") from exc
    except (PostgresError, sqlite3.Error) as exc:
        raise BackupError(f"the backup was not made: {exc}") from exc
    return manifest


@contextmanager
def unfinished(target: Path) -> Iterator[Path]:
    """Create a hidden folder beside `target`; remove it at the end unless it was renamed.

    Remains of a killed backup are removed first. Raises `BackupError` if another process uses the folder.
    """
    folder = target.with_name(f".{target.name}{UNFINISHED}")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not remove_unfinished(folder):
        raise BackupError(f"another backup to {target} is being made")
    folder.mkdir(mode=0o700)
    # The kernel frees the lock when this process dies; then another process may remove the folder.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def remove_unfinished(folder: Path) -> bool:
    """Remove the remains of a killed backup; return False if a process still writes the backup."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


@dataclass(frozen=True)
class _Job:
    """A piece of a database still to be copied."""

    snapshot: Snapshot
    piece: Piece
    file: str


class _Backup:
    """The steps of one backup."""

    def __init__(
        self,
        config: Config,
        folder: Path,
        *,
        with_keys: bool,
        is_nice: bool,
        progress: Progress,
        pause: Callable[[str], None],
    ) -> None:
        self._config = config
        self._folder = folder
        self._with_keys = with_keys
        self._is_nice = is_nice
        self._progress = progress
        self._pause = pause
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._done = 0.0
        self._all = 1.0

    def run(self) -> Manifest:
        """Copy everything."""
        began = time.monotonic()
        with ExitStack() as stack:
            telemetry = Snapshot(telemetry_url(self._config, "reader"))
            stack.callback(telemetry.close)
            accounts = open_accounts(self._config)
            stack.callback(accounts.close)
            instant, uploads = self._take(telemetry, accounts, stack)
            self._pause("taken")
            jobs = _jobs(telemetry, "telemetry")
            if isinstance(accounts, Snapshot):
                jobs += _jobs(accounts, "accounts")
            upload_bytes = sum(os.fstat(file.fileno()).st_size for file in uploads.values())
            self._all = 1.0 + sum(job.piece.size for job in jobs) + upload_bytes
            waiting = sorted(jobs, key=lambda job: job.piece.size)
            pieces = run_in_parallel("joulebook-backup", lambda: self._copy_pieces(waiting), self._stopped)
            copied = {file: part for some in pieces for file, part in some.items()}
            self._pause("tables copied")
            if isinstance(accounts, SqliteSnapshot):
                accounts_copy: SqliteCopy | DatabaseCopy = accounts.copy(self._folder, "accounts.sqlite3.zst")
            else:
                accounts_copy = _database(accounts, jobs, copied)
            further = [("settings", self._config.home / "db" / OWN_SETTINGS)]
            if self._with_keys:
                further.append(("keys", self._config.home / SECRET_KEY))
            return Manifest(
                joulebook=__version__,
                instant=instant,
                origin=origin(self._config),
                telemetry=_database(telemetry, jobs, copied),
                accounts=accounts_copy,
                uploads=tuple(self._copy_file(UPLOADS, name, file) for name, file in uploads.items()),
                files=tuple(
                    self._copy_file(inner, path.name, path.open("rb"))
                    for inner, path in further
                    if path.is_file()
                ),
                settings=_settings(),
                seconds=round(time.monotonic() - began, 3),
            )

    def _take(
        self, telemetry: Snapshot, accounts: Snapshot | SqliteSnapshot, stack: ExitStack
    ) -> tuple[datetime, dict[str, BinaryIO]]:
        """Take both databases' snapshots and open the uploads, at one instant."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with hold_imports(self._config):
                    instant = telemetry.take()
                    self._pause("telemetry taken")
                    uploads = _open_uploads(self._config, stack)
                    accounts.take()
                    return instant, uploads
            except DatabaseUnavailable:
                # A lock was not free in time. Nothing is held while this waits for the next attempt.
                if attempt == _ATTEMPTS or telemetry.conn.closed:
                    raise
                telemetry.conn.rollback()
                time.sleep(attempt)
        raise AssertionError

    def _copy_pieces(self, waiting: list[_Job]) -> dict[str, TablePart]:
        """Copy waiting pieces, the last of the list first, until none is left."""
        copied = {}
        with ExitStack() as stack:
            readers = {}
            while not self._stopped.is_set():
                with self._lock:
                    if not waiting:
                        break
                    job = waiting.pop()
                if job.snapshot not in readers:
                    readers[job.snapshot] = stack.enter_context(job.snapshot.reader(is_nice=self._is_nice))
                with translated_errors(), PartWriter(self._folder, job.file) as writer:
                    rows = copy_out(readers[job.snapshot], job.piece, writer.write, self._stopped)
                    copied[job.file] = TablePart(writer.finish(), rows)
                self._advance(job.piece.size)
                self._pause("piece copied")
        return copied

    def _copy_file(self, folder: str, name: str, content: BinaryIO) -> FileCopy:
        size = 0
        with content, PartWriter(self._folder, f"{folder}/{name}.zst") as writer:
            while block := content.read(BLOCK_BYTES):
                writer.write(block)
                size += len(block)
                self._advance(len(block))
            return FileCopy(name, size, writer.finish())

    def _advance(self, size: int) -> None:
        with self._lock:
            self._done += size
            share = self._done / self._all
        self._progress(min(1.0, share))


def origin(config: Config) -> str:
    """Return the identity of this Joulebook; in a shared folder it removes only its own backups."""
    return f"{socket.gethostname()}:{config.home}"


def _jobs(snapshot: Snapshot, folder: str) -> list[_Job]:
    with translated_errors():
        pieces = cut(snapshot.conn, snapshot.tables)
    numbers: dict[DatabaseTable, int] = {}
    jobs = []
    for piece in pieces:
        number = numbers[piece.table] = numbers.get(piece.table, 0) + 1
        table = piece.table
        is_plain = _PLAIN_NAME.fullmatch(table.name) and _PLAIN_NAME.fullmatch(table.schema)
        name = f"{table.schema}.{table.name}" if is_plain else f"table-{snapshot.tables.index(table)}"
        jobs.append(_Job(snapshot, piece, f"{folder}/{name}.{number:05}.zst"))
    return jobs


def _database(snapshot: Snapshot, jobs: Sequence[_Job], copied: dict[str, TablePart]) -> DatabaseCopy:
    own = [job for job in jobs if job.snapshot is snapshot]
    tables = tuple(
        TableCopy(
            table.schema,
            table.name,
            table.columns,
            table.format,
            tuple(copied[job.file] for job in own if job.piece.table == table),
        )
        for table in snapshot.tables
    )
    with translated_errors():
        ((version,),) = snapshot.conn.execute(_VERSION).fetchall()
        return DatabaseCopy(
            str(version), read_migrations(snapshot.conn), tables, tuple(find_sequences(snapshot.conn))
        )


def _open_uploads(config: Config, stack: ExitStack) -> dict[str, BinaryIO]:
    """Open all completely received uploads; they close with the backup."""
    folder = config.home / UPLOADS
    names = sorted(path.name for path in folder.iterdir() if "." not in path.name) if folder.is_dir() else []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = len(names) + _OPEN_FILES
    if soft < needed:
        limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    opened: dict[str, BinaryIO] = {}
    for name in names:
        try:
            opened[name] = stack.enter_context((folder / name).open("rb"))
        except FileNotFoundError:
            continue  # No import needed it any more.
    return opened


def _settings() -> dict[str, str]:
    """Return the environment's settings other than the defaults, without addresses and keys."""
    return {
        variable.name: value
        for variable in VARIABLES
        if (value := os.environ.get(variable.name, "").strip()) not in {"", variable.default}
        and not _LEFT_OUT.fullmatch(variable.name)
    }
