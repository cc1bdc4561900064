"""A worker's name, and a lock that ends with its process: so others know at once that it is dead."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_OTHERS = re.compile(r"[^A-Za-z0-9-]+")
_NAME = re.compile(r"[A-Za-z0-9-]{1,100}")


class Presence:
    """Holds the lock of one worker in the home that it shares with others, from entering until leaving.

    The kernel frees the lock when the process dies, however it dies. Where the home's filesystem has no
    locks, nobody is known to be gone, and leases run out by their heartbeats.
    """

    def __init__(self, home: Path) -> None:
        """Choose a name: the machine, the process, and something that no other has."""
        machine = _OTHERS.sub("-", socket.gethostname())[:40]
        self.name = f"{machine}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._folder = home / "workers"
        self._descriptor: int | None = None

    def __enter__(self) -> Presence:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / self.name
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.geteuid() == 0:
            # The worker, where it is another user, has to see the lock of a command that root runs.
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

    def is_gone(self, name: str) -> bool:
        """Say whether the worker of this name has died without leaving; False where that is not known."""
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

    def forget_gone(self, but: set[str]) -> None:
        """Remove the locks of workers that are gone, but for those whose names still stand somewhere."""
        with suppress(OSError):
            for path in self._folder.iterdir():
                if path.name not in but and self.is_gone(path.name):
                    path.unlink(missing_ok=True)
