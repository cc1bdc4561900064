"""A worker's name, and a file lock held by its process: other workers learn of its death at once.

This module needs no Django.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9-]+")
_NAME = re.compile(r"[A-Za-z0-9-]{1,100}")


class WorkerLock:
    """The lock of one worker in a home shared by several, held during the `with` block.

    The kernel frees the lock when the process dies, for any reason. On a filesystem without locks no worker
    is known to be dead; then leases end only by their missing heartbeats.
    """

    def __init__(self, home: Path) -> None:
        """Choose a unique name from the machine, the process id, and random digits."""
        machine = _NOT_IN_NAMES.sub("-", socket.gethostname())[:40]
        self.name = f"{machine}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._folder = home / "workers"
        self._descriptor: int | None = None

    def __enter__(self) -> WorkerLock:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / self.name
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.geteuid() == 0:
            # The worker may be another user, and has to see the lock of a command run by root.
            folder = self._folder.stat()
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
        else:
            self._descriptor = descriptor
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            (self._folder / self.name).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def is_dead(self, name: str) -> bool:
        """Return whether the worker of this name is known to have died inside its `with` block."""
        if name == self.name or not _NAME.fullmatch(name):
            return False
        with suppress(OSError):
            descriptor = os.open(self._folder / name, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            finally:
                os.close(descriptor)
            return True
        return False

    def remove_dead(self, *, except_names: set[str]) -> None:
        """Remove the lock files of dead workers, except those of these names."""
        with suppress(OSError):
            for path in self._folder.iterdir():
                if path.name not in except_names and self.is_dead(path.name):
                    path.unlink(missing_ok=True)
