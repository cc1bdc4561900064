"""Runs a command of Joulebook's that stops at the points between its steps: to look, or to die there.

JOULEBOOK_TEST_LOOK names a file: what a backup's snapshots show goes there, as JSON. JOULEBOOK_TEST_KILL_AT
names a point, at which the process kills itself, and JOULEBOOK_TEST_KILL_AFTER how often it passes before.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import fingerprints

import joulebook.cli.backup
from joulebook.backup import restore, tables
from joulebook.backup.create import create_backup
from joulebook.cli.main import main
from joulebook.config import Config

taken: list[tables.Snapshot] = []
seen: dict[str, object] = {}
passed = 0


def take(snapshot: tables.Snapshot, original=tables.Snapshot.take):
    taken.append(snapshot)
    return original(snapshot)


def pause(point: str) -> None:
    global passed
    if os.environ.get("JOULEBOOK_TEST_KILL_AT") == point:
        passed += 1
        if passed > int(os.environ.get("JOULEBOOK_TEST_KILL_AFTER", "0")):
            os.kill(os.getpid(), signal.SIGKILL)
    look = os.environ.get("JOULEBOOK_TEST_LOOK")
    if look and point == "telemetry taken":
        # Nobody can change an import now, and the accounts' snapshot follows.
        seen["accounts"] = fingerprints.of_accounts(Config.from_environ().home / "joulebook.sqlite3")
    if look and point == "taken":
        with taken[0].reader() as conn:
            seen["telemetry"] = fingerprints.of_telemetry(conn)
        Path(look).write_text(json.dumps(seen))


tables.Snapshot.take = take
joulebook.cli.backup.create_backup = functools.partial(create_backup, pause=pause)
restore.Restore.__init__ = functools.partialmethod(restore.Restore.__init__, pause=pause)
main()
