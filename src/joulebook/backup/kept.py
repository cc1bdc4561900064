"""The folder of daily backups: which there are, when the next is due, and which go."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from joulebook.backup.errors import BackupError
from joulebook.backup.make import UNFINISHED, Progress, make_backup, origin, remove_unfinished
from joulebook.backup.manifest import Manifest, read_manifest
from joulebook.config import Config

_NAME = re.compile(r"joulebook-\d{8}T\d{6}Z")
_REMOVED = ".removed"


@dataclass(frozen=True)
class KeptBackup:
    """A backup in the folder: its manifest, or why it cannot be read."""

    path: Path
    manifest: Manifest | None
    problem: str = ""


def list_backups(folder: Path) -> list[KeptBackup]:
    """Return the backups of a folder, the newest first, those that cannot be read last."""
    found = []
    if folder.is_dir():
        for path in sorted(folder.iterdir(), reverse=True):
            if not path.is_dir() or path.name.startswith("."):
                continue
            try:
                found.append(KeptBackup(path, read_manifest(path)))
            except BackupError as exc:
                if _NAME.fullmatch(path.name):
                    found.append(KeptBackup(path, None, str(exc)))
    return sorted(found, key=_age, reverse=True)


def next_due(config: Config, folder: Path) -> datetime | None:
    """Return when this Joulebook's next backup is due; None where it has none yet."""
    instants = [each.manifest.instant for each in own_backups(config, folder) if each.manifest]
    return max(instants) + config.backup_every if instants else None


def own_backups(config: Config, folder: Path) -> list[KeptBackup]:
    """Return those of a folder's backups that this Joulebook has made, and can be read, the newest first."""
    mine = origin(config)
    return [each for each in list_backups(folder) if each.manifest and each.manifest.origin == mine]


def make_kept_backup(
    config: Config, folder: Path, *, progress: Progress
) -> tuple[Path, Manifest, list[Path]]:
    """Make a backup in the folder, then remove the oldest beyond those to be kept; return both.

    Nothing is removed where the new one was not made. Raises what `make_backup` raises, and `BackupError`
    where another process makes one.
    """
    with _only_one(folder):
        _clean(folder)
        target = _new_name(folder)
        manifest = make_backup(config, target, is_nice=True, progress=progress)
        removed = []
        for each in own_backups(config, folder)[config.backup_keep :]:
            if _NAME.fullmatch(each.path.name):
                _remove(each.path)
                removed.append(each.path)
        return target, manifest, removed


def _new_name(folder: Path) -> Path:
    while (target := folder / f"joulebook-{datetime.now(UTC):%Y%m%dT%H%M%SZ}").exists():
        time.sleep(0.1)  # names have whole seconds
    return target


def _age(each: KeptBackup) -> tuple[bool, datetime]:
    instant = datetime.fromtimestamp(0, UTC) if each.manifest is None else each.manifest.instant
    return each.manifest is not None, instant


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


def _clean(folder: Path) -> None:
    """Remove what processes have left that were killed."""
    for path in folder.glob(f".joulebook-*{UNFINISHED}"):
        remove_unfinished(path)
    for path in folder.glob(f".joulebook-*{_REMOVED}"):
        shutil.rmtree(path, ignore_errors=True)


def _remove(path: Path) -> None:
    """Remove a backup; it loses its name first, so that half of one is never taken for a whole."""
    hidden = path.with_name(f".{path.name}{_REMOVED}")
    path.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)
