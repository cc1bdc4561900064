"""`joulebook agent`: forwards packets from standard input or a growing file to ingest, and loses none."""

from __future__ import annotations

import json
import logging
import os
import signal
import stat
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from joulebook.cli.output import fail
from joulebook.cli.progress import StatusLine

if TYPE_CHECKING:
    from joulebook.cli.packet_lines import Lines
    from joulebook.client import Client, Status

TOKEN_VARIABLE = "JOULEBOOK_TOKEN"  # noqa: S105 - the name of a variable
_LOG_STEP = 3_600.0
_FULL_PAUSE = 0.5
_LAST_READ = 1.0
"""Seconds that the agent reads on after SIGTERM: what its producer wrote before is in the pipe."""
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
    room: Annotated[int, typer.Option(min=1, help="most megabytes of packets that may wait")] = 256,
    drop_oldest: Annotated[
        bool, typer.Option("--drop-oldest", help="when there is no room, let the oldest go")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="most packets of a request")] = 500,
    drain: Annotated[float, typer.Option(min=0.0, help="seconds to send what waits, at the end")] = 10.0,
) -> None:
    """Forward packets to ingest, one JSON object a line, until the input ends or SIGTERM.

    What was read is on the disk before anything else is read. It waits there while ingest is away, and is
    sent again until ingest has committed it; only what ingest refuses for good is discarded, and told.
    """
    from joulebook.cli.packet_lines import FollowedFile, StandardInput, UnableToFollow
    from joulebook.client import Client, ClientError

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
        code = _Job(client, lines, line, drain=drain).run()
    except UnableToFollow as exc:
        client.close(timeout=0.0)
        fail(str(exc))
    raise typer.Exit(code)


class _Job:
    """One run of the agent."""

    def __init__(self, client: Client, lines: Lines, line: StatusLine, *, drain: float) -> None:
        self._client, self._lines, self._line, self._drain = client, lines, line, drain
        self._stop = False
        self._unreadable = 0
        self._trouble = ""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _: object) -> None:
        """Stop in order; the same signal once more ends the process at once, and harms nothing either."""
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
        if not self._stop:
            self._send_all_that_waits()
        self._client.close(timeout=self._drain if self._stop else 0.0)
        status = self._client.status
        self._line.end(self._describe(status))
        return _WAITS if status.waiting and not self._stop else 0

    def _send_all_that_waits(self) -> None:
        """Send on as long as ingest takes packets; what it does not take in time waits for the next run."""
        sent = -1
        while not self._stop and self._client.status.waiting and self._client.status.sent > sent:
            sent = self._client.status.sent
            until = time.monotonic() + self._drain
            while not self._stop and time.monotonic() < until and not self._client.flush(timeout=_FULL_PAUSE):
                self._show()

    def _forward(self, lines: list[bytes]) -> None:
        """Hand lines over; wait where there is no room for them, and so does whoever writes them."""
        if not lines:
            return
        from joulebook.client import BufferFull, BufferUnusable

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
        from joulebook.client.packets import encode

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
    """Return the environment's token, or what reads the file anew, so that a new token needs no restart."""
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
    """Let the client's warnings appear as lines of their own."""

    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            line.end(record.getMessage())

    log = logging.getLogger("joulebook.client")
    log.addHandler(Teller(logging.INFO))
    log.setLevel(logging.INFO)
    log.propagate = False
