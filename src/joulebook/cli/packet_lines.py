"""Where the agent's lines come from: standard input, or a file that is followed through its rotations."""

from __future__ import annotations

import hashlib
import json
import os
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

_CHUNK = 1024 * 1024
"""Bytes read at a time; a longer line is no packet, and comes in pieces."""
_POLL = 0.25
_LINGER = 1.0
"""Seconds that a file which was moved away is still read: its writer may not have noticed yet."""
_HEAD = 1024
"""Bytes at a file's beginning by which it is known again: inode numbers are used again."""


class UnableToFollow(Exception):
    """The file cannot be followed; the message says why."""


class Lines(Protocol):
    """A source of lines. `bookmark` is the place after the lines that were returned last, if there is one."""

    ended: bool
    bookmark: str | None

    def read(self, *, wait: bool = True) -> list[bytes]:
        """Return the next lines; after a short while, or at once without `wait`, none if none came."""


class StandardInput:
    """The lines of standard input, as they come."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = sys.stdin.fileno() if descriptor is None else descriptor
        self._rest = b""
        self.ended = False
        self.bookmark: str | None = None

    def read(self, *, wait: bool = True) -> list[bytes]:
        """Return the lines that came, and at the end what stands behind the last line end."""
        ready, _, _ = select.select([self._descriptor], [], [], _POLL if wait else 0.0)
        if not ready or self.ended:
            return []
        data = os.read(self._descriptor, _CHUNK)
        self._rest += data
        if not data:
            self.ended = True
        complete = len(self._rest) if self.ended or len(self._rest) > _CHUNK else self._rest.rfind(b"\n") + 1
        lines, self._rest = self._rest[:complete], self._rest[complete:]
        return lines.split(b"\n")


class FollowedFile:
    """The lines of a file that grows, is moved away and made anew, or is emptied; as `tail -F` reads it.

    Begins where `bookmark` says, else at the file's beginning. If the file was moved away meanwhile, the
    rest of it is looked for beside it.
    """

    def __init__(self, path: Path, bookmark: str | None) -> None:
        """Raises `UnableToFollow` for what is no regular file; one that is not there yet is waited for."""
        self._path = path
        self._descriptor: int | None = None
        self._offset = 0
        self._moved_at: float | None = None
        self.ended = False
        self.bookmark = bookmark
        self.remark = ""
        if path.exists() and not path.is_file():
            raise UnableToFollow(f"{path} is no regular file; what is a pipe goes to standard input")
        if bookmark is not None:
            self._resume(json.loads(bookmark))

    def _resume(self, place: dict[str, object]) -> None:
        for candidate in self._candidates():
            try:
                descriptor = os.open(candidate, os.O_RDONLY)
            except OSError:
                continue
            if _place(descriptor, int(str(place["offset"]))) == place:
                self._descriptor, self._offset = descriptor, int(str(place["offset"]))
                return
            os.close(descriptor)
        self.remark = f"the file that was read last is gone; {self._path} is read from its beginning"

    def _candidates(self) -> Iterator[Path]:
        yield self._path
        yield from sorted(self._path.parent.glob(f"{_quoted(self._path.name)}?*"))

    def read(self, *, wait: bool = True) -> list[bytes]:
        """Return the next complete lines, and the last one of a file that was moved away, complete or not."""
        data = self._next_bytes()
        if not data and wait:
            time.sleep(_POLL)
        return data.split(b"\n")

    def _next_bytes(self) -> bytes:
        descriptor = self._open() if self._descriptor is None else self._descriptor
        if descriptor is None:
            return b""
        data = os.pread(descriptor, _CHUNK, self._offset)
        complete = data.rfind(b"\n") + 1
        if not complete and len(data) == _CHUNK:
            complete = len(data)
        if not complete:
            return self._at_end(descriptor, data)
        self._moved_at = None
        return self._taken(descriptor, data[:complete])

    def _taken(self, descriptor: int, data: bytes) -> bytes:
        self._offset += len(data)
        self.bookmark = json.dumps(_place(descriptor, self._offset))
        return data

    def _open(self) -> int | None:
        try:
            self._descriptor = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise UnableToFollow(f"{self._path} cannot be read: {exc}") from exc
        self._offset = 0
        return self._descriptor

    def _at_end(self, descriptor: int, rest: bytes) -> bytes:
        """Look whether the file was emptied or moved away; return its last line where nobody will end it."""
        here = os.fstat(descriptor)
        if here.st_size < self._offset:
            self._offset = 0
            return b""
        try:
            there = self._path.stat()
        except OSError:
            return b""  # moved away, and the new one is not there yet
        if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
            return b""
        if self._moved_at is None:
            self._moved_at = time.monotonic()
        if time.monotonic() - self._moved_at < _LINGER:
            return b""
        if rest:
            return self._taken(descriptor, rest)
        os.close(descriptor)
        self._descriptor = self._moved_at = None
        return b""


def _place(descriptor: int, offset: int) -> dict[str, object]:
    """Return what a place in a file is known by."""
    head = os.pread(descriptor, min(_HEAD, offset), 0)
    found = os.fstat(descriptor)
    return {
        "inode": found.st_ino,
        "offset": min(offset, found.st_size),
        "head": hashlib.sha256(head).hexdigest(),
    }


def _quoted(name: str) -> str:
    """Return a pattern that stands for a file's name itself."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
