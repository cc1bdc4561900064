"""The home and the databases that a restore fills: they must be empty, and are marked until it is finished.

While the mark exists, no command but `joulebook restore` works on the home: a half-restored home must not be
taken for a whole one.
"""

from __future__ import annotations

import os
from pathlib import Path

from joulebook.backup.errors import BackupError
from joulebook.backup.files import sync_folder
from joulebook.backup.tables import find_tables
from joulebook.config import Config, sqlite_path
from joulebook.telemetry.connection import connect

MARK = "restore-unfinished"

_NO_CONTENT = {"up.lock", "lost+found", MARK}


def unfinished_restore(home: Path) -> str | None:
    """Return the source of an unfinished restore into this home; None if there is none."""
    mark = home / MARK
    if not os.path.lexists(mark):
        return None  # A home closed to this user cannot be started, either.
    try:
        return mark.read_text("utf-8").strip()
    except PermissionError:
        return "SOURCE"


def explain_unfinished(home: Path, source: str) -> str:
    """Return the ways out of an unfinished restore, in words for people."""
    return (
        f"{home} holds half of a restore from {source}, so nothing is started there. Begin it again with\n"
        f"    joulebook restore --again {source}\n"
        "or give it up: remove the folder (and empty the databases, where you run a server of your own)."
    )


def check_is_empty(config: Config, source: Path) -> None:
    """Raise `BackupError` if the home has content; the message names it."""
    folders = [source.absolute(), config.cache, *([config.backup_folder] if config.backup_folder else [])]
    found = []
    for path in sorted(config.home.iterdir()) if config.home.is_dir() else ():
        is_allowed = any(folder == path or path in folder.parents for folder in folders)
        if path.name not in _NO_CONTENT and not is_allowed:
            found.append(path.name)
    accounts = sqlite_path(config.database_url)
    if accounts is not None and accounts.exists() and accounts.parent != config.home:
        found.append(str(accounts))
    if found:
        raise BackupError(
            f"{config.home} is not empty, it has {', '.join(found)}: restore into a folder that is, "
            "named by JOULEBOOK_HOME"
        )


def check_database_is_empty(url: str, what: str) -> None:
    """Raise `BackupError` if a database has tables; the message names some. Raises `DatabaseUnavailable`."""
    with connect(url) as conn:
        found = [f"{table.schema}.{table.name}" for table in find_tables(conn)]
    if found:
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise BackupError(
            f"the database of the {what} is not empty, it has {', '.join(found[:5])}{more}: "
            "restore into one that was just created"
        )


def set_mark(home: Path, source: Path) -> None:
    """Mark the home as half restored; the mark is on the disk before anything else."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(home / MARK, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{source}\n")
        file.flush()
        os.fsync(file.fileno())
    sync_folder(home)


def remove_mark(home: Path) -> None:
    """Put everything restored on the disk, then remove the mark."""
    os.sync()
    (home / MARK).unlink()
    sync_folder(home)
