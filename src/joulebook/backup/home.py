"""What a restore needs of a home: that it is empty, and a mark in it until everything is there.

As long as the mark is there no command but `joulebook restore` works on the home: half of what was restored
must not be taken for the whole.
"""

from __future__ import annotations

import os
from pathlib import Path

from joulebook.backup.errors import BackupError
from joulebook.backup.parts import sync_folder
from joulebook.backup.tables import find_tables
from joulebook.config import Config, sqlite_path
from joulebook.telemetry.connection import connect

MARK = "restore-unfinished"

_NO_CONTENT = {"up.lock", "lost+found", MARK}


def unfinished_restore(home: Path) -> str | None:
    """Return from which backup a restore was begun here that has not ended; None where there is none."""
    mark = home / MARK
    if not os.path.lexists(mark):
        return None  # Nor can anything be started in a home that this user may not enter.
    try:
        return mark.read_text("utf-8").strip()
    except PermissionError:
        return "SOURCE"


def how_to_go_on(home: Path, source: str) -> str:
    """Return what a person can do about a restore that has not ended."""
    return (
        f"{home} holds half of a restore from {source}, so nothing is started there. Begin it again with\n"
        f"    joulebook restore --again {source}\n"
        "or give it up: remove the folder (and empty the databases, where you run a server of your own)."
    )


def check_is_empty(config: Config, source: Path) -> None:
    """Raise `BackupError` where the home has content; it names what."""
    found = _content(config, source)
    if found:
        raise BackupError(
            f"{config.home} is not empty, it has {', '.join(found)}: restore into a folder that is, "
            "named by JOULEBOOK_HOME"
        )


def check_database_is_empty(url: str, what: str) -> None:
    """Raise `BackupError` where a database has tables; it names some. Raises `DatabaseUnavailable`."""
    with connect(url) as conn:
        found = [f"{table.schema}.{table.name}" for table in find_tables(conn)]
    if found:
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise BackupError(
            f"the database of the {what} is not empty, it has {', '.join(found[:5])}{more}: "
            "restore into one that was just created"
        )


def set_mark(home: Path, source: Path) -> None:
    """Note that a restore has begun, on the disk before anything else is."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(home / MARK, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{source}\n")
        file.flush()
        os.fsync(file.fileno())
    sync_folder(home)


def remove_mark(home: Path) -> None:
    """Note that everything is restored, and on the disk."""
    os.sync()
    (home / MARK).unlink()
    sync_folder(home)


def _content(config: Config, source: Path) -> list[str]:
    places = [source.absolute(), config.cache, *([config.backup_folder] if config.backup_folder else [])]
    found = []
    if config.home.is_dir():
        for path in sorted(config.home.iterdir()):
            holds_a_place = any(place == path or path in place.parents for place in places)
            if path.name not in _NO_CONTENT and not holds_a_place:
                found.append(path.name)
    accounts = sqlite_path(config.database_url)
    if accounts is not None and accounts.exists() and accounts.parent != config.home:
        found.append(str(accounts))
    return found
