"""One supervisor for each JOULEBOOK_HOME: a lock, released at the end of its process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class AlreadyRuns(Exception):
    """Another supervisor runs in this home."""


@contextmanager
def only_one(home: Path, *, note: str) -> Iterator[None]:
    """Hold the home's lock for the block. A second supervisor's error quotes `note` (the address).

    Raises `AlreadyRuns`. The kernel frees the lock at any end of its holder; children do not inherit it.
    """
    home.mkdir(parents=True, exist_ok=True)
    path = home / "up.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 1024).decode("utf-8", "replace").strip()
            raise AlreadyRuns(
                f"Joulebook runs already in {home} ({holder or 'just starting'}): use that one, stop it, "
                "or name another folder in JOULEBOOK_HOME"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}, {note}\n".encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)
