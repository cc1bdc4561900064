"""The plan's database process: runs the embedded TimescaleDB as its child and ends with it.

It is a separate process, so fetching the programs, crash recovery and the final checkpoint never block the
supervisor. SIGTERM stops the server with a checkpoint, SIGQUIT without.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType

from joulebook.config import Config, ConfigError
from joulebook.embedded import EmbeddedDatabase, EmbeddedError
from joulebook.readiness import tell_ready

_PATIENCE = 60.0  # seconds for an earlier server to end, and for the final checkpoint


class _Stop(BaseException):
    """A signal asks for the end; a BaseException, since it may arrive anywhere."""

    def __init__(self, *, fast: bool) -> None:
        self.fast = fast


def main() -> int:
    """Run the database until a signal stops it; return the exit status."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise _Stop(fast=number == signal.SIGQUIT)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, stop)
    try:
        database = EmbeddedDatabase(Config.from_environ())
        return _serve(database)
    except (ConfigError, EmbeddedError) as exc:
        _say(str(exc))
        return os.EX_CONFIG
    except _Stop:
        return 0


def _serve(database: EmbeddedDatabase) -> int:
    """Start the server, unless `joulebook db start` runs one in the background already.

    Wait for a server still ending after its supervisor was killed.
    """
    server = None
    try:
        deadline = time.monotonic() + _PATIENCE
        while database.pid() is not None and time.monotonic() < deadline:
            if database.is_running():
                return _accompany(database)
            time.sleep(0.1)
        server = database.foreground()
        database.wait_until_ready()
        database.answer_priority_requests()
        _say(f"ready on {database.socket}")
        tell_ready()
        status = server.wait()
    except _Stop as request:
        fast, stopped = request.fast, False
        while not stopped:
            try:
                database.stop(patience=0.0 if fast else _PATIENCE)
                stopped = True
            except _Stop as further:
                fast = fast or further.fast
        if server is not None:
            server.wait()
        return 0
    _say(f"the database server ended unasked, with status {status}")
    return 1


def _accompany(database: EmbeddedDatabase) -> int:
    """Use a server started by another process, and leave it running at the end."""
    try:
        database.wait_until_ready()
        database.answer_priority_requests()
        _say(f"runs already as process {database.pid()}, and will go on running: it is not ours to stop")
        tell_ready()
        while database.is_running():
            time.sleep(0.5)
    except _Stop:
        return 0
    _say("the database in the background was stopped")
    return 1


def _say(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
