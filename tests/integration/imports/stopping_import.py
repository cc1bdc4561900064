"""An import, or its undo, in a process of its own that stops at a named point and says so.

`stopping_import.py URL import|undo IMPORT_ID DEVICE FILE POINT`: at the point's second time, for good.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path

from joulebook.telemetry.connection import connect
from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.imports.run import ImportRun
from joulebook.telemetry.imports.undo import UndoRun

NOW = 1_900_000_000_000_000
COLUMNS = ("t", "P", "E")
PROFILE = ImportProfile(
    time_columns=("t",),
    time_formats=("%Y-%m-%d %H:%M",),
    values=(ValueColumn("P", "power", "W"), ValueColumn("E", "energy", "kWh")),
)
BLOCK_READINGS = 20
SLICE_READINGS = 15
BETWEEN = "between two transactions"


class Stop:
    """Stops the process when a point is reached for the second time."""

    def __init__(self, point: str) -> None:
        self._point = point
        self._left = 2

    def __call__(self, here: str) -> None:
        """Take note of a point."""
        self._left -= here == self._point
        if self._left == 0:
            sys.stdout.write("stopped\n")
            sys.stdout.flush()
            time.sleep(600)


def main(url: str, kind: str, number: str, device_id: str, path: str, point: str) -> None:
    """Run the import, or undo it, until the point."""
    stop = Stop(point)
    with connect(url) as conn:
        if kind == "undo":
            undo = UndoRun(conn, import_id=int(number), lease=2, slice_readings=SLICE_READINGS, pause=stop)
            while undo.step():
                stop(BETWEEN)
        else:
            run = ImportRun(
                conn, FileSource(Path(path)), PROFILE, COLUMNS, import_id=int(number), lease=1,
                device_id=device_id, most_metrics=9, on_conflict="replace", now=NOW,
                block_readings=BLOCK_READINGS, pause=stop,
            )  # fmt: skip
            with closing(run):
                while run.step():
                    stop(BETWEEN)
    sys.stdout.write("never\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
