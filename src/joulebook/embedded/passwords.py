"""The passwords of the embedded database's roles: made once, kept in files of mode 0600."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from joulebook.embedded.errors import EmbeddedError, NotCreated

ROLES = ("postgres", "joulebook_owner", "joulebook_writer", "joulebook_reader")


def ensure_passwords(folder: Path) -> None:
    """Make a password for each role without one; existing ones never change."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for role in ROLES:
        target = folder / role
        if target.exists():
            continue
        unfinished = folder / f".{role}.new"
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(target)
    # Without the superuser's password the data are out of reach: sync the files' names, too.
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def read_password(folder: Path, role: str) -> str:
    """Return a role's password. Raises `NotCreated` if there is none."""
    try:
        # Root reads it in another user's folder: a link could lead to root's own files.
        descriptor = os.open(folder / role, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor) as file:
            return file.read().strip()
    except FileNotFoundError:
        raise NotCreated(
            f"there is no embedded database in {folder.parent} yet (no {folder / role}): "
            "run `joulebook up`, or `joulebook db start` and `joulebook migrate`, first, "
            "or name a server of your own in JOULEBOOK_TELEMETRY_URL"
        ) from None
    except OSError as exc:
        raise EmbeddedError(
            f"cannot read {folder / role} ({exc.strerror}): "
            f"run Joulebook as the user to whom {folder.parent} belongs"
        ) from exc
