"""File locks between processes: one held by a block, and one inherited by a server's processes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from joulebook.embedded.errors import EmbeddedError


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path` for the block; wait until no other process holds it."""
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path) -> int | None:
    """Take an exclusive lock on `path` and return its descriptor; None if any process holds it.

    The lock belongs to the open file: a child inheriting the descriptor holds the lock until its end.
    """
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_held(path: Path) -> bool:
    """Return whether any process holds an exclusive lock on `path`; two such checks do not collide."""
    if not path.exists():
        return False
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise EmbeddedError(
            f"cannot open {path}: {exc.strerror}; run Joulebook as the user to whom the folder belongs, "
            "or name another one in JOULEBOOK_HOME or JOULEBOOK_CACHE"
        ) from exc
