"""The folder of scheduled backups: lists them, adds one, and removes the oldest."""

from __future__ import annotations

import fcntl
import math
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from joulebook.backup.create import UNFINISHED, Progress, create_backup, origin, remove_unfinished
from joulebook.backup.errors import BackupError
from joulebook.backup.manifest import Manifest, read_manifest
from joulebook.config import Config

_NAME = re.compile(r"joulebook-\d{8}T\d{6}Z")
_REMOVED = ".removed"


@dataclass(frozen=True)
class ListedBackup:
    """A backup in the folder: its manifest, or the problem with reading it."""

    path: Path
    manifest: Manifest | None
    problem: str = ""


def list_backups(folder: Path) -> list[ListedBackup]:
    """Return the backups of a folder, the newest first, the unreadable ones last."""
    found = []
    if folder.is_dir():
        for path in sorted(folder.iterdir(), reverse=True):
            if not path.is_dir() or path.name.startswith("."):
                continue
            try:
                found.append(ListedBackup(path, read_manifest(path)))
            except BackupError as exc:
                if _NAME.fullmatch(path.name):
                    found.append(ListedBackup(path, None, str(exc)))
    return sorted(
        found,
        key=lambda each: each.manifest.instant.timestamp() if each.manifest else -math.inf,
        reverse=True,
    )


def next_due(config: Config, folder: Path) -> datetime | None:
    """Return when this Joulebook's next backup is due; None if it has none yet."""
    instants = [each.manifest.instant for each in list_own_backups(config, folder) if each.manifest]
    return max(instants) + config.backup_every if instants else None


def list_own_backups(config: Config, folder: Path) -> list[ListedBackup]:
    """Return the readable backups of this Joulebook in a folder, the newest first."""
    mine = origin(config)
    return [each for each in list_backups(folder) if each.manifest and each.manifest.origin == mine]


def add_backup(config: Config, folder: Path, *, progress: Progress) -> tuple[Path, Manifest, list[Path]]:
    """Create a backup in the folder, then remove the oldest beyond the number to retain; return both.

    If the new one fails, nothing is removed. Raises the errors of `create_backup`, and `BackupError` if
    another process is making a backup there.
    """
    with _only_one(folder):
        # Remains of killed processes.
        for path in folder.glob(f".joulebook-*{UNFINISHED}"):
            remove_unfinished(path)
        for path in folder.glob(f".joulebook-*{_REMOVED}"):
            shutil.rmtree(path, ignore_errors=True)
        while (target := folder / f"joulebook-{datetime.now(UTC):%Y%m%dT%H%M%SZ}").exists():
            time.sleep(0.1)  # names have whole seconds
        manifest = create_backup(config, target, is_nice=True, progress=progress)
        removed = []
        for each in list_own_backups(config, folder)[config.backup_keep :]:
            if _NAME.fullmatch(each.path.name):
                # Renamed first, so that half of it is never taken for a backup.
                hidden = each.path.with_name(f".{each.path.name}{_REMOVED}")
                each.path.rename(hidden)
                shutil.rmtree(hidden, ignore_errors=True)
                removed.append(each.path)
        return target, manifest, removed


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise BackupError(f"the backup was not made: {exc.strerror} ({folder})") from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as exc:
        raise BackupError(f"another process makes a backup in {folder}") from exc
    finally:
        os.close(descriptor)
