"""`joulebook agent`: forwards packets from standard input or a growing file to ingest, without losses."""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import os
import select
import signal
import stat
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from joulebook.cli.output import fail
from joulebook.cli.progress import StatusLine
from joulebook.client import BufferFull, BufferUnusable, Client, ClientError, Status
from joulebook.client.packets import encode

TOKEN_VARIABLE = "JOULEBOOK_TOKEN"  # noqa: S105 - the name of a variable
_LOG_STEP = 3_600.0
_FULL_PAUSE = 0.5
_LAST_READ = 1.0
"""Seconds of reading on after SIGTERM: lines written before it may still be in the pipe."""
_WAITS = 3


def agent(
    *,
    url: Annotated[str, typer.Option(help="address of ingest")] = "http://127.0.0.1:8001",
    token_file: Annotated[
        Path | None,
        typer.Option(
            help=f"holds the token, readable by you alone; else {TOKEN_VARIABLE}", show_default=False
        ),
    ] = None,
    buffer: Annotated[
        Path, typer.Option(help="folder of this agent's own, where packets wait", show_default=False)
    ],
    file: Annotated[
        Path | None,
        typer.Option(help="follow this file, in place of standard input", show_default=False),
    ] = None,
    room: Annotated[int, typer.Option(min=1, help="most megabytes of waiting packets")] = 256,
    drop_oldest: Annotated[
        bool, typer.Option("--drop-oldest", help="when there is no room, let the oldest go")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="most packets of a request")] = 500,
    drain: Annotated[float, typer.Option(min=0.0, help="seconds to send waiting packets, at the end")] = 10.0,
) -> None:
    """Forward packets to ingest, one JSON object a line, until the input ends or SIGTERM.

    Each line is on the disk before the next is read. It waits there during an outage of ingest, and is sent
    again until ingest has committed it; only packets refused for good are discarded, with a message.
    """
    line = StatusLine(log_step=_LOG_STEP)
    _tell_warnings(line)
    try:
        client = Client(
            url,
            _token_from(token_file),
            buffer=buffer,
            room=room * 1024 * 1024,
            drop_oldest=drop_oldest,
            batch=batch,
        )
    except (ClientError, ValueError) as exc:
        fail(str(exc))
    try:
        lines: Lines = StandardInput() if file is None else FollowedFile(file, client.bookmark)
        code = _AgentRun(client, lines, line, drain=drain).run()
    except UnableToFollow as exc:
        client.close(timeout=0.0)
        fail(str(exc))
    raise typer.Exit(code)


class _AgentRun:
    """One run of the agent."""

    def __init__(self, client: Client, lines: Lines, line: StatusLine, *, drain: float) -> None:
        self._client, self._lines, self._line, self._drain = client, lines, line, drain
        self._stop = False
        self._unreadable = 0
        self._trouble = ""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: object) -> None:
        """Stop in order; the same signal once more ends the process at once, also without harm."""
        self._stop = True
        signal.signal(number, signal.SIG_DFL)

    def run(self) -> int:
        """Forward until the end; return the exit code."""
        if remark := getattr(self._lines, "remark", ""):
            self._line.end(remark)
        while not self._stop and not self._lines.ended:
            self._forward(self._lines.read())
            self._show()
        last_read = time.monotonic() + _LAST_READ
        while (
            not self._lines.ended and time.monotonic() < last_read and (lines := self._lines.read(wait=False))
        ):
            self._forward(lines)
        # Send as long as ingest takes packets; the others wait for the next run.
        sent = -1
        while not self._stop and self._client.status.waiting and self._client.status.sent > sent:
            sent = self._client.status.sent
            until = time.monotonic() + self._drain
            while not self._stop and time.monotonic() < until and not self._client.flush(timeout=_FULL_PAUSE):
                self._show()
        self._client.close(timeout=self._drain if self._stop else 0.0)
        status = self._client.status
        self._line.end(self._describe(status))
        return _WAITS if status.waiting and not self._stop else 0

    def _forward(self, lines: list[bytes]) -> None:
        """Hand lines over; without room for them wait, and make their producer wait as well."""
        if not lines:
            return
        packets = self._packets(lines)
        while True:
            try:
                self._client.send_all(packets, bookmark=self._lines.bookmark)
            except (BufferFull, BufferUnusable) as exc:
                self._show(str(exc))
                if self._stop:
                    if self._lines.bookmark is None:
                        self._line.end(f"{len(packets)} packets could not be kept and are lost: {exc}")
                    return
                time.sleep(_FULL_PAUSE)
            else:
                return

    def _packets(self, lines: list[bytes]) -> list[dict[str, Any]]:
        packets, now = [], datetime.now(UTC)
        for text in lines:
            if not text.strip():
                continue
            try:
                packet = json.loads(text)
                encode(packet, now=now)
            except (ValueError, RecursionError) as exc:
                self._unreadable += 1
                shown = text[:200].decode(errors="replace")
                self._line.end(f"not a packet, passed over: {exc}: {shown!r}")
            else:
                packets.append(packet)
        return packets

    def _show(self, trouble: str = "") -> None:
        status = self._client.status
        before, self._trouble = self._trouble, trouble or status.trouble
        self._line.show(self._describe(status), urgent=bool(before) != bool(self._trouble))

    def _describe(self, status: Status) -> str:
        parts = [f"sent {status.sent:,}", f"waiting {status.waiting:,}", f"stored {status.stored:,}"]
        for name, count in (
            ("duplicates", status.duplicates),
            ("refused", status.refused),
            ("not a packet", self._unreadable),
            ("given up", status.dropped),
        ):
            if count:
                parts.append(f"{name} {count:,}")
        if self._trouble and status.waiting:
            parts.append(f"trouble: {self._trouble}")
        return " · ".join(parts)


def _token_from(path: Path | None) -> str | Callable[[], str]:
    """Return the environment's token, or a function reading the file: a new token needs no restart."""
    if path is not None:
        try:
            _read_token(path)
        except (OSError, ValueError) as exc:
            fail(f"the token cannot be read: {exc}")
        return lambda: _read_token(path)
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        fail(f"there is no token; give --token-file FILE, or set {TOKEN_VARIABLE}")
    return token


def _read_token(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ValueError(f"{path} is open to other users: run chmod 600 {path}")
        return file.read(4_096)


def _tell_warnings(line: StatusLine) -> None:
    """Show each of the client's warnings as a line."""

    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            line.end(record.getMessage())

    log = logging.getLogger("joulebook.client")
    log.addHandler(Teller(logging.INFO))
    log.setLevel(logging.INFO)
    log.propagate = False


_CHUNK = 1024 * 1024
"""Bytes read at a time; a longer line is no packet, and is returned in pieces."""
_POLL = 0.25
_LINGER = 1.0
"""Seconds of reading a file after it was moved away: its writer may not have noticed yet."""
_HEAD = 1024
"""Bytes at a file's beginning to identify it again, since inode numbers are reused."""


class UnableToFollow(Exception):
    """The file cannot be followed; the message has the reason."""


class Lines(Protocol):
    """A source of lines. `bookmark` is the position after the lines returned last, or None."""

    ended: bool
    bookmark: str | None

    def read(self, *, wait: bool = True) -> list[bytes]:
        """Return the next lines; none after a short wait, or at once without `wait`, if none came."""


class StandardInput:
    """The lines of standard input."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = sys.stdin.fileno() if descriptor is None else descriptor
        self._rest = b""
        self.ended = False
        self.bookmark: str | None = None

    def read(self, *, wait: bool = True) -> list[bytes]:
        """Return the next lines, and at the end also the rest after the last line end."""
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
    """The lines of a growing file, also after it was replaced or emptied; as `tail -F` reads it.

    Begins at `bookmark`, else at the file's beginning. If the file was moved away meanwhile, its rest is
    read from a file beside it.
    """

    def __init__(self, path: Path, bookmark: str | None) -> None:
        """Raises `UnableToFollow` for anything but a regular file; waits for a missing one."""
        self._path = path
        self._descriptor: int | None = None
        self._offset = 0
        self._moved_at: float | None = None
        self.ended = False
        self.bookmark = bookmark
        self.remark = ""
        if path.exists() and not path.is_file():
            raise UnableToFollow(f"{path} is no regular file; connect a pipe to standard input")
        if bookmark is not None:
            self._resume(json.loads(bookmark))

    def _resume(self, place: dict[str, object]) -> None:
        moved = sorted(self._path.parent.glob(f"{glob.escape(self._path.name)}?*"))
        for candidate in (self._path, *moved):
            try:
                descriptor = os.open(candidate, os.O_RDONLY)
            except OSError:
                continue
            if _place(descriptor, int(str(place["offset"]))) == place:
                self._descriptor, self._offset = descriptor, int(str(place["offset"]))
                return
            os.close(descriptor)
        self.remark = f"the file that was read last is gone; {self._path} is read from its beginning"

    def read(self, *, wait: bool = True) -> list[bytes]:
        """Return the next complete lines; after a move of the file also its last line, complete or not."""
        data = self._next_bytes()
        if not data and wait:
            time.sleep(_POLL)
        return data.split(b"\n")

    def _next_bytes(self) -> bytes:
        if self._descriptor is None:
            try:
                self._descriptor = os.open(self._path, os.O_RDONLY)
            except FileNotFoundError:
                return b""
            except OSError as exc:
                raise UnableToFollow(f"{self._path} cannot be read: {exc}") from exc
            self._offset = 0
        descriptor = self._descriptor
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

    def _at_end(self, descriptor: int, rest: bytes) -> bytes:
        """Check whether the file was emptied or moved away; return its last line if no writer can end it."""
        here = os.fstat(descriptor)
        if here.st_size < self._offset:
            self._offset = 0
            return b""
        try:
            there = self._path.stat()
        except OSError:
            return b""  # moved away, and there is no new one yet
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
    """Return the bookmark's data of a position in a file."""
    head = os.pread(descriptor, min(_HEAD, offset), 0)
    found = os.fstat(descriptor)
    return {
        "inode": found.st_ino,
        "offset": min(offset, found.st_size),
        "head": hashlib.sha256(head).hexdigest(),
    }
